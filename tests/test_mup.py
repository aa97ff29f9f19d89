"""Width multipliers: which arrays, which number, and that they do what they are for."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from compiled import quickly

import optax_warmup as ow
from optax_warmup.groups import (
    mup_adam,
    mup_eps,
    mup_sgd,
    scale_by_rules,
    scale_eps,
    table,
)

BASE = 32


def shapes(width, heads=2):
    size = width // heads
    sizes = {
        "embed/embedding": (11, width),
        "attention/query/kernel": (width, heads, size),
        "attention/query/bias": (heads, size),
        "attention/out/kernel": (heads, size, width),
        "mlp/kernel": (width, 4 * width),
        "mlp/bias": (4 * width,),
        "norm/scale": (width,),
        "conv/kernel": (3, 3, width, width),
        "stem/kernel": (3, 3, 1, width),
        "head/kernel": (width, 7),
        "head/bias": (7,),
        "read/kernel": (heads, size, 7),
        "stacked/kernel": (5, width, width),
        "temperature": (),
    }
    return {k: jax.ShapeDtypeStruct(s, jnp.float32) for k, s in sizes.items()}


ROLES = {
    "embed/embedding": "input",
    "attention/query/kernel": "hidden",
    "attention/query/bias": "input",
    "attention/out/kernel": "hidden",
    "mlp/kernel": "hidden",
    "mlp/bias": "input",
    "norm/scale": "input",
    "conv/kernel": "hidden",
    "stem/kernel": "input",
    "head/kernel": "output",
    "head/bias": "fixed",
    "read/kernel": "output",
    "stacked/kernel": "hidden",
    "temperature": "fixed",
}
# Table 3 of the paper, and table 8 where the model multiplies its output by 1 / r:
# powers of r, for the rate of Adam and of SGD, and for eps.
TABLE_3 = {
    "input": (0, 1, -1),
    "hidden": (-1, 0, -1),
    "output": (-1, -1, 0),
    "fixed": (0, 0, 0),
}
TABLE_8 = TABLE_3 | {"output": (0, 1, -1)}


@pytest.mark.parametrize("readout", [False, True])
@pytest.mark.parametrize("column", [0, 1, 2])
def test_multipliers_are_those_of_the_paper(column, readout):
    make = (mup_adam, mup_sgd, mup_eps)[column]
    base = shapes(BASE)
    # Width grows by more heads, so that two axes of a query grow, as of any matrix.
    wide = shapes(4 * BASE, heads=8)
    rows = table(make(base, readout_multiplier=readout), wide).rows
    assert {row.path: row.rule for row in rows} == ROLES
    for row in rows:
        power = (TABLE_8 if readout else TABLE_3)[row.rule][column]
        assert row.multiplier == (4.0**power,), row
        wanted = 4.0**-power if column < 2 else 1.0
        assert row.decay_multiplier == (wanted,), row


def test_fan_in_and_fan_out_may_grow_differently():
    base = {"w": jnp.ones((2, 3))}
    wide = {"w": jnp.ones((4, 15))}
    assert table(mup_adam(base), wide).rows[0].multiplier == (1 / 2,)
    assert table(mup_sgd(base), wide).rows[0].multiplier == (5 / 2,)
    assert table(mup_eps(base), wide).rows[0].multiplier == (1 / 5,)
    assert table(mup_adam(base, out_first=True), wide).rows[0].multiplier == (1 / 5,)


def test_a_matrix_of_torch():
    base, wide = ({"in": (n, 3), "out": (7, n)} for n in (8, 16))
    base, wide = (
        {k: jax.ShapeDtypeStruct(s, jnp.float32) for k, s in tree.items()}
        for tree in (base, wide)
    )
    rows = table(mup_adam(base, out_first=True), wide).rows
    assert [row.rule for row in rows] == ["input", "output"]


def test_roles_that_shapes_do_not_tell_are_asked_for():
    base, wide = {"k": jnp.ones((3, 4, 5))}, {"k": jnp.ones((3, 8, 5))}
    with pytest.raises(ValueError, match="k of shape .*axis 1.*outputs= or inputs="):
        table(mup_adam(base), wide)
    assert table(mup_adam(base, outputs="k"), wide).rows[0].rule == "output"
    assert table(mup_adam(base, inputs="k"), wide).rows[0].rule == "input"


def test_models_that_differ_by_more_than_widths_are_refused():
    base = {"w": jnp.ones((2, 2))}
    with pytest.raises(ValueError, match="base_params of groups.mup_adam has no v"):
        table(mup_adam(base), base | {"v": jnp.ones(2)})
    with pytest.raises(ValueError, match="the number of axes must not change"):
        table(mup_adam(base), {"w": jnp.ones(2)})
    with pytest.raises(ValueError, match="grows along 3 axes"):
        table(mup_adam({"w": jnp.ones((2, 2, 2))}), {"w": jnp.ones((4, 4, 4))})


def test_at_the_base_width_nothing_changes():
    for row in table(mup_adam(shapes(BASE)), shapes(BASE)).rows:
        assert (row.rule, row.multiplier) == ("fixed", (1.0,))


def test_rate_times_decay_does_not_depend_on_the_width():
    params = {"w": jnp.ones((64, 64)), "bias": jnp.ones(64)}
    base = {"w": jnp.ones((8, 8)), "bias": jnp.ones(8)}
    zeros = jax.tree.map(jnp.zeros_like, params)
    transform = scale_by_rules(mup_adam(base), 0.25, weight_decay=0.5)
    updates, _ = transform.update(zeros, transform.init(params), params)
    np.testing.assert_allclose(updates["w"], -0.125, rtol=1e-6)
    np.testing.assert_allclose(updates["bias"], -0.125, rtol=1e-6)


# The coordinate check: what a few steps do to activations


def network(width, mup, seed):
    """tanh(x W1) tanh(W2) W3, with the variances of each parametrization."""
    first, second, third = jax.random.split(jax.random.key(seed), 3)
    last = width ** (-1 if mup else -0.5) * (BASE**0.5 if mup else 1)
    return {
        "first": {"kernel": jax.random.normal(first, (16, width)) / 4},
        "second": {"kernel": jax.random.normal(second, (width, width)) * width**-0.5},
        "third": {"kernel": jax.random.normal(third, (width, 4)) * last},
    }


def activations(params, x):
    first = x @ params["first"]["kernel"]
    second = jnp.tanh(first) @ params["second"]["kernel"]
    return first, second, jnp.tanh(second) @ params["third"]["kernel"]


def changes(width, mup, direction, rules, rate):
    """The RMS change of each activation after four updates, over three seeds."""
    x = jax.random.normal(jax.random.key(9), (32, 16))
    y = jnp.sin(x[:, :4] * 2)
    base = jax.eval_shape(lambda: network(BASE, mup, 0))
    behind = (
        scale_by_rules(rules(base), rate, weight_decay=0.0)
        if mup
        else ow.scale_by_learning_rate(rate)
    )
    optimizer = optax.chain(direction(), behind)

    def loss(params):
        return jnp.mean(jnp.square(activations(params, x)[-1] - y))

    @quickly
    def trained(seed):
        params = begun = network(width, mup, seed)
        state = optimizer.init(params)
        for _ in range(4):
            updates, state = optimizer.update(jax.grad(loss)(params), state, params)
            params = optax.apply_updates(params, updates)
        after, before = activations(params, x), activations(begun, x)
        return [
            jnp.sqrt(jnp.mean(jnp.square(a - b)))
            for a, b in zip(after, before, strict=True)
        ]

    return np.mean([trained(seed) for seed in range(3)], axis=0)


SETTINGS = {
    "adam": (optax.scale_by_adam, mup_adam, 0.01),
    "sgd": (optax.identity, mup_sgd, 0.1),
}


@pytest.mark.train
@pytest.mark.parametrize("name", SETTINGS)
def test_updates_change_activations_as_much_at_any_width(name):
    """muP keeps them within 15 % over four times the width.

    In standard parametrization Adam moves the second layer more and more, and SGD the
    first less and less.
    """
    direction, rules, rate = SETTINGS[name]
    widths = (128, 512)
    with_mup = [changes(w, True, direction, rules, rate) for w in widths]
    growth = with_mup[1] / with_mup[0]
    assert (growth > 1 / 1.15).all() and (growth < 1.15).all(), growth
    without = [changes(w, False, direction, rules, rate) for w in widths]
    standard = without[1] / without[0]
    if name == "adam":
        assert standard[1] > 2.5, standard
    else:
        assert standard[0] < 0.5, standard


def test_gradients_scale_as_mup_eps_says():
    """Adam's eps must fall with them: RMS gradients at 32 and 512."""
    x = jax.random.normal(jax.random.key(9), (32, 16))

    @functools.cache
    def rms(width):
        def loss(params):
            return jnp.mean(jnp.square(activations(params, x)[-1] - jnp.sin(x[:, :4])))

        @quickly
        def of(seed):
            grads = jax.grad(loss)(network(width, True, seed))
            return jax.tree.map(lambda g: jnp.sqrt(jnp.mean(g**2)), grads)

        found = [of(seed) for seed in range(3)]
        return {k: np.mean([f[k]["kernel"] for f in found]) for k in found[0]}

    small, large = (jax.eval_shape(lambda w=w: network(w, True, 0)) for w in (32, 512))
    for row in table(mup_eps(small), large).rows:
        layer = row.path.split("/")[0]
        (wanted,) = row.multiplier
        assert rms(512)[layer] / rms(32)[layer] == pytest.approx(wanted, rel=0.35), row


def test_eps_scaled_with_the_width_keeps_its_share():
    """Adam with an eps of the size of gradients takes the same steps at any width."""
    base = jax.eval_shape(lambda: {"w": jnp.ones((8, 8))})
    steps = []
    for width in (8, 128):
        params = {"w": jnp.ones((width, width))}
        optimizer = optax.chain(scale_eps(mup_eps(base)), optax.scale_by_adam(eps=1e-3))
        gradient = {"w": jnp.full((width, width), 1e-3 * 8 / width)}
        updates, _ = optimizer.update(gradient, optimizer.init(params))
        steps.append(float(updates["w"][0, 0]))
    assert steps == pytest.approx([0.5, 0.5], rel=1e-4)
