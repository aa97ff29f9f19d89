"""Where arrays live: data parallelism over every device, through JAX's own sharding.

The batch is split over the mesh and the parameters are on every device; the compiler
puts the sum of the gradients in between.
"""

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from .config import InputError


def data_mesh(batch_size: int) -> Mesh:
    """All devices in a row, named "data"."""
    devices = jax.device_count()
    if batch_size % devices:
        nearest = max(round(batch_size / devices), 1) * devices
        raise InputError(
            f"batch_size={batch_size} does not divide over {devices} devices. "
            f"Choose a multiple of {devices}, for example {nearest}."
        )
    # Auto axes: with Explicit ones, make_mesh's default, the embedding's gather fails.
    return jax.make_mesh((devices,), ("data",), axis_types=(AxisType.Auto,))


def replicated(mesh: Mesh) -> NamedSharding:
    return NamedSharding(mesh, PartitionSpec())


def put_batch(tokens_BxL: np.ndarray, mesh: Mesh) -> jax.Array:
    """Splits a batch over the devices, by rows."""
    sharding = NamedSharding(mesh, PartitionSpec("data"))
    return jax.make_array_from_process_local_data(sharding, tokens_BxL)
