"""What the record costs, read from the compiled program: nothing the step must keep.

Operations, bytes and copies are counted, which repeat, where times do not.
"""

import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from selection import parametrize

import optax_warmup as ow

pytestmark = pytest.mark.train

SHAPE = (512, 384)
PARAMS = {f"w{i}": jnp.full(SHAPE, 0.1) for i in range(3)} | {"b": jnp.ones(16)}


def as_type(dtype):
    return jax.tree.map(lambda x: x.astype(dtype), PARAMS)


def compiled(optimizer, params=PARAMS, clip=False, **extra):
    """A whole optimizer step with donated state, as training loops have it."""
    state = optimizer.init(params)
    clipping = optax.clip_by_global_norm(1.0)

    def step(params, state, grads):
        if clip:
            grads, _ = clipping.update(grads, clipping.init(params))
        updates, state = optimizer.update(grads, state, params, **extra)
        return optax.apply_updates(params, updates), state

    return jax.jit(step, donate_argnums=(0, 1)).lower(params, state, params).compile()


def temporary(program):
    return program.memory_analysis().temp_size_in_bytes


def copies(program):
    """Copies of something as large as a parameter."""
    return len(re.findall(rf"\[{SHAPE[0]},{SHAPE[1]}\]\S* copy\(", program.as_text()))


def operations(program):
    return len(re.findall(r"^\s+\S+ = ", program.as_text(), re.MULTILINE))


def record_bytes(optimizer, params=PARAMS):
    state = jax.eval_shape(optimizer.init, params)
    own = jax.tree.leaves(state._replace(inner_state=()))
    return sum(x.size * x.dtype.itemsize for x in own)


@parametrize("dtype", [jnp.float32, jnp.bfloat16], quick=2)
@parametrize("inner", [optax.adamw(1e-3), optax.nadam(1e-3)], quick=2)
def test_nothing_as_large_as_a_parameter_is_kept_or_copied(inner, dtype):
    params = as_type(dtype)
    size = sum(x.nbytes for x in params.values())
    plain = compiled(inner, params)
    decays = {} if dtype == jnp.float32 else {"b1": 0.9, "b2": 0.999}
    optimizer = ow.record_moments(inner, **decays)
    program = compiled(optimizer, params)
    assert program.as_text().count(" conditional(") == 2
    assert copies(program) == copies(plain) == 0
    # of each of four arrays: 1024 numbers a parameter, from the one half to the other
    drawn = 4 * 4 * 3 * 1024
    room = record_bytes(optimizer) + 4 * drawn
    assert temporary(program) <= temporary(plain) + room
    assert room < 0.5 * size
    aliased = program.memory_analysis().alias_size_in_bytes
    assert aliased >= 3 * size + record_bytes(optimizer) * 0.99


def test_gradients_that_are_made_in_the_step_are_kept_once():
    """They are measured before the update uses them: one copy, which clipping makes."""
    size = sum(x.nbytes for x in PARAMS.values())
    plain = compiled(optax.adamw(1e-3), clip=True)
    optimizer = ow.record_moments(optax.adamw(1e-3))
    program = compiled(optimizer, clip=True)
    assert copies(program) == 0
    room = record_bytes(optimizer) + 16 * 4 * 3 * 1024
    assert temporary(program) <= temporary(plain) + size + room


def test_every_coordinate_can_be_measured_at_its_price():
    optimizer = ow.record_moments(optax.adamw(1e-3), samples=None)
    program = compiled(optimizer)
    assert " conditional(" in program.as_text()
    assert copies(program) == 0


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
    assert program.as_text().count(" conditional(") == 2


def test_many_small_replicas_are_not_copied():
    """An array that is small in a replica is large in all of them."""
    optimizer = ow.record_moments(optax.adamw(1e-3), steps=[2**30])
    params = {f"w{i}": jnp.ones((64, 32, 32)) for i in range(3)}

    def step(params, state, grads):
        updates, state = optimizer.update(grads, state, params)
        return optax.apply_updates(params, updates), state

    state = jax.vmap(optimizer.init)(params)
    step = jax.jit(jax.vmap(step), donate_argnums=(0, 1))
    program = step.lower(params, state, params).compile().as_text()
    assert not re.findall(r"\[64,32,32\]\S* copy\(", program)


def test_the_scratch_row_stays_empty():
    optimizer = ow.record_moments(optax.adamw(1e-3))
    params = {"w": jnp.array([1.0, jnp.nan, jnp.inf])}
    state = optimizer.init(params)
    update = jax.jit(optimizer.update)
    for _ in range(40):
        _, state = update(params, state, params)
    assert state.steps[-1] == -1
    assert not state.sums[-1].any() and not state.histogram[-1].any()


@pytest.mark.parametrize("leaves", [150, 1000])
def test_the_state_stays_under_one_megabyte(leaves):
    """However many parameters there are, unless a row for each is asked for."""
    shape = jax.ShapeDtypeStruct((4, 4), jnp.float32)
    params = {f"layer_{i}": {"a": shape, "b": shape} for i in range(leaves // 2)}
    assert record_bytes(ow.record_moments(optax.adam(1e-3)), params) < 1e6 + 1e5
    each = ow.record_moments(optax.adam(1e-3), groups=lambda path: path)
    assert record_bytes(each, params) > leaves * 20_000


def test_an_additional_leaf_costs_few_operations():
    """The columns of a sample are computed once, not for each leaf."""

    def counted(optimizer, leaves):
        return operations(
            compiled(optimizer, {f"w{i}": jnp.ones((64, 32)) for i in range(leaves)})
        )

    plain = counted(optax.adamw(1e-3), 24) - counted(optax.adamw(1e-3), 8)
    optimizer = ow.record_moments(optax.adamw(1e-3))
    recorded = counted(optimizer, 24) - counted(optimizer, 8)
    assert recorded <= 3.6 * plain  # 4.5, and 7.6 with gradients, leaf by leaf
