"""Combines schedules: their product, their sum, or one after the other."""

from __future__ import annotations

import functools
import operator
from collections.abc import Iterable, Iterator, Sequence
from typing import Annotated, Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from optax_warmup._numerics import where
from optax_warmup._schedules import clock as clocks
from optax_warmup._schedules.schedule import Schedule, ScheduleLike, as_schedule
from optax_warmup.values._kinds import Each, Length, Rows
from optax_warmup.values._value import public_name


class _Combined(Schedule):
    """Schedules on the same clock, combined value by value."""

    schedules: Annotated[Sequence[ScheduleLike], Each(ScheduleLike)]

    # `dataclasses.replace` passes `schedules=`. A subclass must repeat the constructor:
    # otherwise the dataclass decorator generates another one.
    def __init__(
        self, *args: ScheduleLike, schedules: Sequence[ScheduleLike] = ()
    ) -> None:
        if not isinstance(schedules, list | tuple):
            raise TypeError(
                f"{public_name(type(self))}: schedules must be a list, got "
                f"{schedules!r}; or pass the schedules one by one."
            )
        self._set(schedules=(*args, *schedules))
        self.__post_init__()

    def __check_init__(self) -> None:
        if not self.schedules:
            raise TypeError(
                f"{public_name(type(self))}: give at least one schedule or number."
            )

    def _arguments(self) -> Iterator[tuple[str | None, Any]]:
        return ((None, schedule) for schedule in self.schedules)

    def _values_at(self, clock: Any) -> Iterator[jax.Array]:
        return (as_schedule(s).value_at(clock) for s in self.schedules)

    def _start_values(self) -> Iterator[jax.Array]:
        return (as_schedule(s).start_value() for s in self.schedules)


class multiply(_Combined):
    """Multiplies schedules, all on the same clock.

    value(step) = schedules[0](step) * schedules[1](step) * ...

    Args:
        *schedules: at least one schedule, or number (>= 0) for a constant.

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

    def __init__(
        self, *args: ScheduleLike, schedules: Sequence[ScheduleLike] = ()
    ) -> None:
        super().__init__(*args, schedules=schedules)

    def value_at(self, clock: Any) -> jax.Array:
        return functools.reduce(operator.mul, self._values_at(clock))

    def start_value(self) -> jax.Array:
        return functools.reduce(operator.mul, self._start_values())


class add(_Combined):
    """Adds schedules, all on the same clock.

    value(step) = schedules[0](step) + schedules[1](step) + ...

    Args:
        *schedules: at least one schedule, or number (>= 0) for a constant.

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

    def __init__(
        self, *args: ScheduleLike, schedules: Sequence[ScheduleLike] = ()
    ) -> None:
        super().__init__(*args, schedules=schedules)

    def value_at(self, clock: Any) -> jax.Array:
        return _sum(self._values_at(clock))

    def start_value(self) -> jax.Array:
        return _sum(self._start_values())


def _sum(values: Iterable[jax.Array]) -> jax.Array:
    """The sum of values >= 0.

    The `where` changes nothing. It keeps a compiler from fusing a product with the sum,
    which it would do, and so round once less, in some programs but not in others.
    """
    return functools.reduce(operator.add, (where(x < 0, 0, x) for x in values))


class join(Schedule):
    """Runs schedules one after the other, each on its own clock.

    in phase i:        value(step) = schedule[i](step - begin of phase i)
    after all phases:  value(step) = last(step - end of the phases)

    The value may jump where phases meet. Use `piecewise` for a chain without jumps,
    and `warmup` for a ramp that leads up to a schedule.

    Args:
        phases: (steps, schedule) tuples in order: the length of the phase in updates,
            >= 0, which may be traced, and its schedule, or a number for a constant.
        last: the schedule after all phases, or a number for a constant.

    Returns:
        A `Schedule`.

    Raises:
        TypeError: a phase is not such a tuple, or an argument has the wrong type.
        ValueError: `phases` is empty; a number is negative, NaN or infinite; a length
            is negative or not whole.

    Example:
        >>> import optax_warmup as ow
        >>> steps_down = ow.join([(2, 1.0), (2, 0.1)], last=0.01)
        >>> [round(steps_down(step).item(), 2) for step in range(6)]
        [1.0, 1.0, 0.1, 0.1, 0.01, 0.01]
    """

    phases: Annotated[
        Sequence[tuple[ArrayLike, ScheduleLike]],
        Rows((("steps", Length), ("schedule", ScheduleLike))),
    ]
    last: ScheduleLike

    def value_at(self, clock: Any) -> jax.Array:
        result: Any = None
        ended = jnp.asarray(True)
        for steps, schedule in self.phases:
            inside = as_schedule(schedule).value_at(clocks.until(clock, steps))
            result = inside if result is None else where(ended, inside, result)
            ended &= clocks.minus(clock, steps) >= 0
            clock = clocks.since(clock, steps)
        return where(ended, as_schedule(self.last).value_at(clock), result)

    def start_value(self) -> jax.Array:
        """The start value of the first phase whose length is not 0."""
        result = as_schedule(self.last).start_value()
        for steps, schedule in reversed(self.phases):
            there = clocks.minus(steps, 0) > 0
            result = where(there, as_schedule(schedule).start_value(), result)
        return result
