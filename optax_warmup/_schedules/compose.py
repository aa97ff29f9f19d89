"""Composition: a warmup in front of a schedule, a cooldown at its end, combinators."""

from collections.abc import Iterator, Sequence
from dataclasses import KW_ONLY
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from optax_warmup import _check
from optax_warmup._schedules import clock as clocks
from optax_warmup._schedules.ramps import ramp
from optax_warmup._schedules.schedule import Schedule, ScheduleLike, require_schedule
from optax_warmup.shapes._powers import linear
from optax_warmup.shapes._shape import Shape, as_shape
from optax_warmup.values._value import value


@value
class warmup(Schedule):
    """A ramp in front of a schedule, which it meets; the schedule's clock then starts.

    for step < steps:  init_value + (schedule(0) - init_value) * shape(progress),
                       progress = min(1, (step + offset) / steps)
    from step = steps: schedule(step - steps)

    Which update has which value: with `offset=0` (as in optax, torch, Keras) the first
    update, step 0, has `init_value` (0: it changes nothing) and the one at step `steps`
    is the first to have the peak. With `offset=1` the first update has peak / steps,
    and the last one of the ramp, at step `steps - 1`, has the peak already.

    Args:
        schedule: what follows the ramp, or a number (>= 0) for a constant.
        steps: the length of the ramp in updates, >= 0; with 0 the schedule starts at
            once; may be traced.
        init_value: where the ramp starts, >= 0; may be traced.
        shape: any function f of progress with f(0) = 0 and f(1) = 1.
        offset: updates by which the ramp is ahead, >= 0.

    Returns:
        A `Schedule`. To multiply by a ramp instead, with the schedule's clock running
        from step 0, write `multiply(warmup(1.0, steps), schedule)`.

    Raises:
        TypeError: an argument is not a number, or the shape is not callable.
        ValueError: a value is negative, NaN or infinite; a length is negative or not
            whole; the shape does not join 0 to 1.

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
    steps: ArrayLike
    _: KW_ONLY
    init_value: ArrayLike = 0.0
    shape: Shape = linear
    offset: ArrayLike = 0

    def __post_init__(self) -> None:
        self._set(
            schedule=require_schedule("warmup", "schedule", self.schedule),
            steps=_check.length("warmup", "steps", self.steps),
            init_value=_check.rate("warmup", "init_value", self.init_value),
            shape=as_shape("warmup", self.shape),
            offset=_check.length("warmup", "offset", self.offset),
        )

    def _at(self, clock: Any) -> jax.Array:
        # The offset is taken off the time left: step + offset could overflow.
        left = clocks.since(clocks.minus(self.steps, clock), self.offset)
        elapsed = clocks.minus(self.steps, left)
        rise = ramp(
            self.init_value, self.schedule._start(), elapsed, self.steps, self.shape
        )
        rest = self.schedule._at(clocks.since(clock, self.steps))
        return jnp.where(clocks.minus(clock, self.steps) < 0, rise, rest)


@value
class cooldown(Schedule):
    """Ends a schedule from a chosen step: a ramp from the value it has there.

    for step < begin:  schedule(step)
    from step = begin: v + (end_value - v) * shape((step - begin) / steps),
                       v = schedule(begin)

    The update at `begin` still has the schedule's own value; `end_value` comes at step
    begin + steps and is held.

    Args:
        schedule: what is ended, or a number (>= 0) for a constant.
        begin: the step at which the cooldown begins, >= 0; may be traced.
        steps: its length in updates, >= 0; 0 gives `end_value` at once; may be traced.
        end_value: the value at its end, >= 0; may be traced.
        shape: any function f of progress with f(0) = 0 and f(1) = 1;
            `shapes.power(0.5)` is the "1 - sqrt" cooldown.

    Returns:
        A `Schedule`.

    Raises:
        TypeError: an argument is not a number, or the shape is not callable.
        ValueError: a value is negative, NaN or infinite; a length is negative or not
            whole; the shape does not join 0 to 1.

    Example:
        >>> import optax_warmup as ow
        >>> schedule = ow.cooldown(1.0, begin=2, steps=2)
        >>> [schedule(step).item() for step in range(6)]
        [1.0, 1.0, 1.0, 0.5, 0.0, 0.0]

    Source: A. Hägele et al., "Scaling Laws and Compute-Optimal Training Beyond Fixed
    Training Durations", 2024, arXiv:2405.18392, equation 1.
    """

    schedule: ScheduleLike
    begin: ArrayLike
    steps: ArrayLike
    _: KW_ONLY
    end_value: ArrayLike = 0.0
    shape: Shape = linear

    def __post_init__(self) -> None:
        self._set(
            schedule=require_schedule("cooldown", "schedule", self.schedule),
            begin=_check.length("cooldown", "begin", self.begin),
            steps=_check.length("cooldown", "steps", self.steps),
            end_value=_check.rate("cooldown", "end_value", self.end_value),
            shape=as_shape("cooldown", self.shape),
        )

    def _at(self, clock: Any) -> jax.Array:
        begin = clocks.minus(self.begin, 0)
        fall = ramp(
            self.schedule._at(begin),
            self.end_value,
            clocks.since(clock, begin),
            self.steps,
            self.shape,
        )
        before = self.schedule._at(clocks.until(clock, begin))
        return jnp.where(clocks.minus(clock, begin) < 0, before, fall)


@value
class multiply(Schedule):
    """The product of schedules, all on the same clock.

    value(step) = schedules[0](step) * schedules[1](step) * ...

    Args:
        *schedules: one at least; numbers (>= 0) stand for constants.

    Returns:
        A `Schedule`.

    Raises:
        TypeError: no schedule is given, or one is neither callable nor a number.
        ValueError: a number is negative, NaN or infinite.

    Example:
        >>> import optax_warmup as ow
        >>> schedule = ow.multiply(ow.warmup(1.0, 2), ow.transition(1.0, 0.0, 4))
        >>> [schedule(step).item() for step in range(5)]
        [0.0, 0.375, 0.5, 0.25, 0.0]
    """

    schedules: tuple[Schedule, ...]

    def __init__(self, *schedules: ScheduleLike) -> None:
        if not schedules:
            raise TypeError("multiply: give at least one schedule or number.")
        self._set(
            schedules=tuple(
                require_schedule("multiply", f"schedules[{index}]", schedule)
                for index, schedule in enumerate(schedules)
            )
        )

    def _arguments(self) -> Iterator[tuple[str | None, Any]]:
        return ((None, schedule) for schedule in self.schedules)

    def _at(self, clock: Any) -> jax.Array:
        product = self.schedules[0]._at(clock)
        for schedule in self.schedules[1:]:
            product = product * schedule._at(clock)
        return product


@value
class join(Schedule):
    """Schedules one after the other, each on a clock of its own.

    In phase i, which lasts for its own length, value(step) = schedule[i](step - begin
    of phase i); after the last phase, value(step) = last(step - end of the phases).

    The value may jump where phases meet, and `piecewise` is there for chains that must
    not. In front of a schedule, prefer `warmup`, which meets it.

    Args:
        phases: (steps, schedule) in order: the phase's length in updates, >= 0, which
            may be traced, and its schedule, or a number for a constant.
        last: the schedule after all phases, or a number for a constant.

    Returns:
        A `Schedule`.

    Raises:
        TypeError: a phase is not such a pair, or an argument has the wrong type.
        ValueError: no phase; a number is negative, NaN or infinite; a length is
            negative or not whole.

    Example:
        >>> import optax_warmup as ow
        >>> steps_down = ow.join([(2, 1.0), (2, 0.1)], last=0.01)
        >>> [round(steps_down(step).item(), 2) for step in range(6)]
        [1.0, 1.0, 0.1, 0.1, 0.01, 0.01]
    """

    phases: Sequence[tuple[ArrayLike, ScheduleLike]]
    last: ScheduleLike

    def __post_init__(self) -> None:
        phases = self.phases
        if not isinstance(phases, list | tuple) or not phases:
            raise _bad_phases("phases", phases)
        checked = []
        for index, phase in enumerate(phases):
            name = f"phases[{index}]"
            if not isinstance(phase, list | tuple) or len(phase) != 2:
                raise _bad_phases(name, phase)
            steps = _check.length("join", f"{name} steps", phase[0])
            schedule = require_schedule("join", f"{name} schedule", phase[1])
            checked.append((steps, schedule))
        last = require_schedule("join", "last", self.last)
        self._set(phases=tuple(checked), last=last)

    def _at(self, clock: Any) -> jax.Array:
        result: Any = None
        ended = jnp.asarray(True)
        for steps, schedule in self.phases:
            inside = schedule._at(clocks.until(clock, steps))
            result = inside if result is None else jnp.where(ended, inside, result)
            ended &= clocks.minus(clock, steps) >= 0
            clock = clocks.since(clock, steps)
        return jnp.where(ended, self.last._at(clock), result)


def _bad_phases(name: str, got: Any) -> Exception:
    error = ValueError if isinstance(got, list | tuple) else TypeError
    return error(
        "join: phases must be a list of (steps, schedule), one at least; "
        f"{name} is {got!r}."
    )


@value
class advance(Schedule):
    """A schedule read ahead of its clock, so that it begins in its middle.

    value(step) = schedule(step + steps)

    Args:
        schedule: what is read ahead, or a number (>= 0) for a constant.
        steps: updates to read ahead, >= 0; may be traced.

    Returns:
        A `Schedule`.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: `steps` is negative or not whole; to begin later, use `delay`.

    Example:
        >>> import optax_warmup as ow
        >>> ramp = ow.transition(0.0, 1.0, 4)
        >>> [ow.advance(ramp, 1)(step).item() for step in range(5)]
        [0.25, 0.5, 0.75, 1.0, 1.0]
    """

    schedule: ScheduleLike
    steps: ArrayLike

    def __post_init__(self) -> None:
        hint = "to begin later, use delay"
        self._set(
            schedule=require_schedule("advance", "schedule", self.schedule),
            steps=_check.length("advance", "steps", self.steps, hint=hint),
        )

    def _at(self, clock: Any) -> jax.Array:
        ahead = clocks.since(self.steps, 0)
        # Stopping short of 2**31 - 1 first keeps the sum from overflowing.
        clock = clocks.until(clock, clocks.minus(_check.MAX_STEP, ahead))
        return self.schedule._at(clocks.minus(clock, clocks.minus(0, ahead)))


@value
class delay(Schedule):
    """A schedule that begins later, and holds its first value until then.

    value(step) = schedule(max(0, step - steps))

    Args:
        schedule: what is delayed, or a number (>= 0) for a constant.
        steps: updates by which it begins later, >= 0; may be traced.

    Returns:
        A `Schedule`.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: `steps` is negative or not whole; to begin in the middle of the
            schedule, use `advance`.

    Example:
        >>> import optax_warmup as ow
        >>> ramp = ow.transition(0.0, 1.0, 4)
        >>> [ow.delay(ramp, 1)(step).item() for step in range(6)]
        [0.0, 0.0, 0.25, 0.5, 0.75, 1.0]
    """

    schedule: ScheduleLike
    steps: ArrayLike

    def __post_init__(self) -> None:
        hint = "to begin in the middle of the schedule, use advance"
        self._set(
            schedule=require_schedule("delay", "schedule", self.schedule),
            steps=_check.length("delay", "steps", self.steps, hint=hint),
        )

    def _at(self, clock: Any) -> jax.Array:
        return self.schedule._at(clocks.since(clock, self.steps))
