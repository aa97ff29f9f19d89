"""The statistics of nothing but noise are those that theory says."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from compiled import quickly
from selection import parametrize

import optax_warmup as ow
from optax_warmup._state.moments import moments_of

pytestmark = pytest.mark.train

SIZE, STEPS, SCALE = 20_000, 400, 0.03


def trained(b1, b2, seed=0):
    """Adam on independent Gaussian gradients of one size."""
    optimizer = ow.record_moments(optax.adam(1e-3, b1=b1, b2=b2), samples=4096)
    params = {"w": jnp.zeros(SIZE)}

    def step(state, key):
        grads = {"w": SCALE * jax.random.normal(key, (SIZE,))}
        return optimizer.update(grads, state, params)[1], None

    @quickly
    def train(key):
        keys = jax.random.split(key, STEPS)
        return jax.lax.scan(step, optimizer.init(params), keys)[0]

    return train(jax.random.key(seed)), params


@parametrize(("b1", "b2"), [(0.9, 0.999), (0.9, 0.95), (0.5, 0.99)], quick=3)
def test_noise_has_the_statistics_of_noise(b1, b2):
    state, params = trained(b1, b2)
    history = ow.read_moments(state)
    statistics = {name: x[:, 0] for name, x in history.statistics.items()}

    # nu_hat is unbiased; its mean over SIZE coordinates has this standard error
    error = history.relative_error / np.sqrt(SIZE)
    off = statistics["nu_hat_rms"] ** 2 / SCALE**2 - 1
    assert (np.abs(off) < 4.5 * error + 1e-5).all()

    # Adam's step is that of a mean of noise, once nu_hat knows the noise
    settled = history.relative_error < 0.3
    np.testing.assert_allclose(
        statistics["update_rms"][settled], history.noise_rms[settled], rtol=0.06
    )
    assert history.noise_rms[0] == statistics["update_rms"][0].round(3) == 1
    limit = np.sqrt((1 - b1) / (1 + b1))
    np.testing.assert_allclose(history.noise_rms[-1], limit, rtol=1e-6)

    # g / sqrt(nu_hat) is 1 throughout, a little less as nu_hat contains g itself
    assert (np.abs(statistics["normalized_gradient_rms"] - 1) < 0.06).all()
    np.testing.assert_allclose(statistics["gradient_to_nu_ratio"], 1, atol=0.1)

    # independent gradients do not know the step before
    assert 2800 < history.sampled[0] <= 4096
    scatter = 1 / np.sqrt(history.sampled[0])
    assert (np.abs(statistics["alignment"][1:]) < 5 * scatter).all()

    # the spread of nu_hat between coordinates, all of one size
    nu = np.asarray(moments_of(state.inner_state, params, "test").nu[0], float)
    spread = nu.std() / nu.mean()
    np.testing.assert_allclose(spread, history_error(history, b2), rtol=0.05)


def history_error(history, b2):
    """sqrt(2 / n_eff) after the last step, which need not be a recorded one."""
    power = b2**STEPS
    return np.sqrt(2 * (1 - b2) / (1 + b2) * (1 + power) / (1 - power))


def test_the_reference_values_of_effective_samples():
    """Monte-Carlo, 2e5 normals, b2 = 0.999: the standard deviation of nu_hat."""
    state, _ = trained(0.9, 0.999)
    history = ow.read_moments(state)
    known = {1: 1.42, 2: 1.00, 5: 0.632, 10: 0.447}
    for count, deviation in known.items():
        row = list(history.steps).index(count - 1)
        np.testing.assert_allclose(history.relative_error[row], deviation, rtol=5e-3)


def test_a_jump_of_the_gradient_shows_in_the_normalized_gradient_as_it_should():
    """After k times larger gradients: k / sqrt(1 + (1 - b2) (k**2 - 1))."""
    b2, k = 0.95, 10.0
    optimizer = ow.record_moments(optax.adam(1e-3, b2=b2))
    params = {"w": jnp.zeros(100)}
    grads, state = {"w": jnp.ones(100)}, optimizer.init(params)
    update = quickly(optimizer.update)
    for _ in range(300):  # nu has settled, to 1 - 2e-7 of its mean
        _, state = update(grads, state, params)
    for _ in range(4):  # 300 is not recorded, 304 would be; jump at a recorded step
        _, state = update(grads, state, params)
    _, state = update({"w": jnp.full(100, k)}, state, params)
    history = ow.read_moments(state)
    assert history.steps[-1] == 304
    wanted = k / np.sqrt(1 + (1 - b2) * (k**2 - 1))
    np.testing.assert_allclose(
        history.overall["normalized_gradient_rms"][-1], wanted, rtol=1e-4
    )
