"""All transforms on four virtual devices: run by tests/test_transform_modes.py."""

import sys
from pathlib import Path

import chex
import jax
import jax.numpy as jnp
import optax
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P

import optax_warmup as ow

sys.path[:0] = [
    str(Path(__file__).parent.parent),
    str(Path(__file__).parent.parent / "support"),
]
from test_transform_modes import TRANSFORMS  # noqa: E402

MESH = jax.make_mesh((4,), ("data",), axis_types=(AxisType.Auto,))
PARAMS = {"w": jnp.linspace(0.5, 2.0, 64).reshape(16, 4), "b": jnp.ones(8)}
SPECS = {"w": P("data"), "b": P()}
VALUES = [1.0, 1.1, 1.05, 9.0, 1.0, 1.0]


def gradient(step):
    """Of every step; the fifth is not finite in a part that one device has."""
    key = jax.random.key(step)
    g = {name: jax.random.normal(key, x.shape) for name, x in PARAMS.items()}
    return g | {"w": g["w"].at[-1, 0].set(jnp.nan)} if step == 4 else g


def train(optimizer, params, state, **places):
    @jax.jit(**places)
    def step(params, state, grads, value):
        updates, state = optimizer.update(grads, state, params, value=value)
        return optax.apply_updates(params, updates), state

    for n, value in enumerate(VALUES):
        params, state = step(params, state, gradient(n), jnp.float32(value))
    return params, state


def sharded_as_alone(optimizer):
    """The state after training on four devices, which equals that on one."""
    wanted = train(optimizer, PARAMS, optimizer.init(PARAMS))
    sharding = jax.tree.map(lambda spec: NamedSharding(MESH, spec), SPECS)
    replicated = NamedSharding(MESH, P())
    state = optimizer.init(PARAMS)
    places = optax.tree.map_params(
        optimizer,
        lambda _, place: place,
        state,
        sharding,
        transform_non_params=lambda _: replicated,
    )
    params, state = train(
        optimizer,
        jax.device_put(PARAMS, sharding),
        jax.device_put(state, places),
        out_shardings=(sharding, places),
    )
    assert not params["w"].sharding.is_fully_replicated
    chex.assert_trees_all_close((params, state), wanted, rtol=1e-5)
    return state


def main():
    assert jax.device_count() == 4
    state = sharded_as_alone(TRANSFORMS["everything"]())
    assert state.skipped == 1 and state.inner_state[4].restarts == 1
    state = sharded_as_alone(ow.skip_nonfinite(TRANSFORMS["automatic"]()))
    assert state.skipped == 1 and 0 < state.inner_state.factor < 1
    print("ok")


if __name__ == "__main__":
    main()
