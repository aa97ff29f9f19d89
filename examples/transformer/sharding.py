"""Where arrays live: data parallelism and FSDP, through JAX's own sharding.

The mesh has two axes. Along "data" every device has its own copy of the parameters;
along "fsdp" the devices share one. The batch is split over both. Nothing here says who
sends what to whom: the compiler puts the collectives in between.
"""

from typing import Any

import jax
import numpy as np
import optax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from .config import Config
from .option import InputError

BATCH_AXES = ("data", "fsdp")


def make_mesh(config: Config) -> Mesh:
    """All devices of all processes: copies of the parameters x devices that share one.

    A smaller batch than the devices could share, or one that leaves some of them with
    less to do than others, is an error.
    """
    devices = jax.device_count()
    fsdp = config.fsdp or devices
    if devices % fsdp:
        raise InputError(
            f"fsdp={fsdp} does not divide the {devices} devices. "
            f"Choose a divisor of {devices}, or 0 for all of them."
        )
    if config.batch_size % devices:
        nearest = max(round(config.batch_size / devices), 1) * devices
        raise InputError(
            f"batch_size={config.batch_size} does not divide over {devices} devices. "
            f"Choose a multiple of {devices}, for example {nearest}."
        )
    # Auto axes: with Explicit ones, make_mesh's default, the embedding's gather fails.
    return jax.make_mesh(
        (devices // fsdp, fsdp), BATCH_AXES, axis_types=(AxisType.Auto,) * 2
    )


def replicated(mesh: Mesh) -> NamedSharding:
    return NamedSharding(mesh, PartitionSpec())


def of_params(params: Any, mesh: Mesh) -> Any:
    """Splits the longest axis of each matrix that divides over "fsdp".

    Vectors are everywhere: they are small, and each split is one more collective.
    """

    def place(x: Any) -> NamedSharding:
        shared = mesh.shape["fsdp"]
        fitting = [axis for axis in range(x.ndim) if x.shape[axis] % shared == 0]
        if x.ndim < 2 or not fitting or shared == 1:
            return replicated(mesh)
        axes: list[str | None] = [None] * x.ndim
        axes[max(fitting, key=lambda axis: (x.shape[axis], axis))] = "fsdp"
        return NamedSharding(mesh, PartitionSpec(*axes))

    return jax.tree.map(place, params)


def of_opt_state(
    optimizer: optax.GradientTransformation, opt_state: Any, places: Any, mesh: Mesh
) -> Any:
    """Moments live with their parameters; counts and the record are everywhere."""
    return optax.tree.map_params(
        optimizer,
        lambda _, place: place,
        opt_state,
        places,
        transform_non_params=lambda _: replicated(mesh),
    )


# Inside a jitted function: what FSDP is. Left to itself the compiler may split the
# activations as the parameters are, and sum every product over the devices, rather than
# gather one layer's matrices, use them and drop them.


def split_over_batch(x: jax.Array) -> jax.Array:
    """Keeps the first axis split as the batch is."""
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty or mesh.size == 1:
        return x
    return jax.lax.with_sharding_constraint(x, PartitionSpec(BATCH_AXES))


def shares_params() -> bool:
    return jax.sharding.get_abstract_mesh().shape.get("fsdp", 1) > 1


def gather(params: Any, dtype: str) -> Any:
    """Puts shared parameters together on every device, matrices as the `dtype` in which
    they are used, which halves the traffic where that is bfloat16.
    """
    if not shares_params():
        return params

    def whole(x: jax.Array) -> jax.Array:
        x = x.astype(dtype) if x.ndim > 1 else x
        return jax.lax.with_sharding_constraint(x, PartitionSpec())

    return jax.tree.map(whole, params)


def all_but_gathered(primitive: Any, *_: Any, **__: Any) -> bool:
    """For `jax.checkpoint`, what to keep for the backward pass: all but what `gather`
    made, which would be a whole copy of the model on every device.
    """
    return primitive.name != "sharding_constraint"


# Batches: each process makes the rows that its devices need, and no others.


def of_batch(mesh: Mesh) -> NamedSharding:
    return NamedSharding(mesh, PartitionSpec(BATCH_AXES))


def local_rows(mesh: Mesh, batch_size: int) -> np.ndarray:
    """The rows of the batch that this process's devices hold, in order."""
    indices = of_batch(mesh).addressable_devices_indices_map((batch_size,)).values()
    rows = np.arange(batch_size)
    return np.unique(np.concatenate([rows[index] for index in indices]))


def put_batch(tokens_RxL: np.ndarray, rows: np.ndarray, mesh: Mesh) -> jax.Array:
    """The whole batch [B, L] as one array, from this process's rows of it."""
    per_device = len(rows) // len(mesh.local_devices)
    batch_size = per_device * mesh.size

    def shard(index: tuple[slice, ...]) -> np.ndarray:
        start = int(np.searchsorted(rows, index[0].start or 0))
        return tokens_RxL[start : start + per_device]

    shape = (batch_size, *tokens_RxL.shape[1:])
    return jax.make_array_from_callback(shape, of_batch(mesh), shard)
