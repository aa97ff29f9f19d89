"""A sample of an array's coordinates: few, evenly spread, the same at every step."""

import math

import jax
import jax.numpy as jnp
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
    return _taken(x, np.arange(0, x.size, step))


def draw_flat(x: jax.Array, samples: int | None, multiple: int) -> jax.Array:
    """The sample of an array as a vector; its end is repeated to fill up a multiple.

    An array that is taken whole is taken by index, too, since it may be sharded; but
    not where all of every array are asked for: so many indices would take more memory
    than the array.
    """
    if samples is None:
        flat = jnp.reshape(x, -1, out_sharding=_replicated(x, 1))
        return jnp.pad(flat, (0, -x.size % multiple), mode="edge")
    index = np.arange(0, x.size, stride(x.size, samples))
    return _taken(x, np.pad(index, (0, -len(index) % multiple), mode="edge"))


def _taken(x: jax.Array, index: np.ndarray) -> jax.Array:
    """Coordinates of an array by their index in it when it is flat, in order."""
    if x.ndim == 0:
        return jnp.broadcast_to(x, index.shape)
    places = [i.astype(np.int32) for i in np.unravel_index(index, x.shape)]
    sharding = _replicated(x, 1)
    if sharding is not None:  # a mesh with explicit axes
        return x.at[tuple(places)].get(
            mode="promise_in_bounds", indices_are_sorted=True, out_sharding=sharding
        )
    # The same as one operation instead of ten: programs have thousands of these.
    axes = tuple(range(x.ndim))
    # XLA:CPU would make a float32 copy of all of x to take some of it. Not of integers.
    narrow = x.dtype == jnp.bfloat16
    bits = jax.lax.bitcast_convert_type(x, jnp.uint16) if narrow else x
    drawn = jax.lax.gather(
        bits,
        np.stack(places, axis=-1),
        jax.lax.GatherDimensionNumbers((), axes, axes),
        slice_sizes=(1,) * x.ndim,
        indices_are_sorted=True,
        mode="promise_in_bounds",
    )
    return jax.lax.bitcast_convert_type(drawn, x.dtype) if narrow else drawn


def _replicated(x: jax.Array, ndim: int) -> jax.sharding.NamedSharding | None:
    """Where a copy on every device lies, if the array's mesh has explicit axes."""
    sharding = jax.typeof(x).sharding
    if all(part is None for part in sharding.spec):
        return None
    nowhere = jax.sharding.PartitionSpec(*[None] * ndim)  # type: ignore[no-untyped-call]
    return jax.sharding.NamedSharding(sharding.mesh, nowhere)
