"""The options of a record, checked once and never changed."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

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
        if groups is not None:
            _check.function(OWNER, "groups", groups, "path")
        _check_axis_name(axis_name)
        if samples is not None:
            samples = _check.count(OWNER, "samples", samples, minimum=1)
        listed, beside = _listed(steps, also)
        return cls(
            eps=_check.scalar(OWNER, "eps", eps, minimum=0),
            groups=groups,
            steps=listed,
            also=beside,
            samples=samples,
            histogram=_check.flag(OWNER, "histogram", histogram),
            axis_name=axis_name,
        )


def _listed(
    steps: Sequence[int] | None, also: Sequence[int]
) -> tuple[tuple[int, ...] | None, tuple[int, ...]]:
    """Both lists in order, without the steps that are recorded anyway."""
    more = _steps("also", also)
    if steps is None:
        unusual = {step for step in more if not slots.usual(step, BITS)}
        return None, tuple(sorted(unusual))
    listed = more | _steps("steps", steps)
    if not listed:
        raise ValueError(f"{OWNER}: steps must not be empty; None records the usual.")
    return tuple(sorted(listed)), ()


def _steps(name: str, steps: Any) -> set[int]:
    if isinstance(steps, str | bytes | Mapping) or not isinstance(steps, Iterable):
        raise TypeError(
            f"{OWNER}: {name} must be a list of steps, such as range(0, 1000, 10), got "
            f"{steps!r}."
        )
    if getattr(steps, "ndim", 1) != 1:
        raise TypeError(f"{OWNER}: {name} must be a list of steps, got {steps!r}.")
    return {_check.count(OWNER, f"each of {name}", step) for step in steps}


def _check_axis_name(axis_name: Any) -> None:
    names = axis_name if isinstance(axis_name, tuple) else (axis_name,)
    if axis_name is not None and not (
        names and all(isinstance(name, str) and name for name in names)
    ):
        raise TypeError(
            f"{OWNER}: axis_name must be the name of an axis, a tuple of names, or "
            f"None, got {axis_name!r}."
        )
