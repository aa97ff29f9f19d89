"""Weight decay by a schedule, against its formula in float64 and against optax."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import optax_warmup as ow

UPDATES, PEAK = 50, 1e-2
RATE = ow.warmup_cosine(PEAK, 10, UPDATES)
GRADIENTS = np.random.default_rng(0).normal(size=(UPDATES, 3)).astype(np.float32)
START = np.array([1.0, -2.0, 3.0], np.float32)


def trained(optimizer, start=START):
    params = jnp.asarray(start)
    state = optimizer.init(params)

    def step(carry, gradient):
        params, state = carry
        updates, state = optimizer.update(gradient, state, params)
        return (optax.apply_updates(params, updates), state), None

    return jax.lax.scan(step, (params, state), jnp.asarray(GRADIENTS, start.dtype))[0]


def by_hand(decay):
    """SGD with a decay, written out."""
    params = START.astype(np.float64)
    for step, gradient in enumerate(GRADIENTS.astype(np.float64)):
        params = params - RATE(step).item() * gradient - decay(step) * params
    return params


def rate(step):
    return RATE(step).item()


@pytest.mark.parametrize(
    ("decay", "expected"),
    [
        (ow.multiply(RATE, 0.3), lambda step: rate(step) * 0.3),
        (0.01, lambda _: 0.01),
        (
            ow.multiply(RATE, RATE, 0.3 / PEAK),
            lambda step: rate(step) ** 2 * 0.3 / PEAK,
        ),
        (ow.multiply(RATE, 1 / (PEAK * 20)), lambda step: rate(step) / PEAK / 20),
        (0.0, lambda _: 0.0),
    ],
    ids=["follows", "independent", "AdamC", "time scale", "none"],
)
def test_the_formula(decay, expected):
    optimizer = optax.chain(ow.scale_by_learning_rate(RATE), ow.decay_weights(decay))
    params, state = trained(optimizer)
    np.testing.assert_allclose(params, by_hand(expected), rtol=2e-5, atol=1e-6)
    assert state[-1].decay.item() == pytest.approx(expected(UPDATES - 1), rel=1e-5)
    assert ow.learning_rate(state) == pytest.approx(rate(UPDATES - 1))


def test_what_follows_the_rate_is_adamw():
    optimizer = optax.chain(
        optax.scale_by_adam(),
        ow.scale_by_learning_rate(RATE),
        ow.decay_weights(ow.multiply(RATE, 0.3)),
    )
    params, _ = trained(optimizer)
    expected, _ = trained(optax.adamw(RATE, weight_decay=0.3))
    np.testing.assert_allclose(params, expected, rtol=1e-6)


def test_a_time_scale_forgets_after_so_many_updates():
    optimizer = optax.chain(optax.set_to_zero(), ow.decay_weights(1 / 1000))
    params, state = jnp.float32(1), optimizer.init(jnp.float32(1))

    def step(carry, _):
        updates, state = optimizer.update(jnp.float32(0), carry[1], carry[0])
        return (optax.apply_updates(carry[0], updates), state), None

    (params, _), _ = jax.lax.scan(step, (params, state), length=1000)
    assert params == pytest.approx(np.exp(-1), rel=2e-3)


def test_in_compositions():
    params = {"w": jnp.ones(2), "b": jnp.ones(2)}
    optimizer = ow.record_moments(
        optax.chain(
            optax.scale_by_adam(),
            ow.scale_by_learning_rate(0.1),
            optax.masked(ow.decay_weights(0.25), {"w": True, "b": False}),
        )
    )
    state = optimizer.init(params)
    updates, state = optimizer.update(params, state, params)
    np.testing.assert_allclose(updates["w"], -0.35, rtol=1e-5)
    np.testing.assert_allclose(updates["b"], -0.1, rtol=1e-5)
    assert ow.learning_rate(state) == pytest.approx(0.1)
    history = ow.read_moments(state)
    assert history.scalars["weight_decay"].tolist() == [0.25]


def test_updates_keep_their_dtypes():
    optimizer = ow.decay_weights(ow.constant(0.5))
    for dtype in (jnp.bfloat16, jnp.float16, jnp.complex64):
        params = jnp.full(2, 3.0, dtype)
        updates, _ = optimizer.update(params, optimizer.init(params), params)
        assert updates.dtype == dtype
        np.testing.assert_allclose(updates.astype(jnp.complex64), 1.5)


@pytest.mark.parametrize(
    ("decay", "words"),
    [
        (1.5, "decay 1.5"),
        (-0.1, "decay -0.1"),
        (float("nan"), "decay nan"),
        ("0.1", "decay '0.1'"),
        (ow.multiply(ow.constant(3e-2), 100.0), "decay [0, 1] 3 multiplied"),
        (lambda step: -0.1, "decay [0, 1] -0.1"),
        (lambda step: jnp.nan, "decay [0, 1] nan"),
        (ow.constant(jnp.array([0.5, 1.5])), "decay [0, 1] 1.5"),
        (optax.linear_schedule(0.5, -1.0, 8), "decay [0, 1] -1 step 8"),
    ],
)
def test_a_wrong_decay_is_refused(decay, words):
    with pytest.raises((TypeError, ValueError)) as caught:
        ow.decay_weights(decay)
    for word in ("decay_weights", *words.split()):
        assert word in str(caught.value)


def test_an_update_needs_the_parameters():
    optimizer = ow.decay_weights(0.1)
    with pytest.raises(ValueError, match="decay_weights: update needs params"):
        optimizer.update(START, optimizer.init(START))
