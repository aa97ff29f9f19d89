"""Rates by path: what rules do to updates, against optax.partition and by hand."""

import pickle

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from cases import CASES, example
from compiled import quickly
from flax import serialization
from selection import parametrize

import optax_warmup as ow
from optax_warmup.groups import (
    Rule,
    layerwise_decay,
    mup_adam,
    scale_by_rules,
    trained_mask,
)

S = ow.warmup_cosine(0.1, 3, 20, offset=1)
OWN = ow.warmup_linear(0.3, 2, 20, offset=1)
LATE = ow.join([(2, 0.0)], last=ow.warmup(1.0, 4, offset=1))  # frozen, then warmed up
RULES = [
    Rule("^embed", multiplier=0.1, name="embed"),
    Rule("^head/b", frozen=True, name="frozen"),
    Rule("^head", learning_rate=OWN, name="head"),
    Rule("^late", multiplier=LATE, name="late"),
    Rule("b$", decay_multiplier=0, name="vectors"),
    Rule(".*", name="rest"),
]


def parameters(dtype=jnp.float32):
    rng = np.random.default_rng(0)
    shapes = {
        "embed": {"e": (4, 2)},
        "layer": {"w": (2, 3), "b": (3,)},
        "late": {"w": (3, 2)},
        "head": {"w": (2, 2), "b": (2,)},
    }
    return jax.tree.map(
        lambda shape: jnp.asarray(rng.normal(size=shape), dtype),
        shapes,
        is_leaf=lambda x: isinstance(x, tuple),
    )


PARAMS = parameters()
GRADS = [jax.tree.map(lambda x, k=k: jnp.cos(x * (k + 1)), PARAMS) for k in range(5)]


def run(optimizer, params=PARAMS, grads=GRADS, compiled=quickly):
    state = optimizer.init(params)

    def step(params, state, grads):
        updates, state = optimizer.update(grads, state, params)
        return optax.apply_updates(params, updates), state

    step = compiled(step)
    for g in grads:
        params, state = step(params, state, g)
    return params, state


def eager(function):
    return function


def ours(weight_decay=0.1):
    rules = scale_by_rules(RULES, S, weight_decay=weight_decay)
    return optax.chain(optax.scale_by_adam(), rules)


def rival(direction):
    """The same in optax alone: a part with a schedule of its own for each group."""
    labels = {
        "embed": {"e": "embed"},
        "layer": {"w": "rest", "b": "vectors"},
        "late": {"w": "late"},
        "head": {"w": "head", "b": "frozen"},
    }

    def part(rate, decay=0.1):
        behind = optax.add_decayed_weights(decay), optax.scale_by_learning_rate(rate)
        return optax.chain(direction(), *behind)

    parts = {
        "embed": part(lambda k: S(k) * jnp.float32(0.1)),
        "head": part(OWN),
        "late": part(lambda k: S(k) * LATE(k)),
        "vectors": part(S, 0.0),
        "rest": part(S),
        "frozen": optax.set_to_zero(),
    }
    return optax.partition(parts, labels)


def test_updates_are_those_of_a_partition_to_the_last_bit():
    rules = scale_by_rules(RULES, S, weight_decay=0.1)
    got, _ = run(rules, grads=GRADS[:3], compiled=eager)
    chex.assert_trees_all_equal(
        got, run(rival(optax.identity), grads=GRADS[:3], compiled=eager)[0]
    )


def test_with_adam_updates_are_those_of_a_partition():
    wanted, _ = run(rival(optax.scale_by_adam))
    chex.assert_trees_all_close(run(ours())[0], wanted, rtol=1e-5, atol=1e-7)


def test_updates_are_those_of_a_chain_of_masks():
    """Multipliers behind adamw, as masked scales."""

    def only(name):
        return {key: key == name for key in PARAMS}

    rules = [Rule("^embed", multiplier=0.5), Rule("^head", frozen=True), Rule(".*")]
    got, _ = run(optax.chain(optax.adamw(S), scale_by_rules(rules)))
    masks = optax.chain(
        optax.adamw(S),
        optax.masked(optax.scale(0.5), only("embed")),
        optax.masked(optax.set_to_zero(), only("head")),
    )
    chex.assert_trees_all_close(got, run(masks)[0], rtol=1e-6)


