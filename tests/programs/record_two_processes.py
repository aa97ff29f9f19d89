"""The record in one of two processes: run by tests/test_record_sharded.py.

Arguments: the port of the coordinator and the index of this process.
"""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P

import optax_warmup as ow


def main(port, process):
    jax.distributed.initialize(
        f"127.0.0.1:{port}", 2, process, initialization_timeout=60
    )
    mesh = jax.make_mesh((2,), ("data",), axis_types=(AxisType.Auto,))
    rows = NamedSharding(mesh, P("data"))
    everywhere = NamedSharding(mesh, P())
    whole = np.arange(24, dtype=np.float32).reshape(8, 3) / 10
    params = jax.make_array_from_callback(whole.shape, rows, lambda i: whole[i])
    optimizer = ow.record_moments(optax.adam(1e-3))
    places = optax.tree.map_params(
        optimizer,
        lambda _, place: place,
        jax.eval_shape(optimizer.init, params),
        rows,
        transform_non_params=lambda _: everywhere,
    )
    state = jax.jit(optimizer.init, out_shardings=places)(params)

    @jax.jit
    def step(params, state, n):
        grads = params * jnp.cos(n)
        updates, state = optimizer.update(grads, state, params)
        updates = jax.lax.with_sharding_constraint(updates, rows)
        return optax.apply_updates(params, updates), state

    for n in range(5):
        params, state = step(params, state, jnp.float32(n))
    history = ow.read_moments(state)
    for name, values in sorted(history.overall.items()):
        print(name, *values)
    jax.distributed.shutdown()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
