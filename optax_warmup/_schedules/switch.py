"""Switches to another schedule in the middle of a run, or warms up again."""

from __future__ import annotations

from dataclasses import KW_ONLY
from typing import Any

import jax
import numpy as np
from jax.typing import ArrayLike

from optax_warmup import _check
from optax_warmup._numerics import where
from optax_warmup._schedules import clock as clocks
from optax_warmup._schedules.schedule import Schedule, ScheduleLike, as_schedule
from optax_warmup._schedules.transition import ramp
from optax_warmup.shapes._powers import linear
from optax_warmup.shapes._shape import ShapeLike
from optax_warmup.values._kinds import Flag, Length, Rate

# Relative: equal rates that are written in two ways can differ in their last digits.
_SAME = 1e-5


class switch(Schedule):
    """Switches from one schedule to another, at once or along a bridge.

    for step < begin:          old(step)
    for step < begin + steps:  v + (new(begin + steps) - v) * shape(progress),
                               progress = (step - begin) / steps, v = old(begin)
    from begin + steps on:     new(step)

    Both are read at the run's own step; to start the clock of the new schedule at
    `begin`, pass `delay(new, begin)`. Without a bridge, old(begin) and new(begin) must
    be equal, unless `allow_jump` is true.

    Args:
        old: the schedule so far, or a number (>= 0) for a constant.
        new: the schedule from then on, or a number (>= 0) for a constant.
        begin: the first step that is not the old schedule's, >= 0; may be traced.
        steps: length of the bridge in updates, >= 0; may be traced.
        init_value: the value at the start of the bridge, >= 0; by default old(begin);
            may be traced.
        shape: the shape of the bridge: any function f of progress with f(0) = 0 and
            f(1) = 1.
        allow_jump: whether the value may jump at `begin` if there is no bridge. This is
            not checked if a number is traced.

    Returns:
        A `Schedule`.

    Raises:
        TypeError: an argument is not a number, or the shape is not callable.
        ValueError: the value jumps and `allow_jump` is false; a value is negative, NaN
            or infinite; a length is negative or not whole; the shape does not map 0 to
            0 and 1 to 1.

    Example:
        >>> import optax_warmup as ow
        >>> schedule = ow.switch(1.0, 3.0, begin=2, steps=2)
        >>> [schedule(step).item() for step in range(6)]
        [1.0, 1.0, 1.0, 2.0, 3.0, 3.0]
        >>> old = ow.wsd(1.0, warmup_steps=2, total_steps=8, decay_steps=4)
        >>> new = ow.wsd(1.0, warmup_steps=2, total_steps=12, decay_steps=4)
        >>> longer = ow.switch(old, new, begin=4)
        >>> [longer(step).item() for step in (3, 4, 8, 10, 12)]
        [1.0, 1.0, 1.0, 0.5, 0.0]
    """

    old: ScheduleLike
    new: ScheduleLike
    begin: Length
    _: KW_ONLY
    steps: Length = 0
    init_value: Rate | None = None
    shape: ShapeLike = linear
    allow_jump: Flag = False

    def __check_init__(self) -> None:
        if not self.allow_jump:
            _check_continuous(self)

    def value_at(self, clock: Any) -> jax.Array:
        begin = clocks.minus(self.begin, 0)
        end = _end(begin, self.steps)
        # Each is read once. `old` stops at `begin`, and `new` waits at `end`: these are
        # the two ends of the bridge.
        old = as_schedule(self.old).value_at(clocks.until(clock, begin))
        new = as_schedule(self.new).value_at(clocks.not_before(clock, end))
        start = old if self.init_value is None else self.init_value
        elapsed = clocks.since(clock, begin)
        bridge = ramp(start, new, elapsed, self.steps, self.shape)
        after = where(clocks.minus(elapsed, self.steps) < 0, bridge, new)
        return where(clocks.minus(clock, begin) < 0, old, after)

    def start_value(self) -> jax.Array:
        late = clocks.minus(self.begin, 0) > 0
        return where(late, as_schedule(self.old).start_value(), super().start_value())


