"""Which steps are recorded, and where.

By default, those whose binary form has at most `bits` significant digits: every step
below 2**bits, then 2**(bits - 1) in each octave. The slot of a step is a closed form of
it. So the record has a fixed size for runs of any length, and a run that is resumed, at
whatever step, neither repeats a row nor misses one. Or else the steps of a given list.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike


def slot_count(bits: int, steps: tuple[int, ...] | None) -> int:
    """How many steps of an int32 are recorded."""
    if steps is not None:
        return len(steps)
    return (31 - bits) * 2 ** (bits - 1) + 2**bits


def slot(
    step: ArrayLike, bits: int, steps: tuple[int, ...] | None
) -> tuple[jax.Array, jax.Array]:
    """Whether a step (int32, >= 0) is recorded, and its row."""
    step = jnp.asarray(step, jnp.int32)
    if steps is not None:
        listed = np.asarray(steps, np.int32)
        row = jnp.minimum(jnp.searchsorted(listed, step), len(steps) - 1)
        return jnp.asarray(listed)[row] == step, row.astype(jnp.int32)
    excess = jnp.maximum(0, 32 - bits - jax.lax.clz(step))
    due = jnp.bitwise_and(step, jnp.left_shift(1, excess) - 1) == 0
    return due, excess * 2 ** (bits - 1) + jnp.right_shift(step, excess)
