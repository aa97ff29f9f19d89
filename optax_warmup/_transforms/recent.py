"""Robust statistics of the last values of a signal, inside the step."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

# The standard deviation of Gaussian noise over its median absolute deviation.
_SIGMA = 1.4826
# Below this share of the median a deviation may be rounding, as of bfloat16.
_FLOOR = 1e-2


class Recent(NamedTuple):
    """The last values of a signal, in a ring.

    Attributes:
        values: float32, shape (window,), the first `seen` of them known.
        seen: how many there were, int32, shape ().
    """

    values: jax.Array
    seen: jax.Array

    @classmethod
    def empty(cls, window: int) -> "Recent":
        """No values yet."""
        return cls(jnp.zeros(window, jnp.float32), jnp.zeros((), jnp.int32))

    def with_value(self, value: jax.Array, counts: jax.Array) -> "Recent":
        """With one more, unless it does not count."""
        place = self.seen % self.values.shape[-1]
        old = self.values[place]
        values = self.values.at[place].set(jnp.where(counts, value, old))
        return Recent(values, self.seen + counts)

    def cleared_if(self, condition: jax.Array) -> "Recent":
        """Without any, if a condition holds."""
        return Recent(self.values, jnp.where(condition, 0, self.seen))

    def limit(self, threshold: float) -> jax.Array:
        """median + threshold * sigma; infinite before a quarter of the window is there.

        sigma = max(1.4826 * MAD, 0.01 * |median|), MAD the median absolute deviation.
        """
        median = self._median(self.values)
        deviation = self._median(jnp.abs(self.values - median))
        sigma = jnp.maximum(_SIGMA * deviation, _FLOOR * jnp.abs(median))
        known = self.seen >= max(self.values.shape[-1] // 4, 2)
        return jnp.where(known, median + threshold * sigma, jnp.inf)

    def _median(self, values: jax.Array) -> jax.Array:
        """Of those that are known: without NaN, at which jax_debug_nans would stop."""
        window = values.shape[-1]
        known = jnp.arange(window) < self.seen
        ordered = jnp.sort(jnp.where(known, values, jnp.inf))
        count = jnp.clip(self.seen, 1, window)
        return 0.5 * (ordered[(count - 1) // 2] + ordered[count // 2])


def norm(tree: object) -> jax.Array:
    """The norm of a tree in float32, whatever its dtypes; it overflows above 1e19."""
    squares = [
        jnp.sum(jnp.square(jnp.abs(leaf).astype(jnp.float32)))
        for leaf in jax.tree.leaves(tree)
        if jnp.issubdtype(jnp.result_type(leaf), jnp.inexact)
    ]
    total = jnp.zeros((), jnp.float32)
    for square in squares:
        total = total + square
    return jnp.sqrt(total)
