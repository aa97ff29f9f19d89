"""The samples of all leaves, in one vector, in blocks that belong to a group each.

What is computed of a vector costs the same to compile for ten leaves and for a
thousand.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from optax_warmup import _sample as sample
from optax_warmup._record.layout import Layout

_BLOCK = 32  # coordinates


class Blocks(NamedTuple):
    """Which leaves are sampled, and what each coordinate of the vector stands for.

    Attributes:
        leaves: the indices of the leaves that have a second moment and coordinates.
        weights: how many coordinates each one in the vector stands for, 0 where a
            block is filled up, float32, shape (M,).
        groups: the group of each block, shape (M / 32,).
        samples: coordinates of a leaf, at most; None: all.
    """

    leaves: tuple[int, ...]
    weights: np.ndarray
    groups: np.ndarray
    samples: int | None

    @classmethod
    def of(cls, layout: Layout, nu: Sequence[Any]) -> "Blocks":
        """The blocks for second moments of some shapes, None where there is none."""
        leaves = tuple(i for i, v in enumerate(nu) if v is not None and v.size)
        weights, groups = [np.zeros(0, np.float32)], []
        for leaf in leaves:
            size = nu[leaf].size
            drawn = sample.count(size, layout.samples)
            some = np.zeros(drawn + -drawn % _BLOCK, np.float32)
            some[:drawn] = size / drawn
            weights.append(some)
            groups += [layout.leaf_groups[leaf]] * (len(some) // _BLOCK)
        return cls(
            leaves,
            np.concatenate(weights),
            np.array(groups, np.int32),
            layout.samples,
        )

    def draw(self, arrays: Sequence[Any]) -> jax.Array:
        """The samples of the leaves, float32 (or complex64), shape (M,)."""
        if not self.leaves:
            return jnp.zeros(0, jnp.float32)
        drawn = [
            sample.draw_flat(jnp.asarray(arrays[leaf]), self.samples, _BLOCK)
            for leaf in self.leaves
        ]
        return jnp.concatenate(
            [
                x.astype(jnp.complex64 if jnp.iscomplexobj(x) else jnp.float32)
                for x in drawn
            ]
        )

    def total(self, columns: Sequence[jax.Array], groups: int) -> jax.Array:
        """The weighted sums of columns (M,) by group, float32, (groups, columns)."""
        sums = [
            jnp.sum((x * self.weights).reshape(-1, _BLOCK), axis=1) for x in columns
        ]
        table = jnp.zeros((groups, len(columns)), jnp.float32)
        return table.at[self.groups].add(jnp.stack(sums, axis=-1))
