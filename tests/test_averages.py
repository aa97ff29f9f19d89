"""Averages of parameters, against sums in float64 that are written out here."""

import flax.nnx as nnx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import optax_warmup as ow
from optax_warmup import averages

UPDATES = 40
RANDOM = np.random.default_rng(0)
GRADIENTS = RANDOM.normal(size=(UPDATES, 3)).astype(np.float32)
START = np.array([5.0, -1.0, 0.5], np.float32)


def trained(optimizer, gradients=GRADIENTS, start=START):
    """The state after all updates, and the parameters after each."""

    def step(carry, gradient):
        params, state = carry
        updates, state = optimizer.update(gradient, state, params)
        params = optax.apply_updates(params, updates)
        return (params, state), params

    start = jnp.asarray(start)
    carry = start, optimizer.init(start)
    (_, state), seen = jax.lax.scan(step, carry, jnp.asarray(gradients))
    return state, np.asarray(seen, np.float64)


def weighted(seen, weights):
    weights = np.asarray(weights, np.float64)
    return weights @ seen / weights.sum()


N = np.arange(1, UPDATES + 1, dtype=np.float64)


@pytest.mark.parametrize(
    ("weight", "weights"),
    [
        (averages.exponential(0.9), 0.9 ** (UPDATES - N)),
        (averages.exponential(0.0), N == UPDATES),
        (averages.exponential(0.9999), 0.9999 ** (UPDATES - N)),
        (averages.polynomial(), np.ones(UPDATES)),
        # gamma(n + 3) / gamma(n) is what Shamir and Zhang's rule adds up to.
        (averages.polynomial(3), N * (N + 1) * (N + 2)),
        (ow.delay(averages.polynomial(), 30), N > 30),
        (ow.delay(averages.exponential(0.5), 37), (N > 37) * 0.5 ** (UPDATES - N)),
    ],
    ids=repr,
)
def test_a_running_average_is_the_weighted_sum(weight, weights):
    state, seen = trained(averages.average_params(optax.adam(0.1), weight))
    expected = weighted(seen, weights)
    found = averages.averaged_params(state)
    np.testing.assert_allclose(found, expected, rtol=2e-6, atol=1e-6)
    assert state.count == UPDATES


def test_a_number_is_an_average_that_starts_at_the_initial_parameters():
    state, seen = trained(averages.average_params(optax.adam(0.1), 0.05))
    expected = START.astype(np.float64)
    for params in seen:
        expected = expected + 0.05 * (params - expected)
    np.testing.assert_allclose(averages.averaged_params(state), expected, rtol=1e-6)


def test_the_updates_are_those_of_the_optimizer():
    plain, _ = trained(optax.adamw(0.1))
    for optimizer in (
        averages.average_params(optax.adamw(0.1), 0.1),
        averages.average_latest(optax.adamw(0.1), every=3, size=2),
    ):
        state, seen = trained(optimizer)
        _, alone = trained(optax.adamw(0.1))
        np.testing.assert_array_equal(seen, alone)
        jax.tree.map(np.testing.assert_array_equal, state.inner_state, plain)


@pytest.mark.parametrize(("every", "size"), [(1, 1), (1, 5), (7, 3), (13, 9), (50, 4)])
def test_the_latest_snapshots_are_averaged(every, size):
    state, seen = trained(
        averages.average_latest(optax.adam(0.1), every=every, size=size)
    )
    taken = seen[every - 1 :: every][-size:]
    expected = taken.mean(axis=0) if len(taken) else START
    np.testing.assert_allclose(averages.averaged_params(state), expected, rtol=1e-6)
    assert state.taken == UPDATES // every


def test_small_changes_are_not_lost_in_bfloat16():
    start = jnp.full(3, 256.0, jnp.bfloat16)
    optimizer = averages.average_params(optax.sgd(2.0), 1e-3)
    state, seen = trained(optimizer, np.ones((UPDATES, 3), jnp.bfloat16), start)
    expected = 256.0
    for params in seen[:, 0]:
        expected += 1e-3 * (params - expected)
    assert averages.averaged_params(state).dtype == jnp.float32
    np.testing.assert_allclose(averages.averaged_params(state), expected, rtol=1e-6)
    assert averages.averaged_params(state, like=start).dtype == jnp.bfloat16


