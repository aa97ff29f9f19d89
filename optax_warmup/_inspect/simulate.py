"""The values of a schedule as an array."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from optax_warmup import _check
from optax_warmup._schedules.schedule import Schedule, ScheduleLike, as_schedule
from optax_warmup.values._checked import names_arguments

_MOST = 2**22  # updates that are evaluated to find the end of a schedule
_BATCH = 1024  # steps that are evaluated in one call, where they are few
_FEW = 128 * _BATCH
LOG_RANGE = 1e-6  # a logarithmic picture ends at this multiple of its largest value

# What JAX raises if a function branches on the step in Python.
_NOT_TRACEABLE = (
    jax.errors.ConcretizationTypeError,
    jax.errors.TracerArrayConversionError,
    jax.errors.TracerIntegerConversionError,
)


@names_arguments
def simulate(schedule: ScheduleLike, steps: int) -> np.ndarray:
    """Evaluates a schedule at its first `steps` updates.

    result[k] = schedule(k),   k = 0, 1, ..., steps - 1

    Args:
        schedule: a schedule, any function of the step (it need not take arrays or be
            traceable), or a number for a constant.
        steps: the number of updates, >= 0.

    Returns:
        A NumPy array of shape (steps,) with the dtype of the schedule's values: float32
        for those of this library, float64 if JAX has 64 bits enabled.

    Raises:
        TypeError: the schedule is neither callable nor a number, or `steps` is not an
            integer.
        ValueError: `steps` is negative or not whole, or the schedule does not return
            one number per step.

    Example:
        >>> import optax_warmup as ow
        >>> ow.simulate(ow.warmup_constant(1.0, 4), 6).tolist()
        [0.0, 0.25, 0.5, 0.75, 1.0, 1.0]
    """
    steps = length("simulate", steps, minimum=0)
    return at_steps("simulate", schedule, np.arange(steps, dtype=np.int32))


def at_steps(owner: str, schedule: Any, steps: np.ndarray) -> np.ndarray:
    """Returns the values of a schedule at some steps, shape (len(steps),)."""
    if not callable(schedule) or isinstance(schedule, type):
        schedule = as_schedule(schedule, owner, "schedule")
    if steps.size == 0:
        return np.zeros(0, np.asarray(schedule(0)).dtype)
    if isinstance(schedule, Schedule):
        values = _of_batches(schedule, steps)
    else:
        _check.function(owner, "schedule", schedule, "step")
        try:
            values = jax.jit(jax.vmap(schedule))(steps)
        except (*_NOT_TRACEABLE, TypeError):
            values = np.stack([np.asarray(schedule(int(step))) for step in steps])
    values = np.asarray(values)
    if not _check.is_real(values.dtype):
        raise TypeError(
            f"{owner}: schedule must return real numbers, got {schedule!r}, which "
            f"returns {values.dtype}."
        )
    if values.shape != steps.shape:
        raise ValueError(
            f"{owner}: schedule must return one number per step, got {schedule!r}, "
            f"which returns an array of shape {values.shape[1:]}; pass one schedule at "
            f"a time."
        )
    return values


def _of_batches(schedule: Schedule, steps: np.ndarray) -> np.ndarray:
    """Evaluates batches of few sizes, for each of which one program is compiled."""
    size = _BATCH
    if len(steps) > _FEW:
        size = 1 << (len(steps) - 1).bit_length()
    batches = [steps[start : start + size] for start in range(0, len(steps), size)]
    values = [np.asarray(_of_value(schedule, np.resize(b, size))) for b in batches]
    return np.concatenate(values)[: len(steps)]


@jax.jit
def _of_value(schedule: Schedule, steps: ArrayLike) -> Any:
    # vmap, because a schedule may contain a function that takes no array of steps, as
    # some of optax's do. The schedule is an argument, so that this compiles once.
    return jax.vmap(lambda step: schedule(step))(jnp.asarray(steps))


def sample_steps(steps: int, most: int) -> np.ndarray:
    """Returns at most `most` steps, evenly from 0 to steps - 1, both included."""
    if steps <= most:
        return np.arange(steps, dtype=np.int32)
    return (np.arange(most, dtype=np.int64) * (steps - 1) // (most - 1)).astype("int32")


def length(owner: str, steps: ArrayLike, minimum: int = 1) -> int:
    """Checks a number of updates, which must be known."""
    return _check.count(owner, "steps", steps, minimum=minimum)


def length_of(
    owner: str,
    schedule: Any,
    steps: ArrayLike | None,
    minimum: int,
    most: int = _MOST,
) -> int:
    """Checks a number of updates; without one, those of a whole schedule.

    A schedule that ends at 0 is over where it becomes 0. At most `most` steps are
    evaluated at a time to find that, over the whole schedule and then where it is.
    """
    if steps is not None:
        return length(owner, steps, minimum)
    if not isinstance(schedule, Schedule):
        raise TypeError(
            f"{owner}: steps must be given for {schedule!r}; only a schedule of this "
            "library knows its length. Several are given as a dict, {name: schedule}."
        )
    whole = natural_length(schedule)
    first, size = 0, whole
    while True:
        seen = first + sample_steps(size, most)
        rates = np.flatnonzero(at_steps(owner, schedule, seen))
        if not len(rates) or rates[-1] == len(seen) - 1 and first + size == whole:
            return whole
        last = int(rates[-1])
        if size <= most:
            return max(int(seen[last]) + 1, minimum)
        # The last rate is between this step and the next one that was evaluated.
        first, size = int(seen[last]), int(seen[last + 1] - seen[last])


def natural_length(schedule: Schedule, total_steps: int | None = None) -> int:
    """Returns a number of updates that shows all of a schedule.

    It is the total number of updates if there is one. Otherwise it is the sum of all
    lengths, and more if the value still changes after that.
    """
    if total_steps is not None:
        return min(max(total_steps + 1, 2), _check.MAX_STEP)
    # A jitted function returns numbers as arrays.
    arrays = [np.asarray(x) for x in jax.tree.leaves(schedule)]
    numbers = [int(x) for x in arrays if x.ndim == 0 and x.dtype.kind in "iu"]
    total = min(max(sum(abs(x) for x in numbers), 100), _check.MAX_STEP // 8)
    after = sample_steps(4 * total, 65)[16:]
    values = at_steps("plot", schedule, total + after)
    if values.min() < values.max():
        return 4 * total
    return total + total // 8
