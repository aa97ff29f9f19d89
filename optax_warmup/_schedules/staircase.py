"""Holds schedules for several updates at a time."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from optax_warmup._schedules import clock as clocks
from optax_warmup._schedules.integers import whole
from optax_warmup._schedules.schedule import Schedule, ScheduleLike, as_schedule
from optax_warmup.values._kinds import PositiveLength


class staircase(Schedule):
    """Reads a schedule every `steps` updates, and holds the value in between.

    value(step) = schedule(steps * floor(step / steps))

    Args:
        schedule: the schedule to read, or a number (>= 0) for a constant.
        steps: number of updates between two readings, >= 1; may be traced.

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
    steps: PositiveLength

    def value_at(self, clock: Any) -> jax.Array:
        steps = jnp.maximum(whole(self.steps), 1)
        clock = clocks.minus(clock, 0)
        return as_schedule(self.schedule).value_at(
            clock - jnp.mod(clock, steps.astype(clock.dtype))
        )

    def start_value(self) -> jax.Array:
        return as_schedule(self.schedule).start_value()
