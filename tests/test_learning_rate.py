"""The transform that applies a schedule, and reading the rate from any nesting."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import optax_warmup as ow

PARAMS = {"w": jnp.arange(4.0), "b": jnp.ones(2)}
GRADS = {"w": jnp.full(4, 2.0), "b": jnp.full(2, -1.0)}


def ramp() -> ow.Schedule:
    return ow.transition(0.0, 1.0, 10)


def adam_with_rate() -> optax.GradientTransformation:
    return optax.chain(optax.scale_by_adam(), ow.scale_by_learning_rate(ramp()))


def train(optimizer, steps, params=PARAMS, grads=GRADS):
    state = optimizer.init(params)
    update = jax.jit(optimizer.update)
    for _ in range(steps):
        _, state = update(grads, state, params)
    return state


def test_updates_are_those_of_optax():
    ours = ow.scale_by_learning_rate(ramp())
    theirs = optax.scale_by_learning_rate(optax.linear_schedule(0.0, 1.0, 10))
    our_state, their_state = ours.init(PARAMS), theirs.init(PARAMS)
    for _ in range(12):
        our_updates, our_state = ours.update(GRADS, our_state)
        their_updates, their_state = theirs.update(GRADS, their_state)
        chex.assert_trees_all_close(our_updates, their_updates, rtol=1e-6)
    up, _ = ow.scale_by_learning_rate(0.5, flip_sign=False).update(
        GRADS, ow.scale_by_learning_rate(0.5).init(PARAMS)
    )
    chex.assert_trees_all_equal(up, {"w": jnp.full(4, 1.0), "b": jnp.full(2, -0.5)})


def test_remembers_the_rate_it_used():
    optimizer = ow.scale_by_learning_rate(ramp())
    state = optimizer.init(PARAMS)
    assert ow.learning_rate(state) == 0.0
    for step in range(12):
        updates, state = optimizer.update(GRADS, state)
        assert ow.learning_rate(state) == ramp()(step)
        np.testing.assert_allclose(updates["b"], ow.learning_rate(state))
    assert state.count == 12


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16, jnp.float32])
def test_updates_keep_their_type_and_the_rate_stays_float32(dtype):
    grads = {"w": jnp.ones(3, dtype)}
    optimizer = ow.scale_by_learning_rate(ow.warmup_constant(1e-3, 1000))
    state = train(optimizer, 7, grads, grads)
    updates, _ = optimizer.update(grads, state)
    assert updates["w"].dtype == dtype
    assert jax.eval_shape(ow.learning_rate, state).dtype == jnp.float32
    np.testing.assert_allclose(ow.learning_rate(state), 6e-6, rtol=1e-6)


def test_state_has_one_structure_and_a_step_traces_once():
    optimizer = adam_with_rate()
    state = optimizer.init(PARAMS)

    @chex.assert_max_traces(n=1)
    def step(state):
        return optimizer.update(GRADS, state, PARAMS)[1]

    jitted = jax.jit(step)
    for _ in range(5):
        new = jitted(state)
        chex.assert_trees_all_equal_shapes_and_dtypes(new, state)
        assert jax.tree.structure(new) == jax.tree.structure(state)
        state = new


def test_runs_in_scan_and_under_vmap_over_schedules():
    def last_rate(peak, steps):
        optimizer = ow.scale_by_learning_rate(ow.warmup_constant(peak, steps))

        def step(state, _):
            return optimizer.update(GRADS, state)[1], None

        state, _ = jax.lax.scan(step, optimizer.init(PARAMS), None, length=5)
        return ow.learning_rate(state)

    rates = jax.vmap(last_rate)(jnp.array([1.0, 2.0]), jnp.array([8, 2]))
    np.testing.assert_allclose(rates, [0.5, 2.0])


def nestings():
    """Optimizers whose third update uses the rate 0.2, by the name of the nesting."""
    schedule = optax.linear_schedule(0.0, 1.0, 10)
    labels = {"w": "trained", "b": "frozen"}
    yield "chain", optax.chain(optax.clip_by_global_norm(1.0), adam_with_rate())
    yield "masked", optax.masked(adam_with_rate(), {"w": True, "b": False})
    yield (
        "partition",
        optax.partition(
            {"trained": adam_with_rate(), "frozen": optax.set_to_zero()}, labels
        ),
    )
    yield "inject_hyperparams", optax.inject_hyperparams(optax.adam)(schedule)
    yield "inject another", optax.inject_hyperparams(inject_b1)(b1=0.9)
    yield "MultiSteps", optax.MultiSteps(adam_with_rate(), 1)
    yield "apply_if_finite", optax.apply_if_finite(adam_with_rate(), 5)
    yield "record_moments", ow.record_moments(adam_with_rate())


def inject_b1(b1):
    return optax.chain(optax.scale_by_adam(b1=b1), ow.scale_by_learning_rate(ramp()))


@pytest.mark.parametrize(("name", "optimizer"), list(nestings()))
def test_learning_rate_is_read_from_any_nesting(name, optimizer):
    state = train(optimizer, 3)
    np.testing.assert_allclose(ow.learning_rate(state), 0.2, rtol=1e-6)
    assert type(ow.learning_rate(state)) is float
    assert jax.eval_shape(ow.learning_rate, state).shape == ()


def test_under_accumulation_the_schedule_counts_emitted_updates():
    state = train(optax.MultiSteps(adam_with_rate(), every_k_schedule=4), 12)
    np.testing.assert_allclose(ow.learning_rate(state), 0.2, rtol=1e-6)


def test_learning_rate_of_an_nnx_optimizer():
    model = nnx.Linear(2, 3, rngs=nnx.Rngs(0))
    optimizer = nnx.Optimizer(model, adam_with_rate(), wrt=nnx.Param)
    grads = nnx.grad(lambda m: jnp.sum(m(jnp.ones((1, 2)))))(model)
    for _ in range(3):
        optimizer.update(model, grads)
    for holder in (optimizer, optimizer.opt_state):
        rate = ow.learning_rate(holder)
        assert type(rate) is float
        np.testing.assert_allclose(rate, 0.2, rtol=1e-6)


def test_a_parameter_may_have_any_name():
    params = {"learning_rate": jnp.ones(2), "count": jnp.ones(2), "nu": jnp.ones(2)}
    state = train(adam_with_rate(), 3, params, params)
    np.testing.assert_allclose(ow.learning_rate(state), 0.2, rtol=1e-6)


def test_several_rates_are_an_error_that_says_what_to_do():
    both = optax.partition(
        {"a": ow.scale_by_learning_rate(0.5), "b": ow.scale_by_learning_rate(0.1)},
        {"w": "a", "b": "b"},
    )
    state = both.init(PARAMS)
    with pytest.raises(
        ValueError, match=r"2 groups .* \(a, b\)\. Use .*learning_rates"
    ):
        ow.learning_rate(state)
    assert ow.learning_rates(state) == {"a": 0.5, "b": pytest.approx(0.1)}


@pytest.mark.parametrize("bad", [-1.0, float("nan"), float("inf"), "1e-3", None, 1j])
def test_bad_rates_are_refused_when_the_transform_is_built(bad):
    with pytest.raises((ValueError, TypeError), match="scale_by_learning_rate"):
        ow.scale_by_learning_rate(bad)


def test_an_automatic_warmup_leaves_a_part_of_the_rate():
    inner = optax.chain(optax.scale_by_adam(), ow.scale_by_learning_rate(0.5))
    optimizer = ow.automatic_warmup(inner)
    params = jnp.ones(3)
    state = optimizer.init(params)
    assert ow.learning_rate(state) == 0.5  # of the first update no more is known
    updates, state = optimizer.update(params, state, params)
    np.testing.assert_allclose(ow.learning_rate(state), 0.07, rtol=1e-5)
    np.testing.assert_allclose(-updates, 0.07, rtol=1e-5)
