"""Decays that are found by trying an optimizer, and moments found by their place."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import optax_warmup as ow
from optax_warmup._state.moments import bias_correction, moments_of
from optax_warmup._state.momentum import momentum_of
from optax_warmup._state.probe import Decay, probe, require_agreement

PARAMS = {"w": jnp.ones((3, 4)), "b": jnp.ones(2)}


def decays(optimizer, params=PARAMS):
    """The exact (b1, b2) of each leaf."""
    found = probe(optax.with_extra_args_support(optimizer), params, "test")
    return [
        tuple(decay and decay.exact for decay in pair)
        for pair in zip(found.momentum, found.second_moment, strict=True)
    ]


@pytest.mark.parametrize(
    ("optimizer", "wanted"),
    [
        (optax.adamw(0.1, b1=0.8, b2=0.95), (0.8, 0.95)),
        (optax.chain(optax.clip_by_global_norm(1e-3), optax.adam(0.1)), (0.9, 0.999)),
        (optax.nadam(0.1, b2=0.9999), (0.9, 0.9999)),
        (optax.amsgrad(0.1, b2=0.99), (0.9, 0.99)),
        (optax.sgd(0.1, momentum=0.7), (0.7, None)),
        (optax.lion(0.1, b2=0.98), (0.98, None)),
        (optax.rmsprop(0.1, decay=0.93), (None, 0.93)),
        (optax.sgd(0.1), (None, None)),
        (optax.yogi(0.1), (0.9, None)),  # its second moment does not forget
        (optax.adabelief(0.1), (0.9, None)),
        (optax.inject_hyperparams(optax.adam)(0.1, b2=0.95), (0.9, 0.95)),
        (ow.restart_on_spike(optax.adam(0.1, b2=0.95)), (0.9, 0.95)),  # asks for value
    ],
)
def test_decays_are_found(optimizer, wanted):
    assert decays(optimizer) == [wanted, wanted]
    half = jax.tree.map(lambda p: p.astype(jnp.bfloat16), PARAMS)
    assert decays(optimizer, half) == [wanted, wanted]


def test_each_leaf_has_the_decays_of_its_part():
    parts = {
        "adam": optax.adam(0.1, b2=0.95),
        "sgd": optax.sgd(0.1, momentum=0.5),
    }
    both = optax.partition(parts, {"w": "sgd", "b": "adam"})
    assert decays(both) == [(0.9, 0.95), (0.5, None)]  # b before w
    assert decays(optax.masked(parts["adam"], {"w": False, "b": True})) == [
        (0.9, 0.95),
        (None, None),
    ]


def test_a_momentum_of_few_digits_is_not_exact():
    found = probe(
        optax.with_extra_args_support(optax.adam(0.1, mu_dtype=jnp.bfloat16)),
        PARAMS,
        "test",
    )
    for decay in found.momentum:
        assert decay.exact is None and abs(decay.ratio - 0.9) <= decay.error


def test_what_was_seen_is_held_against_what_is_given_within_its_error():
    require_agreement("f", "b2", 0.95, Decay(0.953125, 0.0117))
    require_agreement("f", "b2", 0.999, Decay(0.99899995, 1e-7))
    with pytest.raises(ValueError, match=r"f: b2 .*got 0\.9 .*uses 0\.95\. Pass b2="):
        require_agreement("f", "b2", 0.9, Decay(0.95, 1e-7))
    with pytest.raises(ValueError, match=r"uses about 0\.95\. Pass the b2"):
        require_agreement("f", "b2", 0.9, Decay(0.953125, 0.0117))


@pytest.mark.parametrize("decay", [0.0, 0.9, 0.999, 0.9999999])
def test_the_bias_correction(decay):
    count = np.array([0, 1, 2, 1000])
    wanted = 1 - np.float64(decay) ** np.maximum(count, 1)
    for given in (decay, jnp.float32(decay)):
        rounded = 1 - np.float64(np.float32(decay)) ** np.maximum(count, 1)
        np.testing.assert_allclose(
            bias_correction(given, jnp.asarray(count)),
            wanted if given is decay else rounded,
            rtol=1e-6,
        )


def test_moments_are_found_by_leaf_in_any_nesting():
    optimizer = optax.chain(
        optax.clip(1.0), optax.masked(optax.adam(0.1), {"w": True, "b": False})
    )
    _, state = optimizer.update(PARAMS, optimizer.init(PARAMS), PARAMS)
    moments = moments_of(state, PARAMS, "test")
    assert moments.count == 1 and moments.corrected
    assert moments.nu[0] is None and moments.mu[0] is None
    np.testing.assert_allclose(moments.nu[1], 0.001 * np.ones((3, 4)), rtol=1e-4)
    np.testing.assert_allclose(momentum_of(state, PARAMS, "test")[1], 0.1, rtol=1e-5)
    rms = optax.rmsprop(0.1).init(PARAMS)
    moments = moments_of(rms, PARAMS, "test")
    assert moments.count is None and not moments.corrected
    assert moments.mu == [None, None]
    model = nnx.Linear(2, 3, rngs=nnx.Rngs(0))
    holder = nnx.Optimizer(model, optax.adam(0.1), wrt=nnx.Param)
    found = moments_of(holder.opt_state, nnx.state(model, nnx.Param), "test")
    assert [nu.shape for nu in found.nu] == [(3,), (2, 3)]
    assert isinstance(found.count, jax.Array)


def test_moments_that_cannot_be_told_apart_are_refused_in_the_owners_name():
    twice = optax.chain(optax.scale_by_adam(), optax.scale_by_adam())
    mixed = optax.chain(optax.scale_by_adam(), optax.scale_by_rms())
    for optimizer, message in (
        (twice, r"^f: two parts of the optimizer \(0, 1\) hold moments"),
        (mixed, "^f: the optimizer mixes Adam and rmsprop"),
        (optax.sgd(0.1), "^f: the optimizer holds no Adam moments"),
    ):
        with pytest.raises(ValueError, match=message):
            moments_of(optimizer.init(PARAMS), PARAMS, "f")
    with pytest.raises(ValueError, match="^f: two parts .* hold a momentum"):
        momentum_of(twice.init(PARAMS), PARAMS, "f")


@pytest.mark.parametrize("every", [2, 5, 16])
def test_the_record_sees_through_accumulation(every):
    inner = optax.MultiSteps(optax.adamw(1e-3, b1=0.8, b2=0.95), every)
    state = ow.record_moments(inner).init({"w": jnp.ones((4, 4))})
    history = ow.read_moments(state)
    assert (history.b1, history.b2) == (0.8, 0.95)


@pytest.mark.parametrize("wrap", [jax.jit, lambda f: f])
def test_a_traced_rate_does_not_hide_the_decays(wrap):
    def sums(peak):
        inner = optax.chain(
            optax.scale_by_adam(b2=0.95), ow.scale_by_learning_rate(peak)
        )
        optimizer = ow.record_moments(inner)
        params = jnp.ones(3)
        _, state = optimizer.update(params, optimizer.init(params), params)
        return state.layout

    layouts = wrap(jax.vmap(sums))(jnp.array([1.0, 2.0]))
    assert b'"b2": 0.95' in np.asarray(layouts[0]).tobytes()
