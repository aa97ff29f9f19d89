"""A sample of an array's coordinates: few, evenly spread, the same at every step."""

import math

import jax
import numpy as np


def stride(size: int, samples: int | None) -> int:
    """From one of about `samples` coordinates to the next; 1 where all are taken.

    It has no divisor in common with the size, so that the sample runs through all rows
    and all columns: a stride of whole rows would see a single column.
    """
    if samples is None or size <= samples:
        return 1
    step = math.ceil(size / samples)
    while math.gcd(step, size) > 1:
        step += 1
    return step


def count(size: int, samples: int | None) -> int:
    """How many coordinates that is."""
    return -(-size // stride(size, samples))


def draw(x: jax.Array, samples: int | None) -> jax.Array:
    """The sample of an array, shape (count,); the array itself where all are taken.

    Each coordinate is taken by its own index: where an array is sharded, along whatever
    axis, only the sample travels, in an all-reduce as the sums do. (A strided slice of
    the flat array would gather the array.)
    """
    step = stride(x.size, samples)
    if step == 1:
        return x
    index = np.unravel_index(np.arange(0, x.size, step), x.shape)
    return x.at[tuple(i.astype(np.int32) for i in index)].get(
        mode="promise_in_bounds", unique_indices=True, indices_are_sorted=True
    )
