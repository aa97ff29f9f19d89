"""Delays a schedule, or starts it part-way through."""

from __future__ import annotations

from typing import Annotated, Any

import jax
from jax.typing import ArrayLike

from optax_warmup import _check
from optax_warmup._schedules import clock as clocks
from optax_warmup._schedules.schedule import Schedule, ScheduleLike, as_schedule
from optax_warmup.values._kinds import Steps


class delay(Schedule):
    """Delays a schedule, and holds its first value until it begins.

    value(step) = schedule(max(0, step - steps))

    Args:
        schedule: the schedule to delay, or a number (>= 0) for a constant.
        steps: number of updates by which it begins later, >= 0; may be traced.

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
    steps: Annotated[
        ArrayLike, Steps(hint="to begin in the middle of the schedule, use advance")
    ]

    def value_at(self, clock: Any) -> jax.Array:
        return as_schedule(self.schedule).value_at(clocks.since(clock, self.steps))

    def start_value(self) -> jax.Array:
        return as_schedule(self.schedule).start_value()


class advance(Schedule):
    """Starts a schedule part-way through, `steps` updates ahead.

    value(step) = schedule(step + steps)

    Args:
        schedule: the schedule to advance, or a number (>= 0) for a constant.
        steps: number of updates to skip, >= 0; may be traced.

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
    steps: Annotated[ArrayLike, Steps(hint="to begin later, use delay")]

    def value_at(self, clock: Any) -> jax.Array:
        ahead = clocks.since(self.steps, 0)
        # Stop the clock early, so that the sum does not overflow.
        clock = clocks.until(clock, clocks.minus(_check.MAX_STEP, ahead))
        return as_schedule(self.schedule).value_at(
            clocks.minus(clock, clocks.minus(0, ahead))
        )
