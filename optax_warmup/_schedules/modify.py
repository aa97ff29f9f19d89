"""What makes another schedule out of one: stairs, bounds, noise, sums, faster play."""

import functools
import operator
from collections.abc import Iterable, Iterator
from dataclasses import KW_ONLY
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from optax_warmup import _check
from optax_warmup._schedules import clock as clocks
from optax_warmup._schedules.schedule import Schedule, ScheduleLike, require_schedule
from optax_warmup.values._value import value


@value
class staircase(Schedule):
    """A schedule that is read only now and then, and held in between.

    value(step) = schedule(steps * floor(step / steps))

    Args:
        schedule: what is read, or a number (>= 0) for a constant.
        steps: updates between two readings, >= 1; may be traced.

    Returns:
        A `Schedule`.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: the number is negative, NaN or infinite; `steps` is below 1 or not
            whole.

    Example:
        >>> import optax_warmup as ow
        >>> stairs = ow.staircase(ow.transition(1.0, 0.0, 4), 2)
        >>> [stairs(step).item() for step in range(6)]
        [1.0, 1.0, 0.5, 0.5, 0.0, 0.0]
    """

    schedule: ScheduleLike
    steps: ArrayLike

    def __post_init__(self) -> None:
        self._set(
            schedule=require_schedule("staircase", "schedule", self.schedule),
            steps=_check.length("staircase", "steps", self.steps, minimum=1),
        )

    def _at(self, clock: Any) -> jax.Array:
        steps = jnp.maximum(whole(self.steps), 1)
        clock = clocks.minus(clock, 0)
        return self.schedule._at(clock - jnp.mod(clock, steps.astype(clock.dtype)))

    def _start(self) -> jax.Array:
        return self.schedule._start()


def whole(steps: ArrayLike) -> jax.Array:
    """A length as int32; a float that traces one holds a whole number."""
    return jnp.asarray(steps).astype(jnp.int32)


def saturating_product(x: jax.Array, y: jax.Array) -> jax.Array:
    """x * y for integers >= 0 in int32, which stops at 2**31 - 1."""
    fits = x <= _check.MAX_STEP // jnp.maximum(y, 1)
    return jnp.where(fits, jnp.where(fits, x, 0) * y, _check.MAX_STEP)


@value
class clip(Schedule):
    """A schedule kept within bounds.

    value(step) = min(max(schedule(step), minimum), maximum)

    A bound is not an end value: the curve runs into it and stays, where a curve with
    an `end_value` bends towards it.

    Args:
        schedule: what is clipped, or a number (>= 0) for a constant.
        minimum: the lower bound, >= 0; may be traced.
        maximum: the upper bound, >= minimum; none by default; may be traced.

    Returns:
        A `Schedule`.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: a number is negative, NaN or infinite; minimum > maximum.

    Example:
        >>> import optax_warmup as ow
        >>> floored = ow.clip(ow.transition(1.0, 0.0, 4), minimum=0.25)
        >>> [floored(step).item() for step in range(6)]
        [1.0, 0.75, 0.5, 0.25, 0.25, 0.25]
    """

    schedule: ScheduleLike
    _: KW_ONLY
    minimum: ArrayLike = 0.0
    maximum: ArrayLike | None = None

    def __post_init__(self) -> None:
        self._set(
            schedule=require_schedule("clip", "schedule", self.schedule),
            minimum=_check.rate("clip", "minimum", self.minimum),
        )
        if self.maximum is not None:
            self._set(maximum=_check.rate("clip", "maximum", self.maximum))
            _check.ordered("clip", "minimum", self.minimum, "maximum", self.maximum)

    def _at(self, clock: Any) -> jax.Array:
        return self._bounded(self.schedule._at(clock))

    def _start(self) -> jax.Array:
        return self._bounded(self.schedule._start())

    def _bounded(self, value: jax.Array) -> jax.Array:
        value = jnp.maximum(value, clocks.as_value(self.minimum))
        if self.maximum is None:
            return value
        return jnp.minimum(value, clocks.as_value(self.maximum))


@value
class add(Schedule):
    """The sum of schedules, all on the same clock.

    value(step) = schedules[0](step) + schedules[1](step) + ...

    Args:
        *schedules: one at least; numbers (>= 0) stand for constants.

    Returns:
        A `Schedule`.

    Raises:
        TypeError: no schedule is given, or one is neither callable nor a number.
        ValueError: a number is negative, NaN or infinite.

    Example:
        >>> import optax_warmup as ow
        >>> schedule = ow.add(0.5, ow.transition(1.0, 0.0, 4))
        >>> [schedule(step).item() for step in range(6)]
        [1.5, 1.25, 1.0, 0.75, 0.5, 0.5]
    """

    schedules: tuple[Schedule, ...]

    def __init__(self, *schedules: ScheduleLike) -> None:
        if not schedules:
            raise TypeError("add: give at least one schedule or number.")
        self._set(
            schedules=tuple(
                require_schedule("add", f"schedules[{index}]", schedule)
                for index, schedule in enumerate(schedules)
            )
        )

    def _arguments(self) -> Iterator[tuple[str | None, Any]]:
        return ((None, schedule) for schedule in self.schedules)

    def _at(self, clock: Any) -> jax.Array:
        return _sum(schedule._at(clock) for schedule in self.schedules)

    def _start(self) -> jax.Array:
        return _sum(schedule._start() for schedule in self.schedules)


def _sum(values: Iterable[jax.Array]) -> jax.Array:
    """The sum of values >= 0.

    The `where` does nothing but stand between a product and the sum, which a compiler
    would fuse and round once, in one program and not in the next.
    """
    return functools.reduce(operator.add, (jnp.where(x < 0, 0, x) for x in values))
