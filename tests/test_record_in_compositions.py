"""What the record says is what was applied, wherever it stands in an optimizer."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from compiled import quickly
from selection import parametrize

import optax_warmup as ow

pytestmark = pytest.mark.train

SIZE, B2 = 3000, 0.95
PARAMS = {"w": jnp.linspace(0.5, 2.0, SIZE)}


def noise(step, scale=5.0):
    key = jax.random.key(step)
    return {"w": scale * jax.random.normal(key, (SIZE,))}


def adam(rate=1e-3):
    return optax.chain(optax.scale_by_adam(b2=B2), ow.scale_by_learning_rate(rate))


def recorded(
    optimizer, steps=60, gradient=noise, params=PARAMS, *, moving=False, **extra
):
    state, update = optimizer.init(params), quickly(optimizer.update)
    for step in range(steps):
        updates, state = update(gradient(step), state, params, **extra)
        if moving:
            params = optax.apply_updates(params, updates)
    return ow.read_moments(state)


def constant(_):
    return {"w": jnp.ones(SIZE)}


def test_a_warmup_after_the_rate_is_in_the_rate():
    """chain(adam, rate 0.1, warmup of 100): 0.009 in the tenth update, not 0.1."""
    optimizer = ow.record_moments(
        optax.chain(
            optax.scale_by_adam(),
            ow.scale_by_learning_rate(0.1),
            ow.scale_by_warmup(ow.warmup(1.0, 100)),
        )
    )
    history = recorded(optimizer, 10, constant)
    np.testing.assert_allclose(history.learning_rate, np.arange(10) * 1e-3, rtol=1e-4)
    applied = history.overall["applied_rate"]
    np.testing.assert_allclose(applied, np.arange(10) * 1e-3, rtol=1e-4)
    weights = np.sqrt(np.mean(np.square(PARAMS["w"])))
    ratio = history.overall["update_to_weight"][-1]
    np.testing.assert_allclose(ratio, 0.009 / weights, rtol=0.02)


def test_the_rate_of_an_optimizer_that_remembers_none_is_measured():
    """optax.adamw(schedule), with the decay that its updates contain."""
    schedule = ow.warmup(0.1, 100)
    inner = optax.adamw(schedule, weight_decay=0.01)
    history = recorded(ow.record_moments(inner))
    rates = 0.1 * history.steps / 100
    np.testing.assert_allclose(history.learning_rate, rates, rtol=1e-4, atol=1e-8)
    decay = history.overall["applied_decay"]
    np.testing.assert_allclose(decay, 0.01 * rates, rtol=1e-2, atol=1e-8)
    explained = history.overall["update_explained"][1:]
    np.testing.assert_allclose(explained, 1, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "wrap"),
    [
        ("optax.scale", lambda adam: optax.chain(adam, optax.scale(0.03))),
        ("plateau", lambda adam: optax.chain(adam, ow.scale_by_warmup(0.03))),
        (
            "masked",
            lambda adam: optax.chain(adam, optax.masked(optax.scale(0.03), True)),
        ),
    ],
)
def test_whatever_scales_the_updates_is_in_the_rate(name, wrap):
    history = recorded(ow.record_moments(wrap(adam())), 5)
    np.testing.assert_allclose(history.learning_rate, 3e-5, rtol=1e-3, err_msg=name)


def test_each_group_has_the_rate_that_it_trains_at():
    params = {"x": PARAMS["w"], "y": PARAMS["w"]}
    parts = {"slow": ow.scale_by_warmup(0.1), "fast": optax.identity()}
    optimizer = ow.record_moments(
        optax.chain(adam(), optax.partition(parts, {"x": "slow", "y": "fast"}))
    )

    def gradient(step):
        return {"x": noise(2 * step)["w"], "y": noise(2 * step + 1)["w"]}

    history = recorded(optimizer, 8, gradient, params)
    applied = history.statistics["applied_rate"]
    np.testing.assert_allclose(applied, [[1e-4, 1e-3]] * 8, rtol=1e-3)


def test_a_rate_that_comes_after_the_record_is_not_made_up():
    bare = ow.record_moments(optax.scale_by_adam(b2=B2))
    history = recorded(optax.chain(bare, optax.scale(-1e-3)), 5)
    assert np.isnan(history.learning_rate).all()
    assert np.isnan(history.overall["update_to_weight"]).all()
    np.testing.assert_allclose(history.overall["update_rms"][0], 1, rtol=1e-4)


def test_a_climb_shows_as_a_negative_rate():
    """Two minus signs, as in chain(adamw(3e-4), scale_by_learning_rate(s))."""
    inner = optax.chain(optax.adamw(3e-4, b2=B2), ow.scale_by_learning_rate(0.1))
    history = recorded(ow.record_moments(inner), 5)
    np.testing.assert_allclose(history.learning_rate, -3e-5, rtol=1e-3)


@pytest.mark.parametrize("inner", [optax.nadam(1e-3), optax.amsgrad(1e-3)])
def test_a_told_rate_stands_where_the_direction_is_not_adams(inner):
    told = optax.inject_hyperparams(lambda learning_rate: inner)(learning_rate=1e-3)
    history = recorded(ow.record_moments(told, b1=0.9, b2=0.999), 40)
    np.testing.assert_allclose(history.learning_rate, 1e-3, rtol=1e-6)


def test_clipping_inside_or_outside_is_the_same_to_the_record():
    """The record compares what entered the moments with them, not raw gradients."""
    clip = optax.clip_by_global_norm(1.0)
    inside = recorded(ow.record_moments(optax.chain(clip, adam())), 100)
    outside = recorded(optax.chain(clip, ow.record_moments(adam())), 100)
    for history in (inside, outside):
        normalized = history.overall["normalized_gradient_rms"]
        np.testing.assert_allclose(normalized[1:], 1, atol=0.12)
        np.testing.assert_allclose(history.overall["gradient_norm"], 1, rtol=0.1)
    for name, values in outside.overall.items():
        np.testing.assert_allclose(
            inside.overall[name], values, rtol=1e-3, atol=1e-4, err_msg=name
        )


def test_accumulation_inside_or_outside_is_the_same_to_the_record():
    """MultiSteps(record(adam)) and record(MultiSteps(adam)), four microbatches."""
    inside = recorded(optax.MultiSteps(ow.record_moments(adam()), 4), 200)
    wrapped = ow.record_moments(optax.MultiSteps(adam(), 4), b1=0.9, b2=B2)
    outside = recorded(wrapped, 200)
    for history in (inside, outside):
        normalized = history.overall["normalized_gradient_rms"]
        np.testing.assert_allclose(normalized[1:], 1, atol=0.12)
        np.testing.assert_allclose(history.learning_rate, 1e-3, rtol=1e-4)
        assert history.steps[-1] == 48
    np.testing.assert_array_equal(inside.steps, outside.steps)
    for name, values in outside.overall.items():
        np.testing.assert_allclose(
            inside.overall[name], values, rtol=1e-3, atol=1e-4, err_msg=name
        )


def test_rmsprop_needs_no_gradients_but_its_squares():
    history = recorded(ow.record_moments(optax.rmsprop(1e-3, decay=B2)), 100)
    np.testing.assert_allclose(history.learning_rate, 1e-3, rtol=1e-4)
    settled = history.steps > 60
    normalized = history.overall["normalized_gradient_rms"][settled]
    np.testing.assert_allclose(normalized, 1, atol=0.12)
    accumulated = optax.MultiSteps(optax.rmsprop(1e-3, decay=B2), 4)
    history = recorded(ow.record_moments(accumulated, b2=B2), 40)
    np.testing.assert_array_equal(history.steps, np.arange(10))
    np.testing.assert_allclose(history.learning_rate, 1e-3, rtol=1e-4)


def test_a_reset_of_the_moments_is_an_event_in_the_record():
    """The rows go on, with the corrections of moments that begin again."""
    optimizer = ow.record_moments(ow.restart_if(adam(), lambda s, **_: s.count == 20))
    history = recorded(optimizer, 60)
    np.testing.assert_array_equal(history.steps, [*range(32), *range(32, 60, 2)])
    before = np.arange(20) + 1
    np.testing.assert_array_equal(history.counts[:20], before)
    np.testing.assert_array_equal(history.counts[20:], history.steps[20:] - 19)
    np.testing.assert_array_equal(history.resets, [20])
    np.testing.assert_allclose(history.overall["nu_hat_rms"], 5, rtol=0.05)
    np.testing.assert_allclose(history.overall["update_rms"][[0, 20]], 1, rtol=1e-4)
    assert history.effective_sample_size[20] == 1
    whole = recorded(ow.record_moments(adam()), 60)
    assert not len(whole.resets)


def test_a_record_around_an_optimizer_that_has_trained_begins_there():
    inner, params = adam(), PARAMS
    state, update = inner.init(params), jax.jit(inner.update)
    for step in range(40):
        _, state = update(noise(step), state, params)
    optimizer = ow.record_moments(inner)
    wrapped = optimizer.init(params)._replace(inner_state=state)
    for step in range(40, 44):
        _, wrapped = jax.jit(optimizer.update)(noise(step), wrapped, params)
    history = ow.read_moments(wrapped)
    np.testing.assert_array_equal(history.steps, [40, 42])
    np.testing.assert_array_equal(history.counts, [41, 43])


def test_scalars_that_states_declare_are_recorded_by_name():
    inner = ow.automatic_warmup(optax.adamw(0.1), feedback=True)
    # Of parameters that stay where they are no coherence is known.
    assert np.isnan(recorded(ow.record_moments(inner), 8).coherence).all()
    history = recorded(ow.record_moments(inner), 8, moving=True)
    assert (history.warmup_factor > 0).all()
    # There is no update before the first gradient.
    np.testing.assert_array_equal(np.isfinite(history.coherence), [False] + 7 * [True])
    assert (history.scalars["relative_size"] > 0).all()
    factor = history.warmup_factor
    np.testing.assert_allclose(history.learning_rate, 0.1 * factor, rtol=1e-3)
    assert {"warmup_factor", "coherence"} <= set(history.by_step())
    assert np.isnan(recorded(ow.record_moments(adam()), 2).warmup_factor).all()


LEAVES = {
    "zero-size": {"w": jnp.ones(2), "e": jnp.zeros((0, 3))},
    "scalar": {"w": jnp.ones(())},
    "number": {"w": 1.0},
    "None": {"w": jnp.ones(2), "n": None},
    "complex": {"w": jnp.array([1 + 1j, 2 - 1j]), "r": jnp.ones(3)},
    "half": {"w": jnp.ones(3, jnp.float16), "b": jnp.ones(3, jnp.bfloat16)},
    "all zero-size": {"e": jnp.zeros((0, 3))},
    "empty": {},
}


@parametrize("name", LEAVES, quick=4)
def test_what_adam_takes_the_record_takes(name):
    params = LEAVES[name]
    plain = optax.adam(0.1)
    optimizer = ow.record_moments(plain, b1=0.9, b2=0.999)
    state, wanted_state = optimizer.init(params), plain.init(params)
    for _ in range(3):
        wanted, wanted_state = plain.update(params, wanted_state, params)
        updates, state = optimizer.update(params, state, params)
        chex.assert_trees_all_equal(updates, wanted)
    history = ow.read_moments(state)
    np.testing.assert_array_equal(history.steps, [0, 1, 2])
    if "w" in params:
        row = history.groups.index("w")
        square = jnp.mean(jnp.square(jnp.abs(jnp.asarray(params["w"]))))
        size = history.statistics["nu_hat_rms"][:, row]
        np.testing.assert_allclose(size, np.sqrt(float(square)), rtol=2e-2)
        update = history.statistics["update_rms"][:, row]
        np.testing.assert_allclose(update, 1, rtol=2e-2)
        normalized = history.statistics["normalized_gradient_rms"][:, row]
        np.testing.assert_allclose(normalized, 1, rtol=2e-2)
    if "e" in params:
        row = history.groups.index("e")
        assert np.isnan(history.statistics["nu_hat_rms"][:, row]).all()


def test_float64_moments():
    with jax.enable_x64(True):
        params = {"w": jnp.linspace(0.5, 2.0, 50)}
        assert params["w"].dtype == jnp.float64
        gradient = jax.tree.map(jnp.sin, params)
        history = recorded(
            ow.record_moments(optax.adam(0.1)), 5, lambda _: gradient, params
        )
    assert history.dtypes == ("float64",)
    np.testing.assert_allclose(history.learning_rate, 0.1, rtol=1e-5)
    np.testing.assert_allclose(history.overall["normalized_gradient_rms"], 1, rtol=1e-5)


def test_replicas_whose_optimizer_closes_over_their_own_rate():
    """A sweep builds the optimizer inside of the vmap."""

    def train(rate, length):
        optimizer = ow.record_moments(adam(ow.warmup(rate, length)))
        state = optimizer.init(PARAMS)
        for step in range(3):
            _, state = optimizer.update(noise(step), state, PARAMS)
        return state

    rates, lengths = jnp.array([0.1, 0.2]), jnp.array([2, 4])
    together = quickly(jax.vmap(train))(rates, lengths)
    for index, wanted in enumerate([[0, 0.05, 0.1], [0, 0.05, 0.1]]):
        one = jax.tree.map(lambda x, i=index: x[i], together)
        history = ow.read_moments(one)
        np.testing.assert_allclose(history.learning_rate, wanted, rtol=1e-4)


def test_parameters_are_merged_where_a_row_for_each_would_not_fit():
    one = jnp.ones(2)
    params = {
        "embed": one,
        "layers": [{"a": one, "b": one} for _ in range(50)],
        "norm": one,
    }
    state = ow.record_moments(optax.adam(0.1)).init(params)
    groups = ow.read_moments(state).groups
    assert groups[:3] == ("embed", "layers/0 to layers/1", "layers/2 to layers/3")
    assert groups[-1] == "norm" and len(groups) == 27
    each = ow.record_moments(optax.adam(0.1), groups=lambda path: path)
    assert len(ow.read_moments(each.init(params)).groups) == 102


@pytest.mark.slow
def test_the_largest_leaves_stand_for_a_group_of_very_many():
    """Of 400 leaves some are sampled, and sums are those of all."""
    params = {f"w{i:03d}": jnp.ones(8 if i % 4 else 64) for i in range(400)}
    grads = {name: x * 3 for name, x in params.items()}
    optimizer = ow.record_moments(optax.adam(0.1), groups=lambda path: "all")
    state = optimizer.init(params)
    for _ in range(2):
        _, state = quickly(optimizer.update)(grads, state, params)
    history = ow.read_moments(state)
    total = sum(x.size for x in params.values())
    assert history.sizes == total and 0 < history.sampled < total
    np.testing.assert_allclose(history.overall["nu_hat_rms"], 3, rtol=1e-5)
    norm = history.overall["gradient_norm"]
    np.testing.assert_allclose(norm, 3 * np.sqrt(total), rtol=1e-4)
    np.testing.assert_allclose(history.overall["update_rms"], 1, rtol=1e-4)
    np.testing.assert_allclose(history.histogram.sum(axis=1), total, atol=2)
