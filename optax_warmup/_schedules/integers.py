"""Whole numbers of steps in int32, saturated instead of overflowing."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from optax_warmup import _check
from optax_warmup._numerics import where


def whole(steps: ArrayLike) -> jax.Array:
    """Converts a length to int32; one traced as a float must hold a whole number."""
    return jnp.asarray(steps).astype(jnp.int32)


def saturating_product(x: jax.Array, y: jax.Array) -> jax.Array:
    """x * y for int32 >= 0, saturated at 2**31 - 1."""
    fits = x <= _check.MAX_STEP // jnp.maximum(y, 1)
    return where(fits, where(fits, x, 0) * y, _check.MAX_STEP)
