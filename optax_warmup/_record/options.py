"""The options of a record, checked once and never changed."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from optax_warmup import _check
from optax_warmup._record import slots

OWNER = "record_moments"
BITS = 5  # 448 rows cover every step of an int32; 128 of them the first 2000


@dataclass(frozen=True)
class Options:
    """What `record_moments` was asked for; see there."""

    eps: float
    groups: Callable[[str], str] | None
    steps: tuple[int, ...] | None
    also: tuple[int, ...]
    samples: int | None
    histogram: bool
    axis_name: str | None
    bits: int = BITS

    @classmethod
    def checked(
        cls,
        *,
        eps: float,
        groups: Callable[[str], str] | None,
        steps: Sequence[int] | None,
        also: Sequence[int],
        samples: int | None,
        histogram: bool,
        axis_name: str | None,
    ) -> "Options":
        """The options, or an error that names the one that is wrong."""
        if groups is not None and not callable(groups):
            raise TypeError(
                f"{OWNER}: groups must be a function from a parameter's path to the "
                f"name of its group, such as lambda path: path.split('/')[0], got "
                f"{groups!r}."
            )
        if samples is not None:
            samples = int(_check.length(OWNER, "samples", samples, minimum=1))
        listed, beside = _listed(steps, also)
        return cls(
            eps=float(_check.number(OWNER, "eps", eps, minimum=0)),
            groups=groups,
            steps=listed,
            also=beside,
            samples=samples,
            histogram=bool(histogram),
            axis_name=axis_name,
        )


def _listed(
    steps: Sequence[int] | None, also: Sequence[int]
) -> tuple[tuple[int, ...] | None, tuple[int, ...]]:
    """Both lists in order, without the steps that are recorded anyway."""
    more = {int(_check.length(OWNER, "also", step)) for step in also}
    if steps is None:
        unusual = {step for step in more if not slots.usual(step, BITS)}
        return None, tuple(sorted(unusual))
    listed = more | {int(_check.length(OWNER, "steps", step)) for step in steps}
    if not listed:
        raise ValueError(f"{OWNER}: steps must not be empty; None records the usual.")
    return tuple(sorted(listed)), ()
