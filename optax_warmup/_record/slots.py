"""Which steps are recorded, and where.

Recorded are the steps whose binary form has at most `bits` significant digits: every
step below 2**bits, then 2**(bits - 1) in each octave. The slot of a step is a closed
form of it. So the record has a fixed size for runs of any length, and a run that is
resumed, at whatever step, neither repeats a row nor misses one.
"""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike


def slot_count(bits: int) -> int:
    """How many steps of an int32 have at most `bits` significant digits."""
    return (31 - bits) * 2 ** (bits - 1) + 2**bits


def slot(step: ArrayLike, bits: int) -> tuple[jax.Array, jax.Array]:
    """Whether a step (int32, >= 0) is recorded, and its row."""
    step = jnp.asarray(step, jnp.int32)
    excess = jnp.maximum(0, 32 - bits - jax.lax.clz(step))
    due = jnp.bitwise_and(step, jnp.left_shift(1, excess) - 1) == 0
    return due, excess * 2 ** (bits - 1) + jnp.right_shift(step, excess)
