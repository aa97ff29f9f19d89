"""Stretches schedules to longer or shorter runs."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from optax_warmup import _check
from optax_warmup._schedules import clock as clocks
from optax_warmup._schedules.schedule import Schedule, ScheduleLike, as_schedule
from optax_warmup.values._checked import checked
from optax_warmup.values._kinds import PositiveRate


@checked()
def stretch(schedule: ScheduleLike, factor: PositiveRate) -> Schedule:
    """Multiplies all lengths of a schedule, for a longer or shorter run.

    value(step) = schedule(step / factor)

    The result is an ordinary schedule with other lengths. Each length is rounded to
    whole updates, half up; if nothing needs rounding, the formula is exact.

    Args:
        schedule: a schedule of this library, or a number (>= 0) for a constant. The
            lengths of other callables are not known; use `retime` for those. For a
            `growing_batch`, the phases of the batch size are stretched too.
        factor: > 0; 2 makes the schedule twice as long; may be traced, but lengths
            above 2**24 then have only float32's precision.

    Returns:
        A `Schedule`.

    Raises:
        TypeError: the factor is not a number, or a schedule's lengths are not known.
        ValueError: the factor is not finite or not above 0; a length exceeds 2**31 - 1.

    Example:
        >>> import optax_warmup as ow
        >>> ow.stretch(ow.warmup(ow.transition(1.0, 0.1, 90), 10), 1.5)
        warmup(transition(1.0, end_value=0.1, steps=135), steps=15)

    Source: the "scale schedule ratio" of MosaicML's Composer, 2021.
    """
    schedule = as_schedule(schedule)
    require_stretchable("stretch", schedule)

    def length(steps: ArrayLike) -> ArrayLike:
        if isinstance(steps, int) and isinstance(factor, float):
            exact = math.floor(steps * Fraction(factor) + Fraction(1, 2))
            checked: int = _check.length("stretch", "a length times factor", exact)
            return checked
        product = clocks.as_value(steps) * clocks.as_value(factor)
        return jnp.floor(product + 0.5).astype(jnp.int32)

    def time(timescale: ArrayLike) -> ArrayLike:
        if isinstance(timescale, float) and isinstance(factor, float):
            product: float = timescale * factor
            _check.number("stretch", "timescale * factor", product)
            return product
        return clocks.as_value(timescale) * clocks.as_value(factor)

    return schedule._stretched(length, time)


def require_stretchable(owner: str, schedule: Schedule) -> None:
    """Raises if some of a schedule's lengths are not known."""
    for part in jax.tree.leaves(schedule, is_leaf=_has_fixed_length):
        if _has_fixed_length(part):
            raise TypeError(f"{owner}: {part!r} {part._fixed_length}.")


def _has_fixed_length(x: Any) -> bool:
    return isinstance(x, Schedule) and bool(x._fixed_length)
