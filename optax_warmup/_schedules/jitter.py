"""Multiplies a schedule by noise that depends only on a seed and the step."""

from __future__ import annotations

from dataclasses import KW_ONLY
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from optax_warmup._numerics import plus_product
from optax_warmup._schedules import clock as clocks
from optax_warmup._schedules.schedule import Schedule, ScheduleLike, as_schedule
from optax_warmup.values._kinds import Number, Seed


class jitter(Schedule):
    """Multiplies a schedule by seeded noise.

    value(step) = schedule(step) * (1 + amount * u),
    where u is uniform in (-1, 1), from the seed and the step alone

    So a resumed run sees the same noise, and so does every device. The noise has mean
    0. It is an integer hash, which does not change with JAX's version or settings.

    Args:
        schedule: the schedule, or a number (>= 0) for a constant.
        amount: the largest relative change, 0 <= amount <= 1; may be traced.
        seed: a whole number from 0 to 2**31 - 1; may be traced.

    Returns:
        A `Schedule`.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: a number is negative, NaN or infinite; `amount` is not in [0, 1];
            the seed is negative or not whole.

    Example:
        >>> import optax_warmup as ow
        >>> noisy = ow.jitter(1.0, 0.1, seed=0)
        >>> [round(noisy(step).item(), 4) for step in range(3)]
        [1.0251, 1.0631, 0.9347]
    """

    schedule: ScheduleLike
    amount: Annotated[ArrayLike, Number(minimum=0, maximum=1)]
    _: KW_ONLY
    seed: Seed

    def value_at(self, clock: Any) -> jax.Array:
        return as_schedule(self.schedule).value_at(clock) * self._factor(clock)

    def start_value(self) -> jax.Array:
        return as_schedule(self.schedule).start_value() * self._factor(0)

    def _factor(self, clock: ArrayLike) -> jax.Array:
        bits = _hash(_hash(_unsigned(self.seed)) ^ _unsigned(clock))
        # 23 bits plus 1/2: the factor's mean is 1, and its ends are never reached.
        uniform = clocks.as_value((bits >> 9).astype(jnp.int32)) + 0.5
        amount = clocks.as_value(self.amount)
        return plus_product(1 - amount, amount, uniform / 2.0**22)  # nothing cancels


def _unsigned(x: ArrayLike) -> jax.Array:
    return jnp.asarray(x).astype(jnp.int32).astype(jnp.uint32)


def _hash(x: jax.Array) -> jax.Array:
    """A 32-bit bijection in which every bit of x affects every bit of the result.

    Source: C. Wellons, "Prospecting for Hash Functions", 2018: "lowbias32".
    """
    x = x + np.uint32(0x9E3779B9)  # otherwise 0 would stay 0
    x = (x ^ (x >> 16)) * np.uint32(0x7FEB352D)
    x = (x ^ (x >> 15)) * np.uint32(0x846CA68B)
    return x ^ (x >> 16)
