"""Repeats a schedule."""

from __future__ import annotations

from dataclasses import KW_ONLY
from typing import Annotated, Any, Self

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from optax_warmup import _check
from optax_warmup._numerics import expm1, plus_product, where, with_derivative_of
from optax_warmup._schedules import clock as clocks, powers
from optax_warmup._schedules.integers import saturating_product, whole
from optax_warmup._schedules.program import prepared
from optax_warmup._schedules.schedule import Schedule, ScheduleLike, as_schedule
from optax_warmup._schedules.stretch import require_stretchable
from optax_warmup.values._kinds import Count, OrNone, PositiveLength, Rate, WholeNumber

# If each cycle is at least twice as long, no more cycles begin before step 2**31.
_MOST_GROWING = 31


class cycle(Schedule):
    """Repeats a schedule, with cycles that may grow and shrink.

    In cycle i = 0, 1, ..., which lasts for period * period_multiplier**i updates,
    value(step) = floor + scale**i * (v - floor),
    v = schedule((step - begin of cycle i) / period_multiplier**i)

    The first update of a cycle has the schedule's first value. Its value at `period` is
    seen only after the last cycle. Lengths stop growing at 2**31 - 1. For cycles of
    arbitrary lengths use `join`; for lengths that are fractions of an update, `retime`.

    Args:
        schedule: one cycle, or a number (>= 0) for a constant. If the cycles grow, it
            must be a schedule of this library, so that its lengths can grow too.
        period: length of the first cycle in updates, >= 1; may be traced.
        period_multiplier: length of each cycle relative to the one before it, a whole
            number >= 1; may be traced; 1 by default.
        scale: height of each cycle above `floor` relative to the one before it, >= 0;
            may be traced.
        floor: the value that is not scaled, >= 0; may be traced. With 0 the whole cycle
            shrinks; with its lowest value, only its height does.
        num_cycles: number of cycles, >= 1, after which the value is held at the end of
            the last one; by default there is no end; may be traced.

    Returns:
        A `Schedule`.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: a value is negative, NaN or infinite; a length or count is below 1
            or not whole.

    Example:
        >>> import optax_warmup as ow
        >>> line = ow.transition(1.0, 0.0, 2)
        >>> saw = ow.cycle(line, 2, period_multiplier=2, scale=0.5)
        >>> [saw(step).item() for step in range(7)]
        [1.0, 0.5, 0.5, 0.375, 0.25, 0.125, 0.25]

    Source: I. Loshchilov and F. Hutter, "SGDR: Stochastic Gradient Descent with Warm
    Restarts", 2017, arXiv:1608.03983, section 3.
    """

    schedule: ScheduleLike
    period: PositiveLength
    _: KW_ONLY
    period_multiplier: Annotated[
        ArrayLike | None,
        OrNone(WholeNumber(1, hint="use join for cycles of other lengths")),
    ] = None
    scale: Rate = 1.0
    floor: Rate = 0.0
    num_cycles: Count | None = None

    def __check_init__(self) -> None:
        if self.period_multiplier is None:
            return
        if isinstance(self.period_multiplier, int) and self.period_multiplier == 1:
            self._set(period_multiplier=None)  # simpler, and works for any callable
        else:
            require_stretchable("cycle", as_schedule(self.schedule))

    def _prepared(self) -> Self:
        return self._replaced(
            schedule=prepared(as_schedule(self.schedule)),
            scale=powers.split(self.scale),
        )

    def value_at(self, clock: Any) -> jax.Array:
        clock = clocks.minus(clock, 0)
        schedule = as_schedule(self.schedule)
        last: ArrayLike = _check.MAX_STEP
        if self.num_cycles is not None:
            last = whole(self.num_cycles) - 1
        if self.period_multiplier is None:
            index, local = _even(clock, self.period, last)
            return self._scaled(schedule.value_at(local), index)
        index, local, factor = _growing(
            clock, self.period, jnp.maximum(whole(self.period_multiplier), 1), last
        )
        grown = schedule._stretched(
            lambda steps: _times(steps, factor),
            lambda time: clocks.as_value(time) * clocks.as_value(factor),
        )
        return self._scaled(grown.value_at(local), index)

    def start_value(self) -> jax.Array:
        return as_schedule(self.schedule).start_value()

    def _scaled(self, value: jax.Array, index: jax.Array) -> jax.Array:
        index = clocks.as_value(index)
        floor, kept = clocks.as_value(self.floor), powers.power(self.scale, index)
        above = plus_product(floor, kept, value - floor)
        # Below the floor that difference would cancel: weigh floor and value instead.
        lost = -expm1(jnp.minimum(index * powers.log(self.scale), 0))
        lost = where((kept > 0.5) & (kept <= 1), lost, 1 - kept)
        lost = plus_product(jnp.zeros_like(floor), floor, lost)
        moved = where(value < floor, plus_product(lost, kept, value), above)
        moved = jnp.clip(moved, 0, float(jnp.finfo(moved.dtype).max))
        fits = moved < float(jnp.finfo(moved.dtype).max)
        formula = where(fits, above, moved)
        return with_derivative_of(where(kept == 1, value, moved), formula)


def _even(
    clock: jax.Array, period: ArrayLike, last: ArrayLike
) -> tuple[jax.Array, jax.Array]:
    """The cycle's index and the clock inside it, for cycles of equal length."""
    length = jnp.asarray(period)
    if jnp.issubdtype(length.dtype, jnp.floating):
        # A length traced as a float has a derivative, and need not be whole.
        length = jnp.maximum(clocks.as_value(length), jnp.finfo(length.dtype).tiny)
        clock = clocks.as_value(clock)
        index = jnp.minimum(jnp.floor(clock / length), clocks.as_value(last))
        return index, jnp.minimum(clock - index * length, length)
    length = jnp.maximum(whole(length), 1)
    index = jnp.minimum(whole(jnp.floor(clock)) // length, last)
    return index, clocks.until(clock - (index * length).astype(clock.dtype), length)


def _growing(
    clock: jax.Array, period: ArrayLike, multiplier: jax.Array, last: ArrayLike
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The cycle's index, the clock inside it, and its length relative to the first.

    Walks through the cycles in integers: the logarithm in the closed form sometimes
    falls on the wrong side of a boundary.
    """
    step, period = whole(jnp.floor(clock)), jnp.maximum(whole(period), 1)
    last = jnp.asarray(last).astype(jnp.int32)

    def walk(_: Any, place: tuple[Any, ...]) -> tuple[Any, ...]:
        index, start, factor = place
        length = saturating_product(period, factor)
        ended = (step - start >= length) & (index < last)
        return (
            index + ended.astype(index.dtype),
            start + where(ended, length, 0),
            where(ended, saturating_product(factor, multiplier), factor),
        )

    # The loop's carry needs the common shape and sharding of all four.
    zero = 0 * (step + period + multiplier + last)
    grown = jax.lax.fori_loop(0, _MOST_GROWING, walk, (zero, zero, zero + 1))
    # With a traced multiplier of 1 there can be more cycles than the walk covers.
    steady = jnp.minimum(step // period, last)
    index, start, factor = (
        where(multiplier == 1, x, y)
        for x, y in zip((steady, steady * period, zero + 1), grown, strict=True)
    )
    length = saturating_product(period, factor)
    return index, clocks.until(clock - start.astype(clock.dtype), length), factor


def _times(steps: ArrayLike, factor: jax.Array) -> jax.Array:
    """steps * factor, of either sign, saturated at +-(2**31 - 1)."""
    most = np.int32(_check.MAX_STEP) // factor
    return jnp.clip(whole(steps), -most, most) * factor
