"""Data parallelism and FSDP with JAX's sharding.

The mesh has two axes. Along "data" each device has its own copy of the parameters;
along "fsdp" the devices share one copy. The batch is split over both axes. The compiler
inserts the collectives.
"""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
import optax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from .settings import InputError

BATCH_AXES = ("data", "fsdp")


def make_mesh(
    batch_size: int,
    fsdp: int = 1,
    microbatches: int = 1,
    described: Sequence[jax.Device] | None = None,
) -> Mesh:
    """A mesh of all devices of all processes, [devices / fsdp, fsdp].

    Args:
        batch_size: sequences in a batch, over all devices; must divide evenly over
            devices and microbatches.
        fsdp: devices that share one copy of the parameters; 0 means all devices.
        microbatches: parts of the batch that are computed one after the other.
        described: devices of a topology that is not here, to compile for them.
    """
    devices = jax.device_count() if described is None else len(described)
    named = f"{devices} device{'s' * (devices > 1)}"
    fsdp = fsdp or devices
    if devices % fsdp:
        raise InputError(
            f"fsdp={fsdp} does not divide the {named}. "
            f"Choose a divisor of {devices}, or 0 for all of them."
        )
    if batch_size % (parts := devices * microbatches):
        nearest = max(round(batch_size / parts), 1) * parts
        over = named
        if microbatches > 1:
            over += f" x microbatches={microbatches}"
        raise InputError(
            f"batch_size={batch_size} does not divide over {over}. "
            f"Choose a multiple of {parts}, for example {nearest}."
        )
    # Auto axes: with Explicit axes, the default, the embedding's gather fails.
    return jax.make_mesh(
        (devices // fsdp, fsdp),
        BATCH_AXES,
        axis_types=(AxisType.Auto,) * 2,
        devices=described,
    )


def replicated(mesh: Mesh) -> NamedSharding:
    return NamedSharding(mesh, PartitionSpec())


def of_params(params: Any, mesh: Mesh) -> Any:
    """Splits each matrix over "fsdp", along its longest axis that divides evenly.

    Vectors are replicated: they are small, and splitting one costs a collective.
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
    """Places moments like their parameters; replicates counts and the record."""
    return optax.tree.map_params(
        optimizer,
        lambda _, place: place,
        opt_state,
        places,
        transform_non_params=lambda _: replicated(mesh),
    )


# FSDP inside a jitted function: gather the matrices of one layer, use them, drop them.
# Without these constraints the compiler may split the activations like the parameters,
# and sum every product over the devices.


def split_over_batch(x: jax.Array) -> jax.Array:
    """Keeps the first axis split like the batch."""
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty or mesh.size == 1:
        return x
    return jax.lax.with_sharding_constraint(x, PartitionSpec(BATCH_AXES))


def split_batch(batch: Any, parts: int) -> Any:
    """Arrays [B, ...] as [parts, B / parts, ...]: every part is on all devices.

    A part takes one row in `parts`, since the rows of a device are next to each other.
    """

    def split(x: jax.Array) -> jax.Array:
        x = x.reshape(len(x) // parts, parts, *x.shape[1:]).swapaxes(0, 1)
        mesh = jax.sharding.get_abstract_mesh()
        if mesh.empty or mesh.size == 1:
            return x
        return jax.lax.with_sharding_constraint(x, PartitionSpec(None, BATCH_AXES))

    return jax.tree.map(split, batch)


def shares_params() -> bool:
    return jax.sharding.get_abstract_mesh().shape.get("fsdp", 1) > 1


def gather(params: Any, dtype: str) -> Any:
    """Gathers shared parameters on every device.

    Matrices are cast to `dtype` first: bfloat16 halves the traffic.
    """
    if not shares_params():
        return params

    def whole(x: jax.Array) -> jax.Array:
        x = x.astype(dtype) if x.ndim > 1 else x
        return jax.lax.with_sharding_constraint(x, PartitionSpec())

    return jax.tree.map(whole, params)


def all_but_gathered(primitive: Any, *_: Any, **__: Any) -> bool:
    """A policy for `jax.checkpoint`: saves everything but the gathered parameters.

    Saving those would keep a whole copy of the model on every device.
    """
    return primitive.name != "sharding_constraint"


# Batches: each process makes only the rows that its devices need.


def of_batch(mesh: Mesh) -> NamedSharding:
    return NamedSharding(mesh, PartitionSpec(BATCH_AXES))


def local_rows(mesh: Mesh, batch_size: int) -> np.ndarray:
    """Indices of the batch rows that this process's devices hold, in order."""
    indices = of_batch(mesh).addressable_devices_indices_map((batch_size,)).values()
    rows = np.arange(batch_size)
    return np.unique(np.concatenate([rows[index] for index in indices]))


def put_batch(batch: Any, rows: np.ndarray, mesh: Mesh) -> Any:
    """The global batch [B, ...] of each array, made from this process's rows of it."""
    per_device = len(rows) // len(mesh.local_devices)

    def put(mine: np.ndarray) -> jax.Array:
        def shard(index: tuple[slice, ...] | None) -> np.ndarray:
            assert index is not None
            start = int(np.searchsorted(rows, index[0].start or 0))
            return mine[start : start + per_device]

        shape = (per_device * mesh.size, *mine.shape[1:])
        return jax.make_array_from_callback(shape, of_batch(mesh), shard)

    return jax.tree.map(put, batch)
