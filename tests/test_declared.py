"""What states declare for the record, and how names that repeat are told apart."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

import optax_warmup as ow
from optax_warmup._state.declared import recorded_scalars

PARAMS = {"w": jnp.ones(4), "b": jnp.ones(2)}


def scalars(optimizer, steps=2, **extra):
    state, update = optimizer.init(PARAMS), jax.jit(optimizer.update)
    for _ in range(steps):
        _, state = update(PARAMS, state, PARAMS, **extra)
    return {name: float(value) for name, value in recorded_scalars(state).items()}


def test_each_transform_declares_its_scalars():
    optimizer = ow.skip_nonfinite(
        optax.chain(
            optax.adam(0.1),
            ow.restart_if(
                ow.scale_by_warmup(ow.warmup(1.0, 4, offset=1)),
                lambda state, **extra: state.count == 1,
            ),
            ow.reduce_on_plateau(0.5, 1),
        )
    )
    wanted = {"skipped": 0, "restarts": 1, "warmup_factor": 0.25, "plateau_scale": 0.5}
    assert scalars(optimizer, value=jnp.float32(1)) == wanted
    spike = ow.restart_on_spike(ow.scale_by_warmup(0.5))
    assert scalars(spike, value=1.0) == {"restarts": 0, "warmup_factor": 0.5}
    automatic = scalars(ow.automatic_warmup(optax.adam(0.1)))
    assert set(automatic) == {"warmup_factor", "coherence", "relative_size"}
    assert 0 < automatic["warmup_factor"] < 1
    assert scalars(optax.adam(0.1)) == {}


def test_the_parts_of_a_partition_go_by_their_labels():
    parts = {name: ow.scale_by_warmup(f) for name, f in (("a", 0.5), ("b", 0.25))}
    got = scalars(optax.partition(parts, {"w": "a", "b": "b"}))
    assert got == {"a/warmup_factor": 0.5, "b/warmup_factor": 0.25}


def test_where_labels_do_not_tell_them_apart_the_path_does():
    two = optax.chain(ow.scale_by_warmup(0.5), ow.scale_by_warmup(0.25))
    assert scalars(two) == {"0/warmup_factor": 0.5, "1/warmup_factor": 0.25}


def test_flax_and_states_of_other_packages():
    class Doubled(NamedTuple):
        scale: jax.Array

        @property
        def recorded(self):
            return {"doubled": 2 * self.scale}

    assert recorded_scalars((Doubled(jnp.float32(3)),)) == {"doubled": 6}
    model = nnx.Linear(2, 3, rngs=nnx.Rngs(0))
    warm = ow.automatic_warmup(optax.adam(0.1))
    holder = nnx.Optimizer(model, warm, wrt=nnx.Param)
    got = recorded_scalars(holder)
    assert all(isinstance(value, jax.Array) for value in got.values())
    np.testing.assert_array_equal(got["warmup_factor"], 0)