def by_hand(step):
    """The rate and the decay of each array at a step, in float64."""
    common = 0.1 * (step + 1) / 3
    if step > 2:
        common = 0.05 * (1 + np.cos(np.pi * (step - 3) / 17))
    own = 0.15 * (step + 1) if step < 2 else 0.3 * (1 - (step - 2) / 18)
    late = 0.0 if step < 2 else (step - 1) / 4
    return {
        "embed": {"e": (0.1 * common, 0.1)},
        "layer": {"w": (common, 0.1), "b": (common, 0.0)},
        "late": {"w": (late * common, 0.1)},
        "head": {"w": (own, 0.1), "b": (0.0, 0.0)},
    }


def test_the_formula_in_float64():
    """SGD with every setting, written out."""
    params = jax.tree.map(lambda x: np.asarray(x, np.float64), PARAMS)
    for step, grads in enumerate(GRADS):
        for module, arrays in by_hand(step).items():
            for name, (rate, decay) in arrays.items():
                p = params[module][name]
                g = np.asarray(grads[module][name], np.float64)
                params[module][name] = p - rate * (g + decay * p)
    got, state = run(scale_by_rules(RULES, S, weight_decay=0.1))
    chex.assert_trees_all_close(got, params, rtol=1e-5, atol=1e-6)
    rates = by_hand(len(GRADS) - 1)
    assert ow.learning_rates(state) == pytest.approx(
        {
            "embed": rates["embed"]["e"][0],
            "head": rates["head"]["w"][0],
            "late": rates["late"]["w"][0],
            "vectors+rest": rates["layer"]["w"][0],
        },
        rel=1e-5,
    )


@pytest.mark.parametrize("flip_sign", [True, False])
def test_one_rule_is_scale_by_learning_rate(flip_sign):
    rules = scale_by_rules([Rule(".*")], S, flip_sign=flip_sign)
    got, state = run(rules)
    wanted, _ = run(ow.scale_by_learning_rate(S, flip_sign=flip_sign))
    chex.assert_trees_all_equal(got, wanted)
    assert ow.learning_rate(state) == float(S(len(GRADS) - 1))


def test_a_frozen_array_stays_where_its_gradient_is_not_finite():
    grads = jax.tree.map(lambda x: jnp.full_like(x, jnp.nan), PARAMS)
    updates, _ = ours().update(grads, ours().init(PARAMS), PARAMS)
    assert (updates["head"]["b"] == 0).all()
    assert jnp.isnan(updates["layer"]["w"]).all()


# Schedules evaluated together


def alike(count):
    return [ow.warmup_cosine(0.01 * (k + 1), 5 + k, 100) for k in range(count)]


MIXED = {
    "peaks and lengths": alike(60),
    "peaks alone": [ow.warmup_cosine(0.01 * (k + 1), 5, 100) for k in range(9)],
    "the same": [ow.warmup(0.1, 5)] * 3,
    "kinds in turn": [
        f(k)
        for k in (1, 2, 3, 4)
        for f in (
            lambda k: ow.constant(0.1 * k),
            lambda k: ow.warmup(0.1, k),
            lambda k: ow.wsd(0.1 * k, 5, 50, 5 * k),
        )
    ],
    "a function": [ow.warmup(lambda step: 0.5 / (1.0 + step), k) for k in (1, 2, 3)],
}