def test_leaves_of_any_kind():
    params = {
        "none": None,
        "empty": jnp.zeros((0, 2)),
        "scalar": jnp.float32(1),
        "half": jnp.ones(2, jnp.float16),
        "complex": jnp.ones(2, jnp.complex64),
        "steps": jnp.int32(3),
    }
    gradients = jax.tree.map(jnp.ones_like, params) | {"steps": jnp.int32(1)}
    for optimizer in (
        averages.average_params(optax.sgd(1.0), averages.polynomial()),
        averages.average_latest(optax.sgd(1.0), every=1, size=4),
    ):
        state, now = optimizer.init(params), params
        for _ in range(2):
            updates, state = optimizer.update(gradients, state, now)
            now = optax.apply_updates(now, updates)
        found = averages.averaged_params(state, like=params)
        assert jax.tree.map(lambda x: (x.shape, x.dtype), found) == jax.tree.map(
            lambda x: (x.shape, x.dtype), params
        )
        np.testing.assert_allclose(found["complex"], -0.5)  # of 0 and -1
        np.testing.assert_allclose(found["scalar"], -0.5)
        assert found["steps"] == now["steps"] == 1  # the newest


def test_in_a_training_loop_of_flax():
    model = nnx.Linear(2, 3, rngs=nnx.Rngs(0))
    start = model.kernel[...].copy()
    inner = averages.average_params(optax.sgd(0.1), averages.polynomial())
    optimizer = nnx.Optimizer(model, inner, wrt=nnx.Param)
    gradient = nnx.grad(lambda m: jnp.sum(m.kernel[...]))(model)
    for _ in range(3):
        optimizer.update(model, gradient)
    like = nnx.state(model, nnx.Param)
    average = averages.averaged_params(optimizer.opt_state, like=like)
    nnx.update(model, average)
    np.testing.assert_allclose(model.kernel[...], start - 0.2, rtol=1e-5)


def test_around_and_inside_other_wrappers():
    optimizer = ow.skip_nonfinite(
        optax.MultiSteps(
            averages.average_params(optax.sgd(1.0), averages.polynomial()), 2
        )
    )
    gradients = np.ones((8, 3), np.float32)
    gradients[3] = np.nan
    state, seen = trained(optimizer, gradients)
    assert np.isfinite(seen).all()
    # Seven microbatches are three updates: 4, 3 and 2 for a start of 5.
    found = averages.averaged_params(state)
    np.testing.assert_allclose(found, START - 2.0, rtol=1e-6)
    assert ow.skip_nonfinite(optax.sgd(1.0)).init(START).skipped == 0


def test_a_donated_state_shares_no_buffer_with_the_parameters():
    optimizer = averages.average_params(optax.sgd(1.0), 0.5)
    params = jnp.ones(4)
    state = optimizer.init(params)
    step = jax.jit(optimizer.update, donate_argnums=1)
    _, state = step(jnp.ones(4), state, params)
    _, state = step(jnp.ones(4), state, params)
    np.testing.assert_allclose(averages.averaged_params(state), 0.25)


@pytest.mark.parametrize(
    "decay",
    [
        ow.transition(1.0, 0.0, UPDATES),
        ow.transition(1.0, 0.1, UPDATES, ow.shapes.cosine),
        ow.constant(1.0),
    ],
    ids=repr,
)
def test_a_merge_imitates_a_decay(decay):
    """Exactly so where the gradients do not depend on the parameters."""
    _, seen = trained(optax.sgd(0.1))
    checkpoints = [START, *seen.astype(np.float32)]
    weights = averages.merge_weights(decay, every=1, checkpoints=len(checkpoints))
    assert weights.sum() == pytest.approx(1)
    _, decayed = trained(optax.sgd(ow.multiply(decay, 0.1)))
    merged = averages.merge(checkpoints, weights.tolist())
    np.testing.assert_allclose(merged, decayed[-1], rtol=1e-5, atol=1e-6)


