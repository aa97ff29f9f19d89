"""The functions that `automatic_warmup` and `reduce_on_plateau` consist of."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optax_warmup._transforms import automatic_rule as rule
from optax_warmup._transforms.reduce_on_plateau import (
    Settings as PlateauSettings,
    judged,
    reduce_on_plateau,
    with_loss,
)

B = 0.9
DECAY = jnp.array([B, jnp.nan])  # the second leaf has no momentum
SETTINGS = rule.Settings(start=0.01, full_pace=0.1, power=1.5, threshold=0.65)


def powers(momentum, noise):
    return rule.Powers(jnp.array([momentum, 0.0]), jnp.array([noise, 0.0]))


@pytest.mark.parametrize(
    ("following", "limit", "count", "wanted"),
    [
        (0.0, 0.2, 0, 0.2),  # the first update: as much as it may be
        (0.0, 3.0, 0, 1.0),  # but no more than all
        (0.0, np.inf, 0, 0.0),  # an update of zero
        (0.0, np.nan, 0, 0.0),
        (0.3, 0.2, 9, 0.2),  # the tenth is still limited
        (0.3, 0.2, 10, 0.3),  # the eleventh is not
        (0.3, np.nan, 5, 0.3),
        (1.02, 5.0, 50, 1.0),
    ],
)
def test_the_factor_of_an_update(following, limit, count, wanted):
    got = rule.factor_now(jnp.float32(following), jnp.float32(limit), jnp.int32(count))
    np.testing.assert_allclose(got, wanted, rtol=1e-6)


@pytest.mark.parametrize(
    ("coherence", "momentum", "count", "wanted"),
    [
        (0.65, 1.0, 0, 1.0),  # at the threshold it holds
        (0.70, 1.0, 0, 1.05),  # halfway up
        (1.00, 1.0, 0, 1.1),  # full pace
        (1.00, 1.0, 29, 1.05),  # but like t**1.5 at most
        (1.00, 11.0, 29, 1.1),  # unless gradients hold more signal than noise
        (1.00, 9.9, 29, 1.05),  # which begins at 1 / (1 - b) = 10
        (0.10, 1.0, 29, 1.0),
    ],
)
def test_the_growth_of_the_factor(coherence, momentum, count, wanted):
    got = rule.growth(
        SETTINGS,
        jnp.float32(coherence),
        powers(momentum, 1.0),
        DECAY,
        jnp.int32(count),
    )
    np.testing.assert_allclose(got, wanted, rtol=1e-6)


@pytest.mark.parametrize(
    ("momentum", "noise", "before", "count", "wanted"),
    [
        (1.0, 4.0, 1.0, 10, True),  # swing 2: the bound is 4 / 1.45
        (2.7, 4.0, 1.0, 10, True),
        (2.8, 4.0, 1.0, 10, False),  # m did not turn round
        (1.0, 4.0, 1.0, 9, False),  # too early to tell
        (0.1, 1.9, 1.0, 10, False),  # n did not double
    ],
)
def test_an_explosion(momentum, noise, before, count, wanted):
    got = rule.has_exploded(
        powers(momentum, noise), jnp.array([before, 0.0]), DECAY, jnp.int32(count)
    )
    assert bool(got) is wanted


def test_the_powers_of_a_momentum():
    old, new = jnp.array([1.0, 2.0]), jnp.array([1.9, 0.8])
    got = rule.powers_of(
        [old, None], [new, None], DECAY, jnp.array([3.0, 0.0], jnp.float32)
    )
    np.testing.assert_allclose(got.momentum, [1.9**2 + 0.8**2, 0], rtol=1e-6)
    news = (1.9 - 0.9) ** 2 + (0.8 - 1.8) ** 2
    np.testing.assert_allclose(got.noise, [0.81 * 3 + news, 0], rtol=1e-6)


def test_norms_are_those_of_all_leaves_and_of_samples():
    tree = {"a": jnp.array([3.0]), "b": jnp.array([[4.0]]), "c": jnp.zeros((0, 2))}
    np.testing.assert_allclose(rule.norm(tree), 5, rtol=1e-6)
    assert rule.norm({"a": jnp.zeros(4)}) == 0
    np.testing.assert_allclose(rule.norm({"a": jnp.zeros(4)}, 1e-3), 2e-3, rtol=1e-6)
    large = jax.random.normal(jax.random.key(0), (300, 300))
    np.testing.assert_allclose(rule.norm(large), 300, rtol=0.03)


PLATEAU = PlateauSettings(0.5, 2, 0.0, 0.1, 0, 3, 1, 0.3)


def after(**fields):
    state = (
        reduce_on_plateau()
        .init(None)
        ._replace(best_value=jnp.float32(1.0), samples=jnp.int32(1))
    )
    fields = {name: jnp.asarray(value) for name, value in fields.items()}
    return judged(PLATEAU, state._replace(**fields))


def test_a_mean_is_judged():
    better = after(mean_value=0.8, stagnant=1)
    assert (better.best_value, better.stagnant, better.scale) == (np.float32(0.8), 0, 1)
    within = after(mean_value=0.95, stagnant=0)
    assert (within.best_value, within.stagnant, within.scale) == (1, 1, 1)
    reduced = after(mean_value=1.0, stagnant=1)
    assert (reduced.stagnant, reduced.scale, reduced.cooldown_left) == (0, 0.5, 3)
    lowest = after(mean_value=1.0, stagnant=1, scale=0.5)
    assert lowest.scale == np.float32(0.3)
    resting = after(mean_value=1.0, stagnant=1, cooldown_left=2)
    assert (resting.stagnant, resting.scale, resting.cooldown_left) == (0, 1, 1)
    assert resting.samples == 0 and resting.mean_value == 0


def test_losses_enter_the_running_mean_if_they_count():
    state = reduce_on_plateau().init(None)
    for loss, counts in ((2.0, True), (99.0, False), (4.0, True)):
        state = with_loss(state, jnp.float32(loss), jnp.bool_(counts))
    assert (state.samples, state.mean_value) == (2, 3)
