"""Which steps are recorded, and where.

By default, those whose binary form has at most `bits` significant digits: every step
below 2**bits, then 2**(bits - 1) in each octave; and beside them those of a short list.
The slot of a step is a closed form of it. So the record has a fixed size for runs of
any length, and a run that is resumed, at whatever step, neither repeats a row nor
misses one. Or else the steps of a list alone.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike


def slot_count(
    bits: int, steps: tuple[int, ...] | None, also: tuple[int, ...] = ()
) -> int:
    """How many steps of an int32 are recorded."""
    if steps is not None:
        return len(steps)
    octave: int = 2 ** (bits - 1)
    return (31 - bits) * octave + 2 * octave + len(also)


def slot(
    step: ArrayLike,
    bits: int,
    steps: tuple[int, ...] | None,
    also: tuple[int, ...] = (),
) -> tuple[jax.Array, jax.Array]:
    """Whether a step (int32, >= 0) is recorded, and its row.

    `steps` and `also` are in order; none of `also` is due without it.
    """
    step = jnp.asarray(step, jnp.int32)
    if steps is not None:
        return _listed(step, steps)
    excess = jnp.maximum(0, 32 - bits - jax.lax.clz(step))
    due = jnp.bitwise_and(step, jnp.left_shift(1, excess) - 1) == 0
    row = excess * 2 ** (bits - 1) + jnp.right_shift(step, excess)
    if not also:
        return due, row
    extra, place = _listed(step, also)
    return due | extra, jnp.where(extra, slot_count(bits, None) + place, row)


def usual(step: int, bits: int) -> bool:
    """Whether a step is recorded without being listed."""
    return len(f"{step:b}".rstrip("0")) <= bits


def _listed(step: jax.Array, steps: tuple[int, ...]) -> tuple[jax.Array, jax.Array]:
    listed = np.asarray(steps, np.int32)
    row = jnp.minimum(jnp.searchsorted(listed, step), len(steps) - 1)
    return jnp.asarray(listed)[row] == step, row.astype(jnp.int32)