def test_weights_of_a_merge_inside_jit():
    decay = ow.transition(1.0, 0.0, 40)
    weights = averages.merge_weights(decay, every=10, checkpoints=5)

    def merged(checkpoints, value):
        with pytest.raises(TypeError, match="merge_weights: decay must not hold trac"):
            averages.merge_weights(
                ow.transition(value, 0.0, 40), every=10, checkpoints=5
            )
        inside = averages.merge_weights(decay, every=10, checkpoints=5)
        np.testing.assert_array_equal(inside, weights)
        return averages.merge(list(checkpoints), inside.tolist())

    found = jax.jit(merged)(jnp.eye(5), 1.0)
    np.testing.assert_allclose(found, weights, rtol=1e-6)


def test_a_merge_of_rare_checkpoints_takes_the_mean_of_the_decay_between():
    weights = averages.merge_weights(
        ow.transition(1.0, 0.0, 40), every=10, checkpoints=5
    )
    between = [np.mean(1 - (10 * i + np.arange(10)) / 40) for i in range(4)]
    factors = np.array([1, *between, 0])
    np.testing.assert_allclose(weights, factors[:-1] - factors[1:], atol=1e-7)


def test_a_merge_keeps_structure_and_dtypes():
    trees = [{"w": jnp.full(2, x, jnp.bfloat16), "n": jnp.int32(x)} for x in (1, 2)]
    merged = averages.merge(trees, [0.25, 0.75])
    assert merged["w"].dtype == jnp.bfloat16 and merged["w"].tolist() == [1.75, 1.75]
    assert merged["n"] == 2


def ones(count):
    return [jnp.ones(2)] * count


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: averages.average_params(0.1, 0.1), "average_params inner"),
        (lambda: averages.average_params(optax.sgd(1.0), 1.5), "weight 1.5"),
        (lambda: averages.average_params(optax.sgd(1.0), -0.1), "weight -0.1"),
        (lambda: averages.average_params(optax.sgd(1.0), "ema"), "weight 'ema'"),
        (
            lambda: averages.average_params(optax.sgd(1.0), ow.constant(999.0)),
            "average_params weight 999 averages.exponential",
        ),
        (lambda: averages.exponential(1.0), "averages.exponential decay < 1"),
        (lambda: averages.exponential(-0.1), "averages.exponential decay -0.1"),
        (lambda: averages.polynomial(-1), "averages.polynomial power -1"),
        (
            lambda: averages.average_latest(optax.sgd(1.0), every=0, size=1),
            "average_latest every 0",
        ),
        (
            lambda: averages.average_latest(optax.sgd(1.0), every=1, size=1.5),
            "average_latest size 1.5",
        ),
        (
            lambda: averages.averaged_params(optax.sgd(1.0).init(START)),
            "averaged_params holds 0 average_params",
        ),
        (
            lambda: averages.averaged_params(
                averages.average_params(optax.sgd(1.0), 0.1).init(START), jnp.ones(2)
            ),
            "averaged_params like other arrays",
        ),
        (
            lambda: averages.merge_weights(
                ow.transition(0.0, 1.0, 9), every=1, checkpoints=9
            ),
            "merge_weights decay fall",
        ),
        (
            lambda: averages.merge_weights(3e-4, every=0, checkpoints=9),
            "merge_weights every 0",
        ),
        (lambda: averages.merge([]), "merge checkpoints at least one"),
        (lambda: averages.merge(jnp.ones(3)), "merge checkpoints list"),
        (lambda: averages.merge([jnp.ones(2), jnp.ones(3)]), "checkpoints[1] other"),
        (lambda: averages.merge(ones(2), [1.0]), "weights 2 checkpoints"),
        (lambda: averages.merge(ones(2), [1.0, 1.0]), "weights sum 1 2.0"),
        (lambda: averages.merge(ones(2), ["a", 1.0]), "weights"),
    ],
)
def test_what_is_wrong_is_named(build, words):
    with pytest.raises((TypeError, ValueError)) as caught:
        build()
    for word in words.split():
        assert word in str(caught.value), str(caught.value)


def test_an_update_needs_the_parameters():
    optimizer = averages.average_params(optax.sgd(1.0), 0.1)
    with pytest.raises(ValueError, match="average_params: update needs params"):
        optimizer.update(START, optimizer.init(START))
