"""Schedules of weight decay, momentum, betas, clipping, batch and exploration."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import optax_warmup as ow

GRADS = np.random.default_rng(0).normal(size=(12, 3)).astype(np.float32)
START = jnp.asarray([1.0, -2.0, 3.0])


def train(optimizer, params=START, grads=GRADS):
    """Each update's parameters and state, by one jitted step."""
    state, history = optimizer.init(params), []

    @jax.jit
    def update(grad, state, params):
        updates, state = optimizer.update(grad, state, params)
        return optax.apply_updates(params, updates), state

    for grad in grads:
        params, state = update(jnp.asarray(grad, params.dtype), state, params)
        history.append((np.asarray(params, np.float64), state))
    return history


def hyperparameters(history, name):
    return [float(state.hyperparams[name]) for _, state in history]


def test_weight_decay():
    decay = ow.warmup_linear(0.5, 4, 10)
    optimizer = optax.chain(
        optax.inject_hyperparams(optax.add_decayed_weights)(weight_decay=decay),
        ow.scale_by_learning_rate(0.1),
    )
    params = np.asarray(START, np.float64)
    for step, (found, _) in enumerate(train(optimizer)):
        share = step / 4 if step < 4 else max(10 - step, 0) / 6
        params = params - 0.1 * (GRADS[step] + 0.5 * share * params)
        np.testing.assert_allclose(found, params, rtol=1e-5)


def test_momentum():
    momentum = ow.warmup_constant(0.95, 5, init_value=0.85)
    optimizer = optax.inject_hyperparams(optax.sgd)(0.1, momentum=momentum)
    params, trace = np.asarray(START, np.float64), 0.0
    for step, (found, _) in enumerate(train(optimizer)):
        trace = GRADS[step] + (0.85 + 0.1 * min(step / 5, 1)) * trace
        params = params - 0.1 * trace
        np.testing.assert_allclose(found, params, rtol=1e-5)


def test_betas_of_adam():
    b1 = ow.piecewise(0.95, [(4, 0.85), (4, 0.95)])
    b2 = ow.transition(0.9, 0.999, 6)
    optimizer = optax.inject_hyperparams(optax.adam)(0.01, b1=b1, b2=b2)
    params, mu, nu = np.asarray(START, np.float64), 0.0, 0.0
    for step, (found, _) in enumerate(train(optimizer)):
        x1 = np.interp(step, [0, 4, 8], [0.95, 0.85, 0.95])
        x2 = np.interp(step, [0, 6], [0.9, 0.999])
        mu = x1 * mu + (1 - x1) * GRADS[step]
        nu = x2 * nu + (1 - x2) * GRADS[step].astype(float) ** 2
        mu_hat, nu_hat = mu / (1 - x1 ** (step + 1)), nu / (1 - x2 ** (step + 1))
        params = params - 0.01 * mu_hat / (np.sqrt(nu_hat) + 1e-8)
        np.testing.assert_allclose(found, params, rtol=1e-4)


def test_clipping_threshold():
    threshold = ow.transition(0.1, 1.0, 8)
    optimizer = optax.chain(
        optax.inject_hyperparams(optax.clip_by_global_norm)(max_norm=threshold),
        optax.sgd(1.0),
    )
    params = np.asarray(START, np.float64)
    for step, (found, _) in enumerate(train(optimizer)):
        norm, most = np.linalg.norm(GRADS[step]), 0.1 + 0.9 * min(step / 8, 1)
        params = params - GRADS[step] * min(1, most / norm)
        np.testing.assert_allclose(found, params, rtol=1e-5)


def test_several_at_once_follow_the_same_step():
    optimizer = optax.inject_hyperparams(optax.adamw)(
        learning_rate=ow.warmup_cosine(1e-2, 3, 12),
        b2=ow.transition(0.95, 0.999, 12),
        weight_decay=ow.warmup_constant(0.1, 6),
    )
    history = train(optimizer)
    for name, schedule in (
        ("learning_rate", ow.warmup_cosine(1e-2, 3, 12)),
        ("b2", ow.transition(0.95, 0.999, 12)),
        ("weight_decay", ow.warmup_constant(0.1, 6)),
    ):
        expected = ow.simulate(schedule, 12)
        np.testing.assert_array_equal(hyperparameters(history, name), expected)


