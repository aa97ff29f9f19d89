"""The coordinates that `automatic_warmup` looks at: the same in gradients, updates and
parameters, in blocks of one shape for all leaves.

A few thousand are enough: the rule asks for sums over all of them and for root mean
squares of leaves. They travel through a sharded program as one small vector.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from optax_warmup import _sample as sample

BLOCK = 64
# Coordinates of all leaves together, besides a block for each.
TOTAL = 2**14


class Leaf(NamedTuple):
    """A leaf's part of the sample.

    Attributes:
        place: its position among the leaves of the parameters.
        size: its coordinates; those of a complex leaf count twice.
        fan_in: coordinates that enter one output, 1 for a vector.
        drawn: how many coordinates are asked for.
        parts: the real part, and the imaginary one of a complex leaf.
    """

    place: int
    size: int
    fan_in: int
    drawn: int
    parts: tuple[Callable[[jax.Array], jax.Array], ...]

    @property
    def taken(self) -> int:
        """How many coordinates of one part come."""
        return sample.count(self.size // len(self.parts), self.drawn)


class Layout(NamedTuple):
    """How the sample is laid out: everything about it but the numbers.

    Attributes:
        leaves: those that are sampled.
        owner: the leaf of each block, int32, shape (blocks,).
        weight: coordinates that each one stands for, 0 for padding; float32, shape
            (blocks, BLOCK).
    """

    leaves: tuple[Leaf, ...]
    owner: np.ndarray
    weight: np.ndarray

    def sums(self, values: jax.Array) -> jax.Array:
        """Sums over each leaf's coordinates, shape (leaves,)."""
        return jax.ops.segment_sum(
            jnp.sum(jnp.where(self.weight > 0, values, 0), axis=1),
            self.owner,
            num_segments=len(self.leaves),
            indices_are_sorted=True,
        )

    def total(self, values: jax.Array) -> jax.Array:
        """About the sum over all coordinates of all leaves."""
        return jnp.sum(self.weight * values)


def layout_of(leaves: Sequence[Any]) -> Layout:
    """The layout for parameters, or for anything with their shapes and dtypes.

    None and whole numbers are left out.
    """
    numbers = [
        (place, leaf)
        for place, leaf in enumerate(leaves)
        if leaf is not None
        and jnp.issubdtype(jnp.result_type(leaf), jnp.inexact)
        and jnp.size(leaf)
    ]
    total = sum(jnp.size(leaf) for _, leaf in numbers)
    chosen = []
    for place, leaf in numbers:
        size, shape = jnp.size(leaf), jnp.shape(leaf)
        parts = (jnp.real, jnp.imag) if jnp.iscomplexobj(leaf) else (jnp.asarray,)
        drawn = min(size, max(BLOCK, math.ceil(TOTAL * size / total)))
        fan_in = size // shape[-1] if len(shape) > 1 else 1
        chosen.append(Leaf(place, size * len(parts), fan_in, drawn, parts))
    owner, weight = [], [np.zeros((0, BLOCK), np.float32)]
    for index, part in enumerate(chosen):
        one = np.full(part.taken, part.size / (part.taken * len(part.parts)))
        rows = np.pad(one, (0, -part.taken % BLOCK)).reshape(-1, BLOCK)
        for _ in part.parts:
            owner += [index] * len(rows)
            weight.append(rows.astype(np.float32))
    return Layout(tuple(chosen), np.array(owner, np.int32), np.concatenate(weight))


def draw(leaves: Sequence[Any], layout: Layout) -> jax.Array:
    """The sample of leaves, float32, shape (blocks, BLOCK); None counts as zeros."""
    rows = [jnp.zeros((0, BLOCK), jnp.float32)]
    for leaf in layout.leaves:
        x = leaves[leaf.place]
        for part in leaf.parts:
            if x is None:
                rows.append(jnp.zeros((-(-leaf.taken // BLOCK), BLOCK), jnp.float32))
                continue
            flat = sample.draw_flat(part(jnp.asarray(x)), leaf.drawn, BLOCK)
            rows.append(flat.astype(jnp.float32).reshape(-1, BLOCK))
    return jnp.concatenate(rows)
