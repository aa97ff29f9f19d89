"""Rounds schedules to whole numbers, for a batch size or another count."""

from __future__ import annotations

from dataclasses import KW_ONLY
from typing import Any

import jax
import jax.numpy as jnp

from optax_warmup import _check
from optax_warmup._numerics import quotient, where
from optax_warmup._schedules import clock as clocks
from optax_warmup._schedules.schedule import Schedule, ScheduleLike, as_schedule
from optax_warmup.values._kinds import Count


class round_to(Schedule):
    """Rounds a schedule to multiples of a whole number, half up.

    value(step) = multiple * floor(schedule(step) / multiple + 1/2)

    Args:
        schedule: the schedule to round, or a number (>= 0) for a constant.
        multiple: the number to round to multiples of, such as the number of devices
            that share a batch; a whole number >= 1; may be traced.

    Returns:
        A `Schedule` with int32 values (inside another schedule they are floating point,
        as all others). Whole values are exact up to 2**24, beyond which float32 cannot
        represent every integer. Values beyond 2**31 - 1 become the last multiple.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: the number is negative, NaN or infinite; `multiple` is not a whole
            number >= 1.

    Example:
        >>> import optax_warmup as ow
        >>> batch_size = ow.round_to(ow.transition(32, 256, 4), multiple=32)
        >>> [batch_size(step).item() for step in range(6)]
        [32, 96, 160, 192, 256, 256]
    """

    schedule: ScheduleLike
    _: KW_ONLY
    multiple: Count = 1

    def value_at(self, clock: Any) -> jax.Array:
        return clocks.as_value(self._outermost_at(clock))

    def _outermost_at(self, clock: Any) -> jax.Array:
        return self._rounded(as_schedule(self.schedule).value_at(clock))

    def start_value(self) -> jax.Array:
        return clocks.as_value(self._rounded(as_schedule(self.schedule).start_value()))

    def _rounded(self, value: jax.Array) -> jax.Array:
        multiple = jnp.asarray(self.multiple).astype(jnp.int32)
        count = jnp.floor(quotient(value, multiple.astype(value.dtype)) + 0.5)
        most = _check.MAX_STEP // multiple
        # Only counts below `most` are converted: float32 may round it up past int32.
        fits = count < most.astype(value.dtype)
        return multiple * where(fits, where(fits, count, 0).astype("int32"), most)