def test_batch_size_trains_on_so_many_examples():
    batch_size = ow.round_to(ow.transition(4, 32, 6), multiple=4)
    sizes = [batch_size(step).item() for step in range(10)]
    assert sizes == [4, 8, 12, 20, 24, 28, 32, 32, 32, 32]
    data = np.random.default_rng(1).normal(2.0, 1.0, size=sum(sizes))
    optimizer = optax.sgd(0.5)
    mean, used = jnp.zeros(()), 0
    state = optimizer.init(mean)
    gradient = jax.jit(jax.grad(lambda m, x: 0.5 * jnp.mean((m - x) ** 2)))
    expected = 0.0
    for size in sizes:
        batch = data[used : used + size]
        updates, state = optimizer.update(gradient(mean, batch), state)
        mean, used = optax.apply_updates(mean, updates), used + size
        expected = 0.5 * expected + 0.5 * batch.mean()
    assert used == len(data)
    np.testing.assert_allclose(mean, expected, rtol=1e-5)


def test_exploration_rate_of_an_epsilon_greedy_agent():
    epsilon = ow.piecewise(1.0, [(100, 0.1)])
    means = jnp.asarray([0.1, 0.9, 0.3])

    def play(carry, step):
        key, totals, counts = carry
        key, explore, arm_key = jax.random.split(key, 3)
        greedy = jnp.argmax(totals / jnp.maximum(counts, 1))
        explored = jax.random.uniform(explore) < epsilon(step)
        arm = jnp.where(explored, jax.random.randint(arm_key, (), 0, 3), greedy)
        totals = totals.at[arm].add(means[arm])
        return (key, totals, counts.at[arm].add(1)), explored

    start = (jax.random.key(0), jnp.zeros(3), jnp.zeros(3))
    (_, _, counts), explored = jax.lax.scan(play, start, jnp.arange(1000))
    assert explored[0]  # epsilon is 1 at the first step
    # 100 steps with 1 - 0.9 k / 100, then 900 with 0.1, within four deviations.
    assert abs(explored.sum() - (100 - 0.009 * 4950 + 90)) < 4 * 12
    assert counts[1] > 800


BF16 = jnp.ones(3, jnp.bfloat16)


def test_a_schedule_stays_float32_beside_bfloat16_parameters():
    rate = ow.warmup_constant(1e-3, 1000)
    optimizer = optax.inject_hyperparams(optax.sgd)(rate)
    history = train(optimizer, BF16, np.zeros((5, 3)))
    np.testing.assert_array_equal(
        hyperparameters(history, "learning_rate"), ow.simulate(rate, 5)
    )


def test_a_plain_number_does_not():
    """What the guide warns of: if optax mends it, the warning can go."""
    optimizer = optax.inject_hyperparams(optax.adamw)(1e-3)
    (params, state), *_ = train(optimizer, BF16)
    assert state.hyperparams["b2"] == 1.0  # 0.999 in bfloat16
    assert np.isnan(params).all()


@pytest.mark.parametrize(
    "optimizer",
    [
        optax.inject_hyperparams(optax.adamw, hyperparam_dtype=jnp.float32)(1e-2),
        optax.inject_hyperparams(optax.adamw)(1e-2, b2=ow.constant(0.999)),
        optax.inject_hyperparams(optax.adamw, static_args=("b2",))(1e-2, b2=0.999),
    ],
    ids=["hyperparam_dtype", "constant", "static_args"],
)
def test_the_ways_round_it(optimizer):
    history = train(optimizer, BF16)
    params, state = history[-1]
    assert np.isfinite(params).all()
    assert (params != 1).any()
    if "b2" in state.hyperparams:
        np.testing.assert_allclose(state.hyperparams["b2"], 0.999, rtol=1e-6)
