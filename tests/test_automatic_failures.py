"""What the first automatic warmup got wrong, and that looking less changes nothing."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from automatic_runs import PARAMS, descent, gradients_of, quadratic, run
from compiled import quickly
from selection import parametrize

import optax_warmup as ow
from optax_warmup._transforms import automatic_rule as rule
from optax_warmup._transforms.automatic_sample import draw, layout_of

pytestmark = pytest.mark.train


@pytest.mark.parametrize("feedback", [False, True])
@parametrize("inner", ["adam", "sgd", "skip"], quick=["skip"])
def test_looking_only_when_it_must_changes_no_bit(inner, feedback):
    """Factors are those of the rule applied to all gradients at every update."""
    inner = {
        "adam": optax.adam(0.05),
        "sgd": optax.sgd(0.02, momentum=0.9),
        "skip": ow.skip_nonfinite(optax.adamw(0.05, weight_decay=0.1)),
    }[inner]
    gradients = gradients_of(PARAMS, 120)
    _, updates, states = run(
        ow.automatic_warmup(inner, feedback=feedback), PARAMS, gradients
    )
    _, wanted, always = run(looking_always(inner, feedback), PARAMS, gradients)
    np.testing.assert_array_equal(states.factor, always.factor)
    np.testing.assert_array_equal(states.size, always.size)
    np.testing.assert_array_equal(updates["w"], wanted["w"])
    assert states.factor[0] < states.factor[60]
    if not feedback:
        assert states.factor[-1] == 1  # it has arrived, and looks no more
        np.testing.assert_array_equal(states.params[-1], states.params[-2])
        assert np.any(always.params[-1] != always.params[-2])


def looking_always(inner, feedback):
    """`automatic_warmup` without a condition, as it was first written."""
    automatic = ow.automatic_warmup(inner)

    def update(grads, state, params):
        known = rule.Known(*state[1:])
        gradients, leaves = jax.tree.leaves(grads), jax.tree.leaves(params)
        layout = layout_of(leaves)
        at = draw(leaves, layout)
        first, inner_state = inner.update(grads, state.inner_state, params)
        first_moves = draw(jax.tree.leaves(first), layout)
        first_moves = jnp.where(draw(gradients, layout) != 0, first_moves, 0)
        moved = jnp.where(known.count > 0, at - known.params, 0)
        size = rule.relative_size(moved, at, layout)
        judged = rule.judged(draw(gradients, layout), at, known, layout)
        judged = judged if feedback else None
        known = rule.after(known, size, at, 0.07, judged)
        begins = known.count == 0
        coming = rule.relative_size(first_moves, at, layout)
        known = rule.started(known, jnp.where(begins, coming, 0), 0.07)
        updates = jax.tree.map(lambda u: known.factor * u, first)
        return updates, state._replace(inner_state=inner_state, **known._asdict())

    return optax.GradientTransformation(automatic.init, update)


def test_feedback_can_be_switched_on_in_the_middle_of_a_run():
    """The state has the same structure, so a checkpoint of one fits the other."""
    off, on = (
        ow.automatic_warmup(optax.adam(0.5), feedback=feedback)
        for feedback in (False, True)
    )
    _, _, states = run(off, PARAMS, gradients_of(PARAMS, 6))
    state = jax.tree.map(lambda x: x[-1], states)
    assert jax.tree.structure(state) == jax.tree.structure(on.init(PARAMS))
    assert state.coherence == 0 == state.gradient
    grads = jax.tree.map(jnp.ones_like, PARAMS)
    _, judged = on.update(grads, state, jax.tree.map(lambda p: p - 0.01, PARAMS))
    assert judged.count == 7 and judged.coherence != 0 and judged.gradient > 0
    _, again = off.update(grads, judged, PARAMS)
    assert again.coherence == 0 and again.count == 8


def test_a_start_that_is_not_found_shows_in_the_state():
    optimizer = ow.automatic_warmup(optax.adam(0.1))
    state = optimizer.init(PARAMS)
    for bad in (0.0, jnp.nan):
        grads = jax.tree.map(lambda p, bad=bad: jnp.full_like(p, bad), PARAMS)
        updates, state = optimizer.update(grads, state, PARAMS)
        assert (state.count, state.factor, state.size) == (0, 0, 0)


def test_a_long_momentum_trains():
    """The first version ended at 2.0 instead of 0.17: ten updates were protected."""
    losses, _ = quadratic(
        ow.automatic_warmup(optax.sgd(0.1, momentum=0.99)), steps=1500
    )
    assert losses.max() < 2 * losses[0] and losses[-1] < 0.1 * losses[0]
    bare, _ = quadratic(optax.sgd(0.1, momentum=0.99), steps=1500)
    assert not bare[-1] < losses[0]


@parametrize("decay", ["constant", "wsd"], quick=["constant"])
def test_without_a_decay_feedback_lowers_a_rate_that_is_too_high(decay):
    """On a noisy quadratic the loss settles at a level that the rate decides."""
    curvature = jnp.logspace(-1, 1, 30)
    steps = 1_000
    schedule = {
        "constant": lambda step: 0.3,
        "wsd": lambda step: 0.3 * jnp.minimum(1, (steps - step) / 200),
    }[decay]

    def level(feedback):
        """The mean loss before the end, or before the decay begins."""
        optimizer = ow.automatic_warmup(optax.adam(schedule), feedback=feedback)

        @quickly
        def train(x):
            def step(carry, key):
                x, state = carry
                gradient = curvature * (x + jax.random.normal(key, x.shape))
                updates, state = optimizer.update(gradient, state, x)
                return (optax.apply_updates(x, updates), state), curvature @ (x * x)

            keys = jax.random.split(jax.random.key(0), steps)
            return jax.lax.scan(step, (x, optimizer.init(x)), keys)[1]

        return float(jnp.mean(train(jnp.ones(30))[600:800]))

    assert level(True) < 0.5 * level(False)


def test_what_touches_few_rows_does_not_move_the_rest_far():
    """The first version moved a body beside a large embedding by 171 % at once."""
    rows = (jnp.arange(5_000) < 25)[:, None]
    params = {"e": jnp.ones((5_000, 8)), "w": jnp.eye(6) * 6**0.5}
    grads = {"e": jnp.where(rows, 1.0, jnp.zeros((5_000, 8))), "w": jnp.ones((6, 6))}
    optimizer = ow.automatic_warmup(optax.adamw(0.5))
    updates, _ = optimizer.update(grads, optimizer.init(params), params)
    moved = {k: jnp.linalg.norm(updates[k]) / jnp.linalg.norm(params[k]) for k in "ew"}
    assert 0.01 < moved["w"] < 0.07 and moved["e"] < 0.07


@parametrize("zero", ["head", "everything"], quick=["head"])
def test_a_head_of_zeros_is_trained_beside_a_body(zero):
    """The first version, around each part, ended at 0.785 instead of 0.055."""
    x = jax.random.normal(jax.random.key(0), (128, 16))
    y = jnp.sin(x[:, :4])
    body = jax.random.normal(jax.random.key(1), (16, 32)) / 4
    params = {"body": body, "head": jnp.zeros((32, 4)), "bias": jnp.zeros(4)}
    labels = {"body": "body", "head": "head", "bias": "head"}
    if zero == "everything":
        params = {"head": jnp.zeros((16, 4)), "bias": jnp.zeros(4)}
        labels = {"head": "head", "bias": "bias"}  # a group of biases alone

    def loss(params):
        hidden = jnp.tanh(x @ params["body"]) if "body" in params else x
        return jnp.mean(jnp.square(hidden @ params["head"] + params["bias"] - y))

    optimizer = optax.partition(
        {n: ow.automatic_warmup(optax.adam(0.03)) for n in set(labels.values())}, labels
    )
    _, _, losses = descent(optimizer, loss, params)
    assert losses[-1] < (0.2 if zero == "head" else 0.6) * losses[0]


def test_layers_stacked_for_a_scan_start_as_layers_do():
    """S counts a stack as one array, so `start` is divided by its layers."""
    layers, size = 8, 6
    weights = jax.random.normal(jax.random.key(0), (layers, size, size))
    weights /= jnp.sqrt(jnp.mean(jnp.square(weights), axis=(1, 2), keepdims=True))
    gradients = gradients_of(weights, 25)

    def factors(stack, **start):
        split = (lambda x: x) if stack else (lambda x: list(jnp.unstack(x, axis=-3)))
        optimizer = ow.automatic_warmup(optax.adam(0.5), **start)
        return run(optimizer, split(weights), split(gradients))[2].factor

    apart = factors(stack=False)
    assert apart[0] == pytest.approx(0.07 / (0.5 * layers), rel=1e-3)
    # Adam's layers are not of one size after the first update.
    np.testing.assert_allclose(factors(True, start=0.07 / layers), apart, rtol=0.02)
    np.testing.assert_allclose(factors(True), layers * apart, rtol=0.02)


def test_fine_tuning_at_ten_times_a_good_peak_unlearns_little():
    """The first version was 0.09 behind there, and plain Adam forgets everything."""
    x, params, loss_on = small_net()
    y = jnp.sin(2 * x[:, :4])
    decay = ow.transition(0.03, 0.0, 300, ow.shapes.cosine)
    params, _, losses = descent(optax.adam(decay), loss_on(y), params)
    assert losses[-1] < 0.01 * losses[0]
    shifted = loss_on(y + 0.3 * jnp.cos(2 * x[:, 4:8]))
    peak = 0.1  # 0.01 is good without a warmup
    decay = ow.transition(peak, 0.0, 100, ow.shapes.cosine)
    _, _, plain = descent(optax.adam(decay), shifted, params, steps=100)
    _, _, warmed = descent(
        ow.automatic_warmup(optax.adam(decay)), shifted, params, steps=100
    )
    assert plain.max() > 10 * plain[0]
    assert warmed.max() < 1.5 * warmed[0]
    assert warmed[-1] < 0.1 * plain[-1]


@parametrize("peak", [0.03, 0.3], quick=[0.3])
def test_low_rank_adapters_that_begin_at_zero(peak):
    """Their base is frozen; B is zero, so that only B has a gradient at first."""
    x, base, _ = small_net()
    y = jnp.sin(x[:, :4])
    a, b = jax.random.normal(jax.random.key(2), (16, 4)) / 4, jnp.zeros((4, 32))
    params = {"base": base, "adapter": {"a": a, "b": b, "head": jnp.zeros((32, 4))}}

    def loss(params):
        base, adapter = params["base"], params["adapter"]
        hidden = jnp.tanh(x @ base["body"] + x @ adapter["a"] @ adapter["b"])
        return jnp.mean(jnp.square(hidden @ (base["head"] + adapter["head"]) - y))

    def trained(wrapped):
        decay = ow.transition(peak, 0.0, 200, ow.shapes.cosine)
        parts = {"base": optax.set_to_zero(), "adapter": wrapped(optax.adam(decay))}
        optimizer = optax.partition(parts, {"base": "base", "adapter": "adapter"})
        return descent(optimizer, loss, params, steps=200)

    end, state, losses = trained(ow.automatic_warmup)
    _, _, plain = trained(lambda optimizer: optimizer)
    np.testing.assert_array_equal(end["base"]["body"], base["body"])
    assert losses.max() <= losses[0] and losses[-1] < 0.05 * losses[0]
    assert losses[-1] < 1.2 * plain[-1]
    # Around the parts instead of inside of them: what is frozen does not count.
    begun = ow.automatic_warmup(
        optax.partition(
            {"base": optax.set_to_zero(), "adapter": optax.adam(peak)},
            {"base": "base", "adapter": "adapter"},
        )
    )
    alone = ow.automatic_warmup(optax.adam(peak))
    grads = jax.grad(loss)(params)
    _, around = begun.update(grads, begun.init(params), params)
    _, inside = alone.update(
        grads["adapter"], alone.init(params["adapter"]), params["adapter"]
    )
    np.testing.assert_allclose(around.factor, inside.factor, rtol=1e-5)
    assert around.factor < 1


def small_net():
    """Inputs, parameters of a net, and a loss for targets."""
    x = jax.random.normal(jax.random.key(0), (128, 16))
    keys = jax.random.split(jax.random.key(1))
    body = jax.random.normal(keys[0], (16, 32)) / 4
    params = {"body": body, "head": jax.random.normal(keys[1], (32, 4)) / 6}

    def loss_on(y):
        def loss(params):
            hidden = jnp.tanh(x @ params["body"])
            return jnp.mean(jnp.square(hidden @ params["head"] - y))

        return loss

    return x, params, loss_on