def _check_continuous(schedule: Any) -> None:
    if any(_check.is_traced(x) for x in jax.tree.leaves(schedule)):
        return
    with jax.ensure_compile_time_eval():  # also inside jit
        old = np.asarray(schedule.old(schedule.begin), float)
        new = np.asarray(schedule.new(schedule.begin), float)
    jumps = np.abs(old - new) > _SAME * np.maximum(np.abs(old), np.abs(new))
    if np.any(jumps & (np.asarray(schedule.steps) == 0)):
        raise ValueError(
            f"switch: the value must not jump at begin={schedule.begin}, got "
            f"{_six_digits(old)} of the old schedule and {_six_digits(new)} of the new "
            "one. Bridge them with steps=..., or say allow_jump=True."
        )


def _six_digits(values: np.ndarray[Any, Any]) -> str:
    if values.ndim:
        return str([float(f"{value:.6g}") for value in values.ravel()])
    return f"{values:.6g}"


class rewarm(Schedule):
    """Adds a second warmup in the middle of a run, for instance after a resume.

    for begin <= step < begin + steps:
    init_value + (schedule(begin + steps) - init_value) * shape((step - begin) / steps);
    schedule(step) before and after.

    Use it if the optimizer's state was lost: Adam's moments start again, and so should
    the learning rate. `runs.begin_at` makes such a state. To go from an old schedule to
    a new peak, see `switch`.

    Args:
        schedule: the schedule of the run, or a number (>= 0) for a constant.
        begin: the step of the first update after the resume, >= 0; may be traced.
        steps: length of the second warmup in updates, >= 0; may be traced.
        init_value: the value at `begin`, >= 0; may be traced.
        shape: any function f of progress with f(0) = 0 and f(1) = 1.

    Returns:
        A `Schedule`.

    Raises:
        TypeError: an argument is not a number, or the shape is not callable.
        ValueError: a value is negative, NaN or infinite; a length is negative or not
            whole; the shape does not map 0 to 0 and 1 to 1.

    Example:
        >>> import optax_warmup as ow
        >>> schedule = ow.rewarm(ow.transition(1.0, 0.0, 8), begin=2, steps=2)
        >>> [schedule(step).item() for step in range(7)]
        [1.0, 0.875, 0.0, 0.25, 0.5, 0.375, 0.25]

    Source: A. Ibrahim et al., "Simple and Scalable Strategies to Continually Pre-train
    Large Language Models", 2024, arXiv:2403.08763 ("re-warming").
    """

    schedule: ScheduleLike
    begin: Length
    steps: Length
    _: KW_ONLY
    init_value: Rate = 0.0
    shape: ShapeLike = linear

    def value_at(self, clock: Any) -> jax.Array:
        begin = clocks.minus(self.begin, 0)
        end = _end(begin, self.steps)
        before = clocks.minus(clock, begin) < 0
        elapsed = clocks.since(clock, begin)
        inside = ~before & (clocks.minus(elapsed, self.steps) < 0)
        # Inside, the ramp leads to the schedule's value at the end of the ramp.
        read = where(before, clocks.minus(clock, 0), clocks.not_before(clock, end))
        value = as_schedule(self.schedule).value_at(read)
        rise = ramp(self.init_value, value, elapsed, self.steps, self.shape)
        return where(inside, rise, value)

    def start_value(self) -> jax.Array:
        late = clocks.minus(self.begin, 0) > 0
        first = as_schedule(self.schedule).start_value()
        return where(late, first, super().start_value())


def _end(begin: jax.Array, steps: ArrayLike) -> jax.Array:
    """begin + steps, saturated at 2**31 - 1."""
    return begin + clocks.until(steps, clocks.minus(_check.MAX_STEP, begin))
