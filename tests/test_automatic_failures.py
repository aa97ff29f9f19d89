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
