"""The gradient noise scale of gradients whose mean and covariance are known."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from compiled import quickly
from selection import parametrize

import optax_warmup as ow
from optax_warmup.diagnostics._history import Statistics

pytestmark = pytest.mark.train

SIZE, STEPS = 600, 400
# Of half the coordinates the noise is ten times as large as of the others.
SPREAD = np.repeat([1.0, 10.0**0.5], SIZE // 2) / 5.5**0.5
MEAN = np.random.default_rng(0).normal(size=SIZE)
MEAN = MEAN / np.linalg.norm(MEAN)
OTHER = np.roll(MEAN, 1) - MEAN * (MEAN @ np.roll(MEAN, 1))
OTHER = OTHER / np.linalg.norm(OTHER)


def gradients(scale, steps=STEPS, size=None, turn=0.0, seed=1):
    """Gradients with tr(Sigma) / |G|**2 = scale, |G| = size(step); (steps, SIZE)."""
    step = np.arange(steps)[:, None]
    length = np.ones_like(step, float) if size is None else size(step)
    mean = np.cos(turn * step) * MEAN + np.sin(turn * step) * OTHER
    noise = np.random.default_rng(seed).normal(size=(steps, SIZE))
    return length * (mean + noise * SPREAD * np.sqrt(scale / SIZE))


@functools.cache
def program(make, samples=None):
    def optimizer():
        return ow.record_moments(make(), samples=samples)

    @quickly
    def run(grads, params):
        def step(state, gradient):
            return optimizer().update(gradient, state, params)[1], None

        return jax.lax.scan(step, optimizer().init(params), grads)[0]

    return run


def adam(b1=0.9):
    return optax.adam(1e-3, b1=b1, b2=0.99)


MAKERS = {b1: functools.partial(adam, b1) for b1 in (0.5, 0.9, 0.95)}


def history_of(grads, make=MAKERS[0.9], params=None, samples=None):
    halves = {"a": slice(SIZE // 2), "b": slice(SIZE // 2, None)}
    grads = {n: jnp.asarray(grads[:, x], jnp.float32) for n, x in halves.items()}
    params = np.zeros(SIZE) if params is None else params
    params = {n: jnp.asarray(params[x], jnp.float32) for n, x in halves.items()}
    return ow.read_moments(program(make, samples)(grads, params))


def oracle_shares(b1, grads, rows):
    """The share of signal that explains |m|**2, from all gradients, in float64."""
    found = []
    norms = np.linalg.norm(grads, axis=1)
    for row in rows:
        weights = (1 - b1) * b1 ** np.arange(row, -1, -1.0)
        m = weights @ grads[: row + 1]
        apart = np.sum(weights**2 * norms[: row + 1] ** 2)
        together = np.sum(weights * norms[: row + 1]) ** 2
        found.append((m @ m - apart) / (together - apart))
    return np.array(found)


@parametrize("b1", [0.9, 0.5, 0.95], quick=3)
def test_the_share_of_signal_is_that_of_all_gradients(b1):
    grads = gradients(2.0)
    history = history_of(grads, MAKERS[b1])
    rows = history.steps[history.steps < 32]  # all of them are recorded
    share = history.overall["signal_share"]
    assert np.isnan(share[0])  # m is a multiple of g
    np.testing.assert_allclose(
        share[1 : len(rows)], oracle_shares(b1, grads, rows[1:]), rtol=1e-4, atol=1e-5
    )
    # Later |g| is interpolated, which costs little where it varies by a few percent.
    late = oracle_shares(b1, grads, history.steps[32:])
    np.testing.assert_allclose(share[32:], late, atol=0.06)


@parametrize(
    ("b1", "scale"),
    [(0.9, 0.1), (0.9, 1.0), (0.9, 5.0), (0.5, 1.0), (0.95, 10.0)],
    quick=3,
)
def test_gradients_of_known_covariance(b1, scale):
    """Over many seeds it has no bias, and the bound holds nearly always."""
    estimates, bounds = [], []
    for seed in range(10):
        history = history_of(gradients(scale, seed=seed), MAKERS[b1])
        late = history.steps > 100
        # the mean of 1 / f is not 1 / mean of f
        estimates.append(1 / (1 + history.overall["noise_scale"][late]))
        bounds.append(history.overall["noise_scale_bound"][late])
    middle = 1 / np.nanmean(estimates) - 1
    np.testing.assert_allclose(middle, scale, rtol=0.06)
    assert np.mean(np.nan_to_num(bounds, nan=np.inf) >= 0.97 * scale) > 0.9


def test_a_sample_of_the_gradient_is_enough():
    """|m|**2 is that of all coordinates, |g| is estimated from a quarter of them."""
    history = history_of(gradients(1.0), samples=75)
    assert history.sampled.sum() <= 150
    found = 1 / np.nanmean(1 / (1 + history.overall["noise_scale"][40:])) - 1
    np.testing.assert_allclose(found, 1.0, rtol=0.15)


def test_each_group_has_its_own():
    history = history_of(gradients(1.0))
    row = history.statistics["noise_scale"][-1]
    halves = (slice(SIZE // 2), slice(SIZE // 2, None))
    for found, half in zip(row, halves, strict=True):
        expected = np.mean(SPREAD[half] ** 2) / 2 / np.sum(MEAN[half] ** 2)
        np.testing.assert_allclose(found, expected, rtol=0.25)


@parametrize(
    "size",
    [lambda step: 0.95**step, lambda step: 1.03**step],
    quick=2,
)
def test_gradients_may_shrink_and_grow(size):
    """A norm that falls by half in 14 updates looks neither like signal nor noise."""
    history = history_of(gradients(1.0, 120, size))
    known = history.steps > 40
    found = 1 / np.mean(1 / (1 + history.overall["noise_scale"][known])) - 1
    np.testing.assert_allclose(found, 1.0, rtol=0.3)


def accumulated():
    return optax.MultiSteps(adam(), 4)


def clipped():
    return optax.chain(optax.clip_by_global_norm(0.5), adam())


def decayed():
    return optax.chain(optax.add_decayed_weights(1.0), adam())


def nesterov():
    return optax.nadam(1e-3, b2=0.99)


def amsgrad():
    return optax.amsgrad(1e-3, b2=0.99)


@parametrize(
    ("make", "grads", "expected", "params"),
    [
        # an update sees the mean of four gradients
        (accumulated, gradients(4.0, 4 * STEPS), 1.0, None),
        (clipped, gradients(1.0), 1.0, None),
        # the decay is part of the mean gradient: (1 + 2)**2 times the signal
        (decayed, gradients(9.0), 1.0, 2 * MEAN),
        (nesterov, gradients(1.0), 1.0, None),
        (amsgrad, gradients(1.0), 1.0, None),
    ],
    quick=2,
)
def test_what_stands_around_adam(make, grads, expected, params):
    history = history_of(grads, make, params)
    late = history.steps > 60
    found = 1 / np.nanmean(1 / (1 + history.overall["noise_scale"][late])) - 1
    np.testing.assert_allclose(found, expected, rtol=0.2)


def test_where_the_gradient_turns_it_is_a_bound():
    """Sixty degrees within the momentum: too large, and never too small."""
    history = history_of(gradients(0.5, turn=0.1))
    bound = history.overall["noise_scale_bound"]
    assert np.nanmin(bound[history.steps > 40]) > 0.5
    # Noise alone has no noise scale, and no bound that says anything.
    alone = history_of(gradients(1e8)).overall
    assert np.isnan(alone["noise_scale"][40:]).all()
    assert not (alone["noise_scale_bound"][40:] < 10).any()


def test_exact_gradients_have_none():
    overall = history_of(gradients(0.0)).overall
    np.testing.assert_allclose(overall["noise_scale"][40:], 0, atol=1e-4)
    np.testing.assert_allclose(overall["noise_scale_bound"][40:], 0, atol=1e-4)


def rmsprop():
    return optax.rmsprop(1e-3, decay=0.9)


def no_momentum():
    return optax.adam(1e-3, b1=0.0, b2=0.99)


@parametrize("make", [rmsprop, no_momentum], quick=1)
def test_where_no_momentum_tells_it_is_not_known(make):
    assert_unknown(history_of(gradients(1.0, 60), make))


def test_of_coarse_moments_it_is_not_known():
    """Gradients cannot be recovered from them."""
    coarse = optax.adam(1e-3, b1=0.99, b2=0.99, mu_dtype=jnp.bfloat16)
    optimizer = ow.record_moments(coarse, b1=0.99, b2=0.99)
    params = {"w": jnp.ones(8)}
    state = optimizer.init(params)
    for _ in range(12):
        _, state = optimizer.update(params, state, params)
    assert_unknown(ow.read_moments(state))


def assert_unknown(history):
    for name in ("signal_share", "noise_scale", "noise_scale_bound"):
        assert np.isnan(history.overall[name]).all(), name


def test_a_reset_begins_anew():
    grads = gradients(1.0, 60)
    grads = {"w": jnp.asarray(grads, jnp.float32)}
    optimizer = ow.record_moments(adam(), samples=None)
    params = {"w": jnp.zeros(SIZE)}

    @quickly
    def some(state, grads):
        def step(state, gradient):
            return optimizer.update(gradient, state, params)[1], None

        return jax.lax.scan(step, state, grads)[0]

    state = some(optimizer.init(params), jax.tree.map(lambda g: g[:30], grads))
    state = state._replace(inner_state=adam().init(params))
    state = some(state, jax.tree.map(lambda g: g[30:], grads))
    history = ow.read_moments(state)
    share, rows = history.overall["signal_share"], history.steps
    assert history.resets.tolist() == [30]
    assert np.isnan(share[30])
    shares = oracle_shares(0.9, np.asarray(grads["w"][30:], float), rows[31:32] - 30)
    np.testing.assert_allclose(share[31], shares[0], rtol=1e-3)


def test_no_rows_and_gradients_of_zero():
    empty = ow.read_moments(ow.record_moments(adam()).init(jnp.ones(3)))
    assert empty.overall["noise_scale"].shape == (0,)
    history = history_of(np.zeros((40, SIZE)))
    assert np.isnan(history.overall["noise_scale"]).all()


def advice(scale, bound=None, batch_size=None):
    """What is said of a history whose noise scale is this at each step."""
    history = history_of(gradients(1.0, 60))
    rows = len(history.steps)
    overall = dict(history.overall)
    overall["noise_scale"] = np.full(rows, scale, float)
    overall["noise_scale_bound"] = np.full(rows, scale if bound is None else bound)
    history = dataclasses.replace(history, overall=Statistics(overall))
    found = ow.diagnostics.advise(history, batch_size=batch_size)
    return [a for a in found if a.code.startswith("batch-")]


def test_advice_about_the_batch():
    (large,) = advice(0.05, batch_size=512)
    assert (large.code, large.severity) == ("batch-large", "note")
    assert "at most 0.05 batches (26 examples)" in large.finding
    (large,) = advice(np.nan, 0.1)
    assert large.code == "batch-large"
    (small,) = advice(6.0, batch_size=8)
    assert (small.code, small.severity) == ("batch-small", "note")
    assert "about 6 batches (48 examples)" in small.finding
    for ordinary in (0.3, 1.0, 3.0, np.nan, 0.0):  # 0.0: all of the data in each update
        assert advice(ordinary) == []
    assert advice(np.nan, 1e6) == []  # it may be anything below
