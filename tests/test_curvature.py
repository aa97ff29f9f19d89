"""Sharpness, stability thresholds and critical rates, against what theory says."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from compiled import quickly

import optax_warmup as ow
from optax_warmup.curvature import _critical

pytestmark = pytest.mark.train


def quadratic(eigenvalues, seed=0):
    """A loss with a known Hessian, as a matrix and as a function."""
    size = len(eigenvalues)
    basis = np.linalg.qr(np.random.default_rng(seed).normal(size=(size, size)))[0]
    hessian = basis @ np.diag(eigenvalues) @ basis.T
    matrix = jnp.asarray(hessian, jnp.float32)
    return hessian, lambda p: p @ matrix @ p / 2


def test_sharpness_is_the_largest_eigenvalue():
    hessian, loss = quadratic(np.logspace(-2, 1, 30))
    found = quickly(lambda p: ow.curvature.sharpness(loss, p))(jnp.ones(30))
    np.testing.assert_allclose(found.value, 10, rtol=1e-4)
    assert found.residual < 0.05
    vector = np.asarray(found.vector)
    np.testing.assert_allclose(np.linalg.norm(vector), 1, rtol=1e-4)
    np.testing.assert_allclose(hessian @ vector, 10 * vector, atol=0.3)
    again = ow.curvature.sharpness(loss, jnp.ones(30), iterations=3, start=found.vector)
    np.testing.assert_allclose(again.value, 10, rtol=1e-5)
    assert again.residual < found.residual


def test_it_is_the_largest_and_not_the_largest_in_size():
    _, loss = quadratic(np.array([-50.0, -3.0, 1.0, 2.0, 7.0]))
    found = ow.curvature.sharpness(loss, jnp.ones(5), iterations=64)
    np.testing.assert_allclose(found.value, 7, rtol=1e-4)


def test_few_parameters_and_an_invariant_start():
    loss = lambda p: jnp.sum(p["a"] ** 2) + 2 * p["b"] ** 2  # noqa: E731
    params = {"a": jnp.ones(3), "b": jnp.ones(())}
    np.testing.assert_allclose(ow.curvature.sharpness(loss, params).value, 4, rtol=1e-5)
    start = {"a": jnp.zeros(3), "b": jnp.ones(())}  # an eigenvector already
    found = ow.curvature.sharpness(loss, params, start=start)
    np.testing.assert_allclose(found.value, 4, rtol=1e-5)
    assert found.residual < 1e-5


def test_adams_sharpness_is_that_of_its_preconditioner():
    hessian, loss = quadratic(np.logspace(-1, 1, 12))
    b1, b2, eps = 0.8, 0.95, 1e-3
    optimizer = optax.chain(
        optax.clip_by_global_norm(1e9), optax.adam(1e-3, b1, b2, eps)
    )
    params = jnp.linspace(0.5, 1.5, 12)
    state = optimizer.init(params)
    nu, points = np.zeros(12), np.asarray(params, float)
    for _ in range(3):
        grads = jax.grad(loss)(params)
        nu = b2 * nu + (1 - b2) * (hessian @ points) ** 2
        _, state = optimizer.update(grads, state, params)
    precondition = (1 - b1**3) * (np.sqrt(nu / (1 - b2**3)) + eps)
    wanted = np.linalg.eigvals(hessian / precondition[:, None]).real.max()
    found = ow.curvature.sharpness(loss, params, state, b1=b1, b2=b2, eps=eps)
    np.testing.assert_allclose(found.value, wanted, rtol=1e-4)


@pytest.mark.parametrize("b2", [0.95, 0.999])
def test_full_batch_adam_settles_at_its_edge(b2):
    """The known answer: eta times the sharpness hovers just below 38 for b1 = 0.9."""
    _, loss = quadratic(np.logspace(-2, 1, 30))
    rate = 1e-2
    optimizer = optax.adam(rate, b2=b2)

    def step(carry, _):
        params, state = carry
        updates, state = optimizer.update(jax.grad(loss)(params), state, params)
        return (optax.apply_updates(params, updates), state), None

    @quickly
    def train(params, state):
        return jax.lax.scan(step, (params, state), None, length=4000)[0]

    @quickly
    def look(params, state):
        return ow.curvature.sharpness(loss, params, state, b2=b2, iterations=30).value

    params, state = jnp.ones(30), optimizer.init(jnp.ones(30))
    seen = []
    for chunk in range(5):
        params, state = train(params, state)
        if chunk:
            seen.append(rate * float(look(params, state)))
    assert ow.curvature.stability_threshold(rate, 0.9) * rate == pytest.approx(38)
    assert 30 < np.median(seen) < 42, seen


def test_thresholds_bound_what_converges():
    """Just below the threshold momentum converges on a quadratic, just above not."""
    rate, momentum = 0.1, 0.9
    cases = [
        (optax.sgd(rate), {}),
        (optax.sgd(rate, momentum), {"momentum": momentum, "averaged": False}),
        (
            optax.sgd(rate, momentum, nesterov=True),
            {"momentum": momentum, "averaged": False, "nesterov": True},
        ),
        (
            optax.chain(optax.ema(momentum, debias=False), optax.scale(-rate)),
            {"momentum": momentum},
        ),
    ]
    for optimizer, options in cases:
        edge = ow.curvature.stability_threshold(rate, **options)
        for factor, converges in ((0.98, True), (1.02, False)):

            def step(carry, _, sharp=edge * factor, optimizer=optimizer):
                x, state = carry
                updates, state = optimizer.update(sharp * x, state)
                return (x + updates, state), None

            x = jnp.float32(1)
            (x, _), _ = jax.lax.scan(step, (x, optimizer.init(x)), None, length=3000)
            assert bool(jnp.abs(x) < 1) is converges, (options, factor, x)


def test_the_critical_rate_of_gradient_descent_on_a_quadratic():
    hessian, loss = quadratic(np.array([1.0, 2.0, 4.0]))
    point = np.array([1.0, -1.0, 0.5])
    gradient = hessian @ point
    wanted = 2 * gradient @ gradient / (gradient @ hessian @ gradient)
    params = jnp.asarray(point, jnp.float32)
    found = quickly(
        lambda p: ow.curvature.critical_learning_rate(
            loss, p, -jax.grad(loss)(p), refinements=14
        )
    )(params)
    np.testing.assert_allclose(found.critical, wanted, rtol=1e-3)
    np.testing.assert_allclose(found.best, wanted / 2, rtol=0.5)
    np.testing.assert_allclose(found.loss, loss(params))


def test_critical_rates_at_the_limits():
    params = jnp.ones(2)
    down = lambda p: jnp.sum(p)  # noqa: E731
    found = ow.curvature.critical_learning_rate(down, params, -params, largest=50.0)
    assert found.critical == 50 and found.best > 10
    uphill = ow.curvature.critical_learning_rate(down, params, params)
    assert uphill.critical == 0 and uphill.best == 0
    explodes = lambda p: jnp.sum(p) + jnp.where(p[0] < 0.5, jnp.nan, 0)  # noqa: E731
    found = ow.curvature.critical_learning_rate(
        explodes, params, -params, refinements=12
    )
    np.testing.assert_allclose(found.critical, 0.5, rtol=1e-2)


def test_bad_arguments_are_refused():
    loss, params = jnp.sum, jnp.ones(2)
    with pytest.raises(ValueError, match="sharpness: iterations must be .* got 0"):
        ow.curvature.sharpness(loss, params, iterations=0)
    with pytest.raises(ValueError, match="^sharpness: the optimizer holds no Adam"):
        ow.curvature.sharpness(loss, params, optax.sgd(0.1).init(params))
    masked = optax.masked(optax.adam(0.1), {"a": True, "b": False})
    tree = {"a": params, "b": params}
    with pytest.raises(ValueError, match="no second moment for some parameters"):
        ow.curvature.sharpness(loss, tree, masked.init(tree))
    with pytest.raises(ValueError, match="learning_rate must be .* got 0"):
        ow.curvature.stability_threshold(0)
    with pytest.raises(ValueError, match="momentum must be .* got 1"):
        ow.curvature.stability_threshold(0.1, 1)
    with pytest.raises(ValueError, match="nesterov=True.*averaged=False"):
        ow.curvature.stability_threshold(0.1, 0.9, nesterov=True)
    with pytest.raises(ValueError, match="smallest must be <= largest"):
        ow.curvature.critical_learning_rate(
            loss, params, params, smallest=1.0, largest=0.5
        )


def test_the_bracket_of_a_critical_rate():
    """On a loss that exceeds that before from 0.7 on, with its minimum at 0.35."""

    def loss_at(rate):
        return jnp.square(rate - 0.35)

    before = loss_at(jnp.float32(0))
    bracket = _critical.doubled(loss_at, before, 0.1, 100.0)
    np.testing.assert_allclose([bracket.low, bracket.high], [0.4, 0.8], rtol=1e-6)
    np.testing.assert_allclose(bracket.best, 0.4, rtol=1e-6)
    assert not bracket.never and not bracket.at_once
    halved = _critical.bisected(loss_at, before, bracket, 2)
    np.testing.assert_allclose([halved.low, halved.high], [0.6, 0.7], atol=1e-6)
    never = _critical.doubled(loss_at, before, 0.1, 0.5)
    assert never.never and never.high == np.float32(0.4)
    at_once = _critical.doubled(loss_at, before, 1.0, 100.0)
    assert at_once.at_once and at_once.low == 0 and at_once.best == 0
