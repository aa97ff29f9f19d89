"""The run's own step, given to an update: any integer that a schedule takes."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import optax_warmup as ow

SCHEDULE = ow.warmup(1.0, 10)
STEPS = [
    *(kind(5) for kind in (int, np.int8, np.uint8, np.int16, np.uint16, np.uint64)),
    *(jnp.asarray(5, kind) for kind in ("int8", "uint8", "int16", "uint16", "uint32")),
    -5,
    np.int8(-5),
    2**40,
    np.int64(2**40),
    np.int64(2**32 + 2),
    2**31 - 1,
]
TRANSFORMS = {
    "scale_by_learning_rate": ow.scale_by_learning_rate(SCHEDULE, flip_sign=False),
    "scale_by_warmup": ow.scale_by_warmup(ow.factors.linear(10)),
    "decay_weights": ow.decay_weights(SCHEDULE),
    "scale_by_rules": ow.groups.scale_by_rules([ow.groups.Rule(".*")], SCHEDULE),
}


def updates(name, step):
    transform, ones = TRANSFORMS[name], jnp.ones(1)
    result, state = transform.update(ones, transform.init(ones), ones, step=step)
    return result[0], optax.tree.get(state, "count", jnp.int32(-1))


@pytest.mark.parametrize("name", TRANSFORMS)
@pytest.mark.parametrize("step", STEPS, ids=lambda x: f"{type(x).__name__}-{x}")
def test_each_is_the_step_that_the_schedule_takes(name, step):
    found, count = updates(name, step)
    wanted, counted = updates(name, int(np.clip(int(step), 0, 2**31 - 1)))
    assert found == wanted and count == counted


@pytest.mark.parametrize("kind", ["int8", "int16", "uint16", "int32"])
def test_a_traced_step(kind):
    found = jax.jit(lambda k: updates("scale_by_learning_rate", k))
    assert found(jnp.asarray(5, kind)) == (0.5, 6)


@pytest.mark.parametrize("step", [1.5, jnp.ones(2, int), True])
def test_what_is_no_step(step):
    with pytest.raises(TypeError, match="step must be one whole number"):
        updates("scale_by_learning_rate", step)
