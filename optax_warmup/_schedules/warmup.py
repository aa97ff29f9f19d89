"""Puts a warmup in front of a schedule, or a cooldown at its end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import KW_ONLY
from typing import Any

import jax
from jax.typing import ArrayLike

from optax_warmup._numerics import where
from optax_warmup._schedules import clock as clocks
from optax_warmup._schedules.schedule import Schedule, ScheduleLike, as_schedule
from optax_warmup._schedules.transition import ramp, ramp_after
from optax_warmup.shapes._powers import linear
from optax_warmup.shapes._shape import ShapeLike
from optax_warmup.values._kinds import Length, Rate


class warmup(Schedule):
    """Puts a warmup in front of a schedule: a ramp that leads to its first value.

    for step < steps:  init_value + (schedule(0) - init_value) * shape(progress),
                       progress = min(1, (step + offset) / steps)
    from step = steps: schedule(step - steps)

    The schedule's clock starts at the end of the ramp.

    With `offset=0` (as in optax, torch and Keras) the first update, at step 0, has
    `init_value` (if that is 0, it changes nothing), and the update at step `steps` is
    the first with the peak. With `offset=1` and init_value=0 the first update has
    peak / steps, and the last one of the ramp, at step `steps - 1`, has the peak.

    Args:
        schedule: the schedule after the ramp, or a number (>= 0) for a constant.
        steps: length of the ramp in updates, >= 0; with 0 the schedule starts at once;
            may be traced.
        init_value: the value at the start of the ramp, >= 0; may be traced.
        shape: any function f of progress with f(0) = 0 and f(1) = 1.
        offset: number of updates by which the ramp is ahead of the step, >= 0; may be
            traced.

    Returns:
        A `Schedule`. To multiply by a ramp instead, with the schedule's clock running
        from step 0, write `multiply(warmup(1.0, steps), schedule)`.

    Raises:
        TypeError: an argument is not a number, or the shape is not callable.
        ValueError: a value is negative, NaN or infinite; a length is negative or not
            whole; the shape does not map 0 to 0 and 1 to 1.

    Example:
        >>> import optax_warmup as ow
        >>> schedule = ow.warmup(ow.transition(1.0, 0.0, 4), steps=2)
        >>> [schedule(step).item() for step in range(8)]
        [0.0, 0.5, 1.0, 0.75, 0.5, 0.25, 0.0, 0.0]
        >>> [ow.warmup(1.0, steps=4, offset=1)(step).item() for step in range(5)]
        [0.25, 0.5, 0.75, 1.0, 1.0]

    Source: P. Goyal et al., "Accurate, Large Minibatch SGD: Training ImageNet in 1
    Hour", 2017, arXiv:1706.02677, section 2.2 ("gradual warmup").
    """

    schedule: ScheduleLike
    steps: Length
    _: KW_ONLY
    init_value: Rate = 0.0
    shape: ShapeLike = linear
    offset: Length = 0

    def value_at(self, clock: Any) -> jax.Array:
        return self._value_and_start(clock)[0]

    def start_value(self) -> jax.Array:
        return self._start(as_schedule(self.schedule).start_value)

    def _value_and_start(self, clock: Any) -> tuple[jax.Array, jax.Array]:
        inner, since = as_schedule(self.schedule), clocks.since(clock, self.steps)
        rest, top = inner._value_and_start(since)
        before = clocks.minus(clock, self.steps) < 0
        value = where(before, self._rise(clock, top), rest)
        return value, self._start(lambda: top)

    def _start(self, top: Callable[[], jax.Array]) -> jax.Array:
        if not clocks.is_zero(self.offset):
            return self._rise(0, top())
        if clocks.is_above_zero(self.steps):
            return clocks.as_value(self.init_value)
        # Without a ramp, this is the start value of the schedule.
        return where(clocks.minus(self.steps, 0) > 0, self.init_value, top())

    def _rise(self, clock: ArrayLike, top: jax.Array) -> jax.Array:
        if clocks.is_zero(self.offset):
            return ramp(self.init_value, top, clock, self.steps, self.shape)
        # Subtract the offset from the steps left: step + offset could overflow.
        left = clocks.since(clocks.minus(self.steps, clock), self.offset)
        elapsed = clocks.minus(self.steps, left)
        return ramp_after(self.init_value, top, elapsed, left, self.steps, self.shape)


class cooldown(Schedule):
    """Ends a schedule with a ramp from its value at a chosen step.

    for step < begin:  schedule(step)
    from step = begin: v + (end_value - v) * shape((step - begin) / steps),
                       v = schedule(begin)

    The update at `begin` still has the schedule's own value. `end_value` is reached at
    step begin + steps, then held.

    Args:
        schedule: the schedule to end, or a number (>= 0) for a constant.
        begin: the step at which the cooldown begins, >= 0; may be traced.
        steps: length of the cooldown in updates, >= 0; with 0 the value is `end_value`
            at once; may be traced.
        end_value: the value at the end, >= 0; may be traced.
        shape: any function f of progress with f(0) = 0 and f(1) = 1;
            `shapes.power(0.5)` is the "1 - sqrt" cooldown.

    Returns:
        A `Schedule`.

    Raises:
        TypeError: an argument is not a number, or the shape is not callable.
        ValueError: a value is negative, NaN or infinite; a length is negative or not
            whole; the shape does not map 0 to 0 and 1 to 1.

    Example:
        >>> import optax_warmup as ow
        >>> schedule = ow.cooldown(1.0, begin=2, steps=2)
        >>> [schedule(step).item() for step in range(6)]
        [1.0, 1.0, 1.0, 0.5, 0.0, 0.0]

    Source: A. Hägele et al., "Scaling Laws and Compute-Optimal Training Beyond Fixed
    Training Durations", 2024, arXiv:2405.18392, equation 1.
    """

    schedule: ScheduleLike
    begin: Length
    steps: Length
    _: KW_ONLY
    end_value: Rate = 0.0
    shape: ShapeLike = linear

    def value_at(self, clock: Any) -> jax.Array:
        # From `begin` on this is the schedule's value at `begin`.
        value = as_schedule(self.schedule).value_at(clocks.until(clock, self.begin))
        elapsed = clocks.since(clock, self.begin)
        fall = ramp(value, self.end_value, elapsed, self.steps, self.shape)
        if clocks.is_above_zero(self.steps):
            return fall  # which begins at `value`
        return where(clocks.minus(clock, self.begin) < 0, value, fall)

    def start_value(self) -> jax.Array:
        return as_schedule(self.schedule).start_value()
