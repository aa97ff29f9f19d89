"""The samples of all leaves, in one vector, in blocks that belong to a group each.

What is computed of a vector costs the same to compile for ten leaves and for a
thousand.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from optax_warmup import _sample as sample
from optax_warmup._record.layout import Layout, sampled_leaves

_BLOCK = 32  # coordinates


class Blocks(NamedTuple):
    """Which leaves are in the vector, and what each of its coordinates stands for.

    Attributes:
        sampled: the indices of the sampled leaves; their samples come first.
        complete: of the small leaves that are not sampled, which follow them whole.
        large: of the leaves that are too large for the vector to hold them whole.
        weights: how many coordinates of the group each sampled one stands for, 0 where
            a block is filled up, float32, shape (M,).
        whole: whether a coordinate is one of a leaf that is there whole, bool,
            shape (M + N,), where the N are those of the complete leaves.
        groups: the group of each block, shape ((M + N) / 32,).
        samples: coordinates of a leaf, at most; None: all.
    """

    sampled: tuple[int, ...]
    complete: tuple[int, ...]
    large: tuple[int, ...]
    weights: np.ndarray
    whole: np.ndarray
    groups: np.ndarray
    samples: int | None

    @classmethod
    def of(cls, layout: Layout, nu: Sequence[Any]) -> "Blocks":
        """The blocks for second moments of some shapes, None where there is none."""
        owners, most = layout.leaf_groups, layout.samples
        sizes = np.array([0 if v is None else v.size for v in nu], np.int64)
        small = [most is None or size <= most for size in sizes]
        sampled = sampled_leaves(owners, nu, most)
        others = sorted(set(np.flatnonzero(sizes).tolist()) - set(sampled))
        stands_for = _shares(owners, sizes, sampled)
        weights: list[np.ndarray] = [np.zeros(0, np.float32)]
        whole: list[np.ndarray] = [np.zeros(0, bool)]
        groups: list[int] = []
        for leaf in (*sampled, *(leaf for leaf in others if small[leaf])):
            drawn = sample.count(int(sizes[leaf]), most)
            filled = np.arange(drawn + -drawn % _BLOCK) < drawn
            whole.append(filled & small[leaf])
            groups += [owners[leaf]] * (len(filled) // _BLOCK)
            if leaf in stands_for:
                weights.append(filled * (stands_for[leaf] / drawn))
        return cls(
            sampled=tuple(sampled),
            complete=tuple(leaf for leaf in others if small[leaf]),
            large=tuple(i for i, size in enumerate(sizes) if size and not small[i]),
            weights=np.concatenate(weights, dtype=np.float32),
            whole=np.concatenate(whole),
            groups=np.array(groups, np.int32),
            samples=most,
        )

    def draw(self, arrays: Sequence[Any]) -> jax.Array:
        """The samples of the sampled leaves, float32 (or complex64), shape (M,)."""
        return self._vector([arrays[leaf] for leaf in self.sampled])

    def draw_complete(self, arrays: Sequence[Any]) -> jax.Array:
        """The same with the complete leaves, shape (M + N,)."""
        return self._vector([arrays[i] for i in (*self.sampled, *self.complete)])

    def _vector(self, arrays: Sequence[Any]) -> jax.Array:
        if not arrays:
            return jnp.zeros(0, jnp.float32)
        drawn = [sample.draw_flat(jnp.asarray(x), self.samples, _BLOCK) for x in arrays]
        return jnp.concatenate(
            [
                x.astype(jnp.complex64 if jnp.iscomplexobj(x) else jnp.float32)
                for x in drawn
            ]
        )

    def estimated(self, columns: Sequence[jax.Array], groups: int) -> jax.Array:
        """Sums over all coordinates, from columns (M,) of the sample; (groups, C)."""
        return self._total([x * self.weights for x in columns], groups)

    def exact(self, columns: Sequence[jax.Array], groups: int) -> jax.Array:
        """Sums over the leaves that are there whole, of columns (M + N,)."""
        if not self.whole.any():  # XLA would take seconds to add up constants
            return jnp.zeros((groups, len(columns)), jnp.float32)
        return self._total([jnp.where(self.whole, x, 0) for x in columns], groups)

    def largest(self, column: jax.Array, groups: int) -> jax.Array:
        """The largest number of the leaves that are there whole, >= 0; (groups,)."""
        largest = jnp.zeros(groups, jnp.float32)
        if not self.whole.any():
            return largest
        rows = jnp.where(self.whole, column, 0).reshape(-1, _BLOCK)
        return largest.at[self.groups].max(jnp.max(rows, axis=1))

    def _total(self, columns: Sequence[jax.Array], groups: int) -> jax.Array:
        table = jnp.zeros((groups, len(columns)), jnp.float32)
        if not self.groups.size:
            return table
        sums = [jnp.sum(x.reshape(-1, _BLOCK), axis=1) for x in columns]
        return table.at[self.groups[: len(sums[0])]].add(jnp.stack(sums, axis=-1))


def _shares(
    owners: Sequence[int], sizes: np.ndarray, sampled: Sequence[int]
) -> dict[int, float]:
    """How many coordinates of its group each sampled leaf stands for."""
    everything, chosen = Counter[int](), Counter[int]()
    for owner, size in zip(owners, sizes.tolist(), strict=True):
        everything[owner] += size
    for leaf in sampled:
        chosen[owners[leaf]] += int(sizes[leaf])
    return {
        leaf: float(sizes[leaf]) * everything[owners[leaf]] / chosen[owners[leaf]]
        for leaf in sampled
    }