@pytest.mark.parametrize("name", MIXED)
def test_schedules_together_have_the_values_that_they_have_alone(name):
    schedules = MIXED[name]
    rules = [
        Rule(f"^p{k:02}$", learning_rate=schedule)
        for k, schedule in enumerate(schedules)
    ]
    params = {f"p{k:02}": jnp.ones(()) for k in range(len(schedules))}
    transform = scale_by_rules(rules, flip_sign=False)

    @jax.jit
    def at(step):
        updates, _ = transform.update(params, transform.init(params), step=step)
        return jnp.stack(list(updates.values()))

    for step in (0, 1, 4, 5, 6, 37, 99, 100, 2**31 - 1):
        wanted = [schedule(step).item() for schedule in schedules]
        np.testing.assert_allclose(at(jnp.int32(step)), wanted, rtol=2e-6, atol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_every_schedule_can_be_one_of_several(name):
    numbers = example()
    schedules = [CASES[name].build(ow, numbers), ow.multiply(1.0, 0.5)]
    schedules += [CASES[name].build(ow, numbers), ow.constant(0.5)]
    rules = [Rule(f"^p{k}", learning_rate=s) for k, s in enumerate(schedules)]
    params = {f"p{k}": jnp.ones(()) for k in range(len(schedules))}
    updates, _ = scale_by_rules(rules, flip_sign=False).update(
        params, scale_by_rules(rules).init(params), step=jnp.int32(3)
    )
    wanted = [schedule(3).item() for schedule in schedules]
    np.testing.assert_allclose(list(updates.values()), wanted, rtol=2e-6)


def operations(count):
    """Of the update of 24 arrays in so many groups, each with its own schedule."""
    rules = [
        Rule(lambda path, k=k: int(path[1:]) % count == k, learning_rate=s, name=f"{k}")
        for k, s in enumerate(alike(count))
    ]
    transform = optax.chain(optax.scale_by_adam(), scale_by_rules(rules))
    params = {f"p{k}": jnp.ones((8, 8)) for k in range(24)}
    lowered = jax.jit(transform.update).lower(params, transform.init(params))
    return lowered.as_text().count(" = ")


def test_many_groups_are_one_program_of_nearly_the_same_size():
    one, many = operations(1), operations(24)
    assert many < 1.25 * one, (one, many)


# Reading


def test_rates_are_read_by_group():
    state = ours().init(PARAMS)
    rate = float(S(0))
    rates = {"embed": 0.1 * rate, "head": float(OWN(0)), "late": 0.0}
    assert ow.learning_rates(state) == pytest.approx(rates | {"vectors+rest": rate})
    with pytest.raises(ValueError, match="4 groups.*embed, head, late, vectors"):
        ow.learning_rate(state)
    assert ow.runs.step_count(run(ours())[1]) == len(GRADS)
    traced = jax.jit(ow.learning_rates)(state)
    assert traced == pytest.approx(rates | {"vectors+rest": rate})


def test_multipliers_behind_an_optimizer_are_factors_on_its_rate():
    rules = scale_by_rules([Rule("^head", multiplier=0.5, name="head"), Rule(".*")])
    state = optax.chain(optax.adamw(S), rules).init(PARAMS)
    rate = float(S(0))
    for given in (S, {"head": S, ".*": S}):
        rates = ow.learning_rates(state, schedule=given)
        assert rates == pytest.approx({".*": rate, "head": rate / 2})
    state = optax.chain(optax.adam(0.2), rules).init(PARAMS)
    rates = ow.learning_rates(state, schedule=0.2)
    assert rates == pytest.approx({".*": 0.2, "head": 0.1})
    state = optax.chain(ow.scale_by_learning_rate(S), rules).init(PARAMS)
    assert ow.learning_rates(state) == pytest.approx({".*": rate, "head": rate / 2})


def test_rates_in_a_record():
    record = ow.record_moments(ours())
    _, state = run(record)
    history = ow.read_moments(state)
    wanted = [S(k).item() for k in range(len(GRADS))]
    scalars = history.scalars
    np.testing.assert_allclose(scalars["learning_rate/vectors+rest"], wanted, rtol=1e-5)
    heads = [OWN(k).item() for k in range(len(GRADS))]
    np.testing.assert_allclose(scalars["learning_rate/head"], heads, rtol=1e-5)
    assert "learning_rate/frozen" not in scalars
    assert (history.b1, history.b2) == (pytest.approx(0.9), pytest.approx(0.999))
    assert "rate-unknown" not in {a.code for a in ow.diagnostics.advise(history)}


def test_one_rate_of_all_is_that_of_the_record():
    rules = [Rule("b$", decay_multiplier=0), Rule(".*")]
    record = ow.record_moments(
        optax.chain(optax.scale_by_adam(), scale_by_rules(rules, S, weight_decay=0.1))
    )
    history = ow.read_moments(run(record)[1])
    wanted = [S(k).item() for k in range(len(GRADS))]
    np.testing.assert_allclose(history.learning_rate, wanted, rtol=1e-5)


def test_what_stands_in_the_wrong_place_is_refused():
    rules = scale_by_rules(RULES, S, weight_decay=0.0)
    twice = optax.chain(optax.scale_by_adam(), ow.scale_by_learning_rate(S), rules)
    with pytest.raises(ValueError, match="two learning rates.*scale_by_rules at 2#"):
        ow.record_moments(twice).init(PARAMS)
    front = optax.chain(rules, optax.scale_by_adam())
    with pytest.raises(ValueError, match="scale_by_rules at 0#.* in front of scale_by"):
        ow.skip_nonfinite(front).init(PARAMS)


# Compositions

WRAPPERS = {
    "MultiSteps": lambda x: optax.MultiSteps(x, 1).gradient_transformation(),
    "skip_nonfinite": ow.skip_nonfinite,
    "clip_update_rms": lambda x: ow.clip_update_rms(x, threshold=20.0),
    "clip_outliers": lambda x: ow.clip_outliers(x, theta=1e6),
    "record_moments": ow.record_moments,
    "restart_if": lambda x: ow.restart_if(x, lambda state, **extra: False),
    "masked": lambda x: optax.masked(x, jax.tree.map(lambda _: True, PARAMS)),
    "average_params": lambda x: ow.averages.average_params(
        x, ow.averages.exponential(0.9)
    ),
}


@parametrize("name", WRAPPERS, quick={"MultiSteps", "skip_nonfinite"})
def test_inside_of_a_wrapper(name):
    got, state = run(WRAPPERS[name](ours()))
    wanted, alone = run(ours())
    chex.assert_trees_all_close(got, wanted, rtol=1e-5, atol=1e-6)
    assert ow.learning_rates(state) == pytest.approx(ow.learning_rates(alone))


def test_under_an_automatic_warmup():
    _, state = run(ow.automatic_warmup(ours()))
    rates = ow.learning_rates(state)
    assert rates["head"] / rates["vectors+rest"] == pytest.approx(
        float(OWN(4)) / float(S(4)), rel=1e-5
    )
    assert rates["vectors+rest"] < float(S(4))


def test_frozen_arrays_without_moments():
    optimizer = optax.chain(
        optax.masked(optax.scale_by_adam(), trained_mask(RULES)),
        scale_by_rules(RULES, S, weight_decay=0.1),
    )
    got, state = run(optimizer)
    chex.assert_trees_all_close(got, run(ours())[0], rtol=1e-6)
    assert isinstance(state[0].inner_state.mu["head"]["b"], optax.MaskedNode)
    assert set(ow.learning_rates(state)) == {"embed", "head", "late", "vectors+rest"}


def test_in_one_part_of_a_partition():
    rules = scale_by_rules([Rule("w$", multiplier=0.5), Rule(".*")], 0.1)
    parts = {"rules": rules, "rest": ow.scale_by_learning_rate(0.3)}
    labels = {k: "rules" if k == "layer" else "rest" for k in PARAMS}
    optimizer = optax.partition(parts, labels)
    updates, state = optimizer.update(PARAMS, optimizer.init(PARAMS), PARAMS)
    np.testing.assert_allclose(updates["layer"]["w"], -0.05 * PARAMS["layer"]["w"])
    np.testing.assert_allclose(updates["head"]["w"], -0.3 * PARAMS["head"]["w"])
    wanted = {"rules/w$": 0.05, "rules/.*": 0.1, "rest": 0.3}
    assert ow.learning_rates(state) == pytest.approx(wanted)


def test_a_sweep_over_multipliers_and_peaks_is_one_program():
    def last(multiplier, peak):
        rules = [Rule("^head", multiplier=multiplier), Rule(".*")]
        schedule = ow.warmup_cosine(peak, 3, 20, offset=1)
        transform = scale_by_rules(rules, schedule)
        updates, state = transform.update(PARAMS, transform.init(PARAMS))
        return updates["head"]["w"], state

    multipliers, peaks = jnp.array([0.5, 2.0]), jnp.array([0.1, 0.3])
    updates, state = jax.jit(jax.vmap(last))(multipliers, peaks)
    wanted = -(multipliers * peaks / 3)[:, None, None] * PARAMS["head"]["w"]
    np.testing.assert_allclose(updates, wanted, rtol=1e-5)
    rates = ow.learning_rates(state)
    np.testing.assert_allclose(rates["^head"], multipliers * peaks / 3, rtol=1e-5)


def test_in_a_scan():
    stacked = jax.tree.map(lambda *x: jnp.stack(x), *GRADS)
    optimizer = ours()

    def step(carry, grads):
        updates, state = optimizer.update(grads, carry[1], carry[0])
        return (optax.apply_updates(carry[0], updates), state), None

    (got, state), _ = jax.lax.scan(step, (PARAMS, optimizer.init(PARAMS)), stacked)
    wanted, wanted_state = run(optimizer)
    chex.assert_trees_all_close((got, state), (wanted, wanted_state), rtol=1e-5)


# State


def test_the_host_sets_the_rate_of_all_groups():
    _, state = run(ours(), grads=GRADS[:1])
    state = ow.runs.set_learning_rate(state, 0.5)
    for _ in range(2):
        _, state = ours().update(GRADS[0], state, PARAMS)
    rates = ow.learning_rates(state)
    assert rates["head"] == rates["vectors+rest"] == 0.5
    assert rates["embed"] == pytest.approx(0.05)
    state = ow.runs.set_learning_rate(state, None)
    _, state = ours().update(GRADS[0], state, PARAMS)
    assert ow.learning_rates(state)["head"] == float(OWN(3))
    multipliers = optax.chain(optax.adamw(S), scale_by_rules([Rule(".*")]))
    with pytest.raises(ValueError, match="holds no learning rate that can be set"):
        ow.runs.set_learning_rate(multipliers.init(PARAMS), 0.5)


def test_rules_take_over_a_run_and_give_it_back():
    plain = optax.chain(optax.scale_by_adam(), ow.scale_by_learning_rate(S))
    params, old = run(plain)
    state = ow.adopt(ours(), old, params)
    assert ow.runs.step_count(state) == len(GRADS)
    chex.assert_trees_all_equal(state[0], old[0])
    again = ow.adopt(plain, state, params)
    chex.assert_trees_all_equal(again, old)


def test_multipliers_that_are_lost_are_told():
    multiplied = optax.chain(
        optax.adamw(S), scale_by_rules([Rule("^head", multiplier=0.5), Rule(".*")])
    )
    params, old = run(multiplied, grads=GRADS[:1])
    with pytest.warns(UserWarning, match=r"ScaleByRulesState is gone.*\^head by 0.5;"):
        ow.adopt(optax.adamw(S), old, params)
    held = ow.runs.set_learning_rate(run(ours(), grads=GRADS[:1])[1], 0.5)
    with pytest.warns(UserWarning, match="that was set by hand is gone"):
        ow.adopt(optax.chain(optax.scale_by_adam(), optax.scale(-0.1)), held, params)


@pytest.mark.parametrize("way", ["pickle", "flax", "orbax"])
def test_a_checkpoint_of_the_state_goes_on_to_the_bit(way, tmp_path):
    params, state = run(ours(), grads=GRADS[:2])
    fresh = ours().init(PARAMS)
    if way == "pickle":
        restored = pickle.loads(pickle.dumps(state))
    elif way == "flax":
        restored = serialization.from_bytes(fresh, serialization.to_bytes(state))
    else:
        import orbax.checkpoint as ocp

        with ocp.StandardCheckpointer() as checkpointer:
            checkpointer.save(tmp_path / "state", state)
            checkpointer.wait_until_finished()
            restored = checkpointer.restore(tmp_path / "state", fresh)
    assert jax.tree.structure(restored) == jax.tree.structure(state)
    rest = []
    for each in (state, restored):
        p = params
        for grads in GRADS[2:]:
            updates, each = ours().update(grads, each, p)
            p = optax.apply_updates(p, updates)
        rest.append((p, each))
    chex.assert_trees_all_equal(*rest)


def test_a_state_of_other_rules_is_refused():
    state = scale_by_rules([Rule(".*", name="all")], S).init(PARAMS)
    with pytest.raises(ValueError, match=r"groups \['all'\].*adopt"):
        scale_by_rules(RULES, S, weight_decay=0.0).update(PARAMS, state)
    with pytest.raises(TypeError, match="was given a ScaleByLearningRateState"):
        scale_by_rules(RULES, S, weight_decay=0.0).update(
            PARAMS, ow.scale_by_learning_rate(S).init(PARAMS)
        )


def test_its_parameters_are_told_from_its_numbers():
    state = ours().init(PARAMS)
    mapped = optax.tree.map_params(ours(), lambda x: x + 1, state)
    assert jax.tree.structure(mapped) == jax.tree.structure(state)
    chex.assert_trees_all_equal(mapped[1], state[1])


def test_parameters_are_told_from_numbers_within_a_record():
    """As a program does that splits moments over devices; the record has the names."""
    optimizer = ow.record_moments(ours())
    state = optimizer.init(PARAMS)
    marked = optax.tree.map_params(
        optimizer, lambda x: True, state, transform_non_params=lambda x: False
    )
    assert jax.tree.structure(marked) == jax.tree.structure(state)
    assert sum(jax.tree.leaves(marked)) == 2 * len(jax.tree.leaves(PARAMS))


# Leaves


@parametrize("dtype", [jnp.bfloat16, jnp.float16], quick=2)
def test_updates_keep_their_dtype(dtype):
    params = parameters(dtype)
    updates, state = ours().update(params, ours().init(params), params)
    for leaf in jax.tree.leaves(updates):
        assert leaf.dtype == dtype
    assert state[1].scales.dtype == jnp.float32
    wide, _ = ours().update(PARAMS, ours().init(PARAMS), PARAMS)
    chex.assert_trees_all_close(
        jax.tree.map(lambda x: x.astype(jnp.float32), updates), wide, rtol=0.02
    )


def test_trees_of_many_kinds():
    rules = [Rule("b", multiplier=0.5), Rule(".*")]
    transform = scale_by_rules(rules, 0.25, flip_sign=False)
    tree = {"b": [None, jnp.ones(2)], "w": (jnp.float32(2), {}, 4.0), "e": {}}
    updates, _ = transform.update(tree, transform.init(tree), tree)
    assert updates["b"][0] is None and updates["e"] == {}
    np.testing.assert_allclose(updates["b"][1], 0.125)
    assert [float(x) for x in jax.tree.leaves(updates["w"])] == [0.5, 1.0]
    alone = scale_by_rules([Rule("parameters")], 0.25, flip_sign=False)
    assert alone.update(jnp.ones(2), alone.init(jnp.ones(2)))[0].tolist() == [0.25] * 2


def test_what_init_decided_holds_for_parts_of_arrays():
    """Inside shard_map updates have the shapes of parts, of which muP knows nothing."""
    base, wide = {"w": jnp.ones((4, 4))}, {"w": jnp.ones((16, 16))}
    transform = scale_by_rules(mup_adam(base), 1.0, weight_decay=0.0, flip_sign=False)
    state = transform.init(wide)
    updates, _ = transform.update({"w": jnp.ones((4, 16))}, state)
    np.testing.assert_allclose(updates["w"], 0.25)
    stacked = layerwise_decay(0.5, embed=None, head=None, stacked="w")
    transform = scale_by_rules(stacked, 1.0)
    state = transform.init(wide)
    with pytest.raises(ValueError, match="do not split the axis of the layers"):
        transform.update({"w": jnp.ones((4, 16))}, state)


def test_shapes_are_enough_for_init():
    state = jax.eval_shape(ours().init, jax.eval_shape(lambda: PARAMS))
    real = ours().init(PARAMS)
    assert jax.tree.structure(state) == jax.tree.structure(real)


# Slices


def test_stacked_layers_are_scaled_as_layers_of_their_own():
    apart = {
        "embed": jnp.ones(3),
        "layers": [
            {"w": jnp.full((2, 2), k + 1.0), "b": jnp.ones(2)} for k in range(4)
        ],
        "head": jnp.ones(3),
    }
    stacked = apart | {
        "layers": jax.tree.map(lambda *x: jnp.stack(x), *apart["layers"])
    }
    named = {"embed": "^embed", "head": "^head"}
    one = scale_by_rules(layerwise_decay(0.5, **named), S, weight_decay=0.1)
    rules = layerwise_decay(0.5, stacked="^layers", **named)
    other = scale_by_rules(rules, S, weight_decay=0.1)
    got, state = run(other, stacked, [stacked] * 3)
    wanted, wanted_state = run(one, apart, [apart] * 3)
    wanted["layers"] = jax.tree.map(lambda *x: jnp.stack(x), *wanted["layers"])
    chex.assert_trees_all_equal(got, wanted)
    assert ow.learning_rates(state) == ow.learning_rates(wanted_state)
    assert set(ow.learning_rates(state)) == {"embed", "head"} | {
        f"layer_{k}" for k in range(4)
    }
    # Adam's decays are found by a trial on arrays of one number.
    _, state = run(
        ow.record_moments(optax.chain(optax.scale_by_adam(), other)),
        stacked,
        [stacked] * 2,
    )
    assert ow.read_moments(state).b2 == pytest.approx(0.999)
