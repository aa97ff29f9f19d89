"""Powers of a factor that has more digits than float32 holds."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from optax_warmup._numerics import where
from optax_warmup._schedules import clock as clocks

_NEAR = 2.0**-16  # from 1: there the logarithm has more digits than the factor


class Factor(NamedTuple):
    """rounded * exp(rest): a number close to it, and the logarithm of what is left."""

    rounded: ArrayLike
    rest: ArrayLike


def split(x: Any) -> Any:
    """A constant as a `Factor`, if rounding takes digits away from it.

    In float32, 0.9999 is wrong by 1e-8, and so its power of 100,000 by 2e-3. What is
    traced, or an array of JAX, has no more digits than its dtype.
    """
    if not isinstance(x, int | float | np.ndarray | np.generic):
        return x
    exact = np.asarray(x, np.float64)
    rounded = exact.astype(jnp.result_type(float)).astype(np.float64)
    if np.all(exact == rounded):
        return x
    rounded = np.where(np.abs(exact - 1) < _NEAR, 1, rounded)
    left = np.divide(exact, rounded, out=np.ones_like(exact), where=rounded > 0)
    return Factor(rounded, np.log(left))


def power(x: Any, whole: jax.Array, part: ArrayLike = 0) -> jax.Array:
    """x**(whole + part), of a number or a `Factor`."""
    rounded = clocks.as_value(x.rounded if isinstance(x, Factor) else x)
    # A whole power is accurate to the last digit; exp(n log(x)) is not.
    result = rounded**whole * rounded**part
    if not isinstance(x, Factor):
        return result
    # Of a part of a period the rest is less than rounding, and would make a decay rise.
    periods = whole + where(rounded == 1, part, 0)
    return result * jnp.exp(periods * clocks.as_value(x.rest))


def log(x: Any) -> jax.Array:
    """log(x), of a number or a `Factor`; finite at 0, as is its derivative."""
    least = float(jnp.finfo(float).tiny)
    if isinstance(x, Factor):
        return log(x.rounded) + clocks.as_value(x.rest)
    return jnp.log(jnp.maximum(clocks.as_value(x), least))
