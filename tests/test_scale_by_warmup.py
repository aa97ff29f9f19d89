"""A warmup factor on the updates of any optimizer, and what b2-made factors do."""

import math

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import optax_warmup as ow

PARAMS = {"body": jnp.arange(4.0), "head": jnp.ones(2)}
GRADS = {"body": jnp.full(4, 2.0), "head": jnp.full(2, -1.0)}


def run(optimizer, steps, grads=GRADS, params=PARAMS):
    """The updates of every step, stacked, and the last state."""

    def step(state, _):
        updates, state = optimizer.update(grads, state, params)
        return state, updates

    state, updates = jax.jit(
        lambda: jax.lax.scan(step, optimizer.init(params), None, length=steps)
    )()
    return updates, state


def test_it_is_a_factor_on_the_learning_rate():
    """Weight decay included, as in pytorch_warmup."""
    schedule = ow.warmup_cosine(0.5, 0, 40)
    factor = ow.factors.untuned_linear(0.9)
    dampened, state = run(
        optax.chain(optax.adamw(schedule), ow.scale_by_warmup(factor)), 30
    )
    product, _ = run(optax.adamw(ow.multiply(schedule, factor)), 30)
    chex.assert_trees_all_close(dampened, product, rtol=1e-5)
    assert state[-1] == ow.states.ScaleByWarmupState(30, factor(29), factor(29))


def test_it_is_scale_by_learning_rate_upwards():
    factor = ow.warmup(1.0, 7)
    rising = ow.scale_by_learning_rate(factor, flip_sign=False)
    got, state = run(ow.scale_by_warmup(factor), 9)
    wanted, wanted_state = run(rising, 9)
    chex.assert_trees_all_equal(got, wanted)
    assert tuple(state) == tuple(wanted_state)
    with pytest.raises(ValueError, match="holds no learning rate"):
        ow.learning_rate(state)


def test_the_factor_is_readable_before_and_after_an_update():
    optimizer = ow.scale_by_warmup(ow.warmup(1.0, 4, offset=1))
    state = optimizer.init(PARAMS)
    assert state.factor == 0.25 and state.count == 0
    _, state = optimizer.update(GRADS, state)
    _, state = optimizer.update(GRADS, state)
    assert state.factor == 0.5 and state.count == 2


def test_each_group_has_its_own_warmup_by_partition():
    factors = {"body": ow.warmup(1.0, 4), "head": ow.warmup(1.0, 2)}
    each = {name: ow.scale_by_warmup(factor) for name, factor in factors.items()}
    optimizer = optax.chain(
        optax.sgd(1.0), optax.partition(each, {name: name for name in PARAMS})
    )
    updates, state = run(optimizer, 6)
    for name, factor in factors.items():
        wanted = ow.simulate(factor, 6)[:, None] * -GRADS[name]
        np.testing.assert_allclose(updates[name], wanted, rtol=1e-6)
        assert state[-1].inner_states[name].inner_state.factor == factor(5)


def test_what_is_unfrozen_later_warms_up_from_there_by_masked():
    """0 until step 3, then a warmup on a clock of its own; the rest is left alone."""
    later = ow.join([(3, 0.0)], last=ow.warmup(1.0, 4))
    mask = {"body": False, "head": True}
    optimizer = optax.chain(
        optax.sgd(1.0), optax.masked(ow.scale_by_warmup(later), mask)
    )
    updates, _ = run(optimizer, 9)
    np.testing.assert_allclose(updates["body"], np.full((9, 4), -2.0))
    wanted = [0, 0, 0, 0, 0.25, 0.5, 0.75, 1, 1]
    np.testing.assert_allclose(updates["head"][:, 0], wanted)


# algorithms of "On the Variance of the Adaptive Learning Rate": the rectification after
# n updates, from the formula in exact arithmetic
RECTIFICATION = {
    0.999: {
        5: 0.017312,
        6: 0.025821,
        10: 0.048998,
        100: 0.215335,
        1000: 0.645326,
        2000: 0.828390,
        4000: 0.961905,
    },
    0.95: {
        5: 0.118140,
        6: 0.182379,
        10: 0.348420,
        20: 0.578905,
        40: 0.804613,
        160: 0.998691,
    },
    0.7: {6: 3 * math.sqrt(55795775461652507765) / 126458170465},
}


@pytest.mark.parametrize("b2", RECTIFICATION)
def test_radams_warmup_begins_with_the_first_rectified_update(b2):
    """The first update has r_n of the first n where it is defined: never zero."""
    optimizer = ow.scale_by_warmup(ow.factors.radam(b2))
    first = min(RECTIFICATION[b2])
    state = optimizer.init(jnp.ones(1))
    for n, wanted in RECTIFICATION[b2].items():
        at = state._replace(count=jnp.int32(n - first))
        updates, _ = optimizer.update(jnp.ones(1), at)
        np.testing.assert_allclose(updates, wanted, atol=6e-7)


def test_delayed_it_is_optax_radam_without_its_raw_momentum():
    """optax gives the bare mean gradient while the variance has no estimate."""
    b2, grads = 0.99, {"w": jnp.array([1e-3, 20.0])}
    factor = ow.delay(ow.factors.radam(b2), 4)
    ours, _ = run(
        optax.chain(optax.scale_by_adam(b2=b2), ow.scale_by_warmup(factor)),
        30,
        grads,
        grads,
    )
    theirs, _ = run(optax.scale_by_radam(b2=b2), 30, grads, grads)
    np.testing.assert_allclose(ours["w"][5:], theirs["w"][5:], rtol=2e-4)
    np.testing.assert_allclose(theirs["w"][:5], np.tile(grads["w"], (5, 1)), rtol=1e-5)
    np.testing.assert_allclose(ours["w"][:5], factor(0), rtol=1e-3)


def test_bad_factors_are_refused():
    for bad in (-0.1, 1.5, float("nan"), "0.5", None):
        with pytest.raises(
            (ValueError, TypeError), match="scale_by_warmup: factor must be"
        ):
            ow.scale_by_warmup(bad)


def test_a_learning_rate_is_no_factor():
    with pytest.raises(ValueError, match=r"factor must have .* which is 5 at step 16"):
        ow.scale_by_warmup(ow.warmup(5.0, 10))
    with pytest.raises(ValueError, match=r"belongs into scale_by_learning_rate"):
        ow.scale_by_warmup(lambda step: 1.0 + step)
    traced = jax.jit(lambda top: ow.scale_by_warmup(ow.warmup(top, 4)).init(0.0).factor)
    assert traced(5.0) == 0.0
