"""A schedule that begins later, or in its middle."""

from __future__ import annotations

from typing import Annotated, Any

import jax
from jax.typing import ArrayLike

from optax_warmup import _check
from optax_warmup._schedules import clock as clocks
from optax_warmup._schedules.schedule import Schedule, ScheduleLike, as_schedule
from optax_warmup.values._kinds import Steps


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
    steps: Annotated[
        ArrayLike, Steps(hint="to begin in the middle of the schedule, use advance")
    ]

    def value_at(self, clock: Any) -> jax.Array:
        return as_schedule(self.schedule).value_at(clocks.since(clock, self.steps))

    def start_value(self) -> jax.Array:
        return as_schedule(self.schedule).start_value()


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
    steps: Annotated[ArrayLike, Steps(hint="to begin later, use delay")]

    def value_at(self, clock: Any) -> jax.Array:
        ahead = clocks.since(self.steps, 0)
        # Stopping short of 2**31 - 1 first keeps the sum from overflowing.
        clock = clocks.until(clock, clocks.minus(_check.MAX_STEP, ahead))
        return as_schedule(self.schedule).value_at(
            clocks.minus(clock, clocks.minus(0, ahead))
        )
