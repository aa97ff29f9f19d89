"""The runs that a law is fitted to: a schedule, and the losses that it gave."""

import operator
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from jax.typing import ArrayLike

from optax_warmup._check import MAX_STEP
from optax_warmup._schedules.schedule import Schedule, ScheduleLike
from optax_warmup.loss_laws._formula import one_schedule

# The losses of one run: by step, as (step, loss) pairs, or one for each step.
LossesLike: TypeAlias = Mapping[int, ArrayLike] | Sequence[Any] | ArrayLike
RunLike: TypeAlias = tuple[ScheduleLike, LossesLike]

FEWEST = 4  # points of a run that a fit can use
OWNER = "fit_loss_law"


class Curve(NamedTuple):
    """One run."""

    schedule: Schedule
    steps: np.ndarray
    losses: np.ndarray


def as_curves(runs: Any) -> list[Curve]:
    """Checks runs given as (schedule, losses) or (schedule, steps, losses)."""
    if isinstance(runs, Mapping | str | bytes) or not hasattr(type(runs), "__iter__"):
        raise TypeError(
            f"{OWNER}: runs must be a list of (schedule, losses) pairs, got "
            f"{type(runs).__name__}."
        )
    found = [_as_curve(f"runs[{i}]", run) for i, run in enumerate(_listed(runs))]
    if not found:
        raise ValueError(f"{OWNER}: runs must hold at least one run, got none.")
    return found


def _listed(runs: Iterable[Any]) -> list[Any]:
    try:
        return list(runs)
    except TypeError as error:  # such as an array without axes
        raise TypeError(
            f"{OWNER}: runs must be a list of (schedule, losses) pairs: {error}."
        ) from None


def _as_curve(name: str, run: Any) -> Curve:
    if not isinstance(run, tuple | list) or len(run) not in (2, 3):
        raise TypeError(
            f"{OWNER}: {name} must be (schedule, losses) or (schedule, steps, losses), "
            f"got {type(run).__name__}"
            + (f" of {len(run)}." if isinstance(run, tuple | list) else ".")
        )
    schedule = one_schedule(run[0], OWNER, f"the schedule of {name}")
    steps, losses = _pairs(name, run[1]) if len(run) == 2 else _columns(name, *run[1:])
    if len(steps) < FEWEST:
        raise ValueError(
            f"{OWNER}: {name} must have at least {FEWEST} points, got {len(steps)}; "
            "give the losses of the whole run."
        )
    bad = ~np.isfinite(losses)
    if bad.any():
        raise ValueError(
            f"{OWNER}: the losses of {name} must be finite, got {losses[bad][0]} at "
            f"step {steps[bad][0]}; leave out what follows a divergence."
        )
    behind = np.diff(steps) <= 0
    if behind.any():
        at = int(behind.argmax())
        raise ValueError(
            f"{OWNER}: the steps of {name} must increase, got {steps[at + 1]} after "
            f"{steps[at]} at position {at + 1}; sort them, and keep one loss for a "
            "step that was repeated after a resume."
        )
    if steps[0] < 0 or steps[-1] > MAX_STEP:
        raise ValueError(
            f"{OWNER}: the steps of {name} must be from 0 to 2**31 - 1, got "
            f"{steps[0]} to {steps[-1]}."
        )
    return Curve(schedule, steps, losses)


def _pairs(name: str, losses: Any) -> tuple[np.ndarray, np.ndarray]:
    """Splits what is given in one piece into steps and losses."""
    if isinstance(losses, Mapping):
        steps = sorted(losses, key=lambda step: _whole(name, step))
        return _columns(name, steps, [losses[step] for step in steps])
    array = _numbers(name, losses)
    if array.ndim == 2 and array.shape[1] == 2:
        return _columns(name, array[:, 0], array[:, 1])
    if array.ndim == 1:
        return np.arange(len(array)), array
    raise ValueError(
        f"{OWNER}: the losses of {name} must be a mapping of steps to losses, "
        f"(step, loss) pairs, or one loss for each step, got shape {array.shape}."
    )


def _columns(name: str, steps: Any, losses: Any) -> tuple[np.ndarray, np.ndarray]:
    whole = np.array([_whole(name, step) for step in np.asarray(steps).ravel()], int)
    values = _numbers(name, losses)
    if values.shape != whole.shape:
        raise ValueError(
            f"{OWNER}: {name} must have one loss for each step, got {whole.shape} "
            f"steps and losses of shape {values.shape}."
        )
    return whole, values


def _numbers(name: str, losses: Any) -> np.ndarray:
    try:
        return np.asarray(losses, np.float64)
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"{OWNER}: the losses of {name} must be numbers: {error}."
        ) from None


def _whole(name: str, step: Any) -> int:
    if isinstance(step, float | np.floating) and float(step).is_integer():
        step = int(step)
    try:
        return operator.index(step)
    except TypeError:
        raise TypeError(
            f"{OWNER}: the steps of {name} must be whole numbers, got {step!r}."
        ) from None
