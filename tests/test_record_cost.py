"""What the record costs, read from the compiled program: nothing the step must keep."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import optax_warmup as ow

SHAPE = (512, 384)
PARAMS = {f"w{i}": jnp.full(SHAPE, 0.1) for i in range(3)} | {"b": jnp.ones(16)}
SIZE = sum(x.nbytes for x in PARAMS.values())


def compiled(optimizer, **extra):
    """A whole optimizer step with donated state, as training loops have it."""
    state = optimizer.init(PARAMS)

    def step(params, state, grads):
        updates, state = optimizer.update(grads, state, params, **extra)
        return optax.apply_updates(params, updates), state

    return jax.jit(step, donate_argnums=(0, 1)).lower(PARAMS, state, PARAMS).compile()


def temporary(program):
    return program.memory_analysis().temp_size_in_bytes


def copies(program):
    """Copies of something as large as a parameter."""
    return len(
        re.findall(rf"f32\[{SHAPE[0]},{SHAPE[1]}\]\S* copy\(", program.as_text())
    )


def record_bytes(optimizer):
    state = optimizer.init(PARAMS)
    own = jax.tree.leaves(state._replace(inner_state=()))
    return sum(x.nbytes for x in own)


@pytest.mark.parametrize(
    ("gradients", "samples"), [(False, 4096), (True, 4096), (True, None)]
)
def test_nothing_as_large_as_a_parameter_is_kept_or_copied(gradients, samples):
    plain = compiled(optax.adamw(1e-3))
    options = {"gradients": gradients, "histogram": samples is not None}
    optimizer = ow.record_moments(optax.adamw(1e-3), samples=samples, **options)
    program = compiled(optimizer)
    assert " conditional(" in program.as_text()
    assert copies(program) == copies(plain) == 0
    drawn = 2 * 4 * 3 * (samples or 0)  # two arrays of each of three parameters
    assert temporary(program) <= temporary(plain) + record_bytes(optimizer) + drawn
    aliased = program.memory_analysis().alias_size_in_bytes
    assert aliased >= 3 * SIZE + record_bytes(optimizer) * 0.99


def test_the_gate_of_the_host_leaves_nothing_behind():
    plain = compiled(optax.adamw(1e-3))
    program = compiled(ow.record_moments(optax.adamw(1e-3)), record=False)
    assert " conditional(" not in program.as_text()
    assert temporary(program) <= temporary(plain) + 1024
    traffic = [p.cost_analysis()["bytes accessed"] for p in (plain, program)]
    np.testing.assert_allclose(*traffic, rtol=1e-3)


def test_replicas_under_vmap_keep_the_conditional():
    optimizer = ow.record_moments(optax.adamw(1e-3))
    params = jax.tree.map(lambda x: jnp.stack([x, x]), PARAMS)

    def step(params, state):
        return optimizer.update(params, state, params)

    state = jax.vmap(optimizer.init)(params)
    program = jax.jit(jax.vmap(step)).lower(params, state).compile()
    assert " conditional(" in program.as_text()


def test_the_zero_that_keeps_reductions_apart_stays_zero():
    optimizer = ow.record_moments(optax.adamw(1e-3))
    params = {"w": jnp.array([1.0, jnp.nan, jnp.inf])}
    state = optimizer.init(params)
    update = jax.jit(optimizer.update)
    for _ in range(40):
        _, state = update(params, state, params)
    assert not state.sums[-1].any() and not state.histogram[-1].any()
