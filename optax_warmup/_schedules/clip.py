"""Clips schedules to a range."""

from __future__ import annotations

from dataclasses import KW_ONLY
from typing import Any

import jax
import jax.numpy as jnp

from optax_warmup import _check
from optax_warmup._schedules import clock as clocks
from optax_warmup._schedules.schedule import Schedule, ScheduleLike, as_schedule
from optax_warmup.values._kinds import Rate


class clip(Schedule):
    """Clips a schedule to a range.

    value(step) = min(max(schedule(step), minimum), maximum)

    A bound is not an end value: the curve is cut off at the bound, whereas a curve with
    an `end_value` bends towards it.

    Args:
        schedule: the schedule to clip, or a number (>= 0) for a constant.
        minimum: the lower bound, >= 0; may be traced.
        maximum: the upper bound, >= minimum; by default there is none; may be traced.

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
    minimum: Rate = 0.0
    maximum: Rate | None = None

    def __check_init__(self) -> None:
        if self.maximum is not None:
            _check.ordered("clip", "minimum", self.minimum, "maximum", self.maximum)

    def value_at(self, clock: Any) -> jax.Array:
        return self._bounded(as_schedule(self.schedule).value_at(clock))

    def start_value(self) -> jax.Array:
        return self._bounded(as_schedule(self.schedule).start_value())

    def _bounded(self, value: jax.Array) -> jax.Array:
        value = jnp.maximum(value, clocks.as_value(self.minimum))
        if self.maximum is None:
            return value
        return jnp.minimum(value, clocks.as_value(self.maximum))
