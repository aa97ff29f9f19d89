"""Rules: which array gets which, tables, masks and what is refused."""

import copy
import pickle
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import optax_warmup as ow
from optax_warmup.groups import (
    Rule,
    combine,
    decay_mask,
    labels,
    layerwise_decay,
    mup_adam,
    scale_by_rules,
    scale_eps,
    table,
    trained_mask,
)

PARAMS = {
    "embed": jnp.ones((4, 2)),
    "layers": [{"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)} for _ in range(2)],
    "head": {"kernel": jnp.ones((2, 3)), "bias": jnp.ones(3)},
}
ALL = Rule(".*", name="all")


def rules_of(rules, params=PARAMS):
    return {row.path: row.rule for row in table(rules, params).rows}


MATCHES = {
    "a regular expression is searched": "kernel",
    "compiled": re.compile("KERNEL", re.IGNORECASE),
    "a function of the path": lambda path: path.endswith("kernel"),
    "one with a captured default": lambda path, end="kernel": path.endswith(end),
    "of the path and the array": lambda path, array: (
        len(array.shape) == 2 and path != "embed"
    ),
    "NumPy's bool": lambda path: np.bool_("kernel" in path),
}


@pytest.mark.parametrize("name", MATCHES)
def test_the_ways_to_match(name):
    found = rules_of([Rule(MATCHES[name], name="kernels"), ALL])
    kernels = {path for path, rule in found.items() if rule == "kernels"}
    assert kernels == {"head/kernel", "layers/0/kernel", "layers/1/kernel"}


def test_the_first_that_matches_counts_and_the_table_tells_the_others():
    found = table([Rule("^head", name="head"), Rule("bias$", name="bias"), ALL], PARAMS)
    rows = {row.path: row for row in found.rows}
    assert rows["head/bias"].rule == "head" and rows["head/bias"].also == ("bias",)
    assert rows["layers/0/bias"].rule == "bias" and rows["layers/0/bias"].also == ()
    assert "also matches" in str(found)
    assert "also matches" not in str(table([ALL], PARAMS))
    assert len(str(found).splitlines()) == 1 + len(jax.tree.leaves(PARAMS))


def test_paths_of_other_trees():
    model = nnx.Linear(2, 3, rngs=nnx.Rngs(0))
    state = nnx.state(model, nnx.Param)
    assert rules_of([ALL], state) == {"bias": "all", "kernel": "all"}
    optimizer = nnx.Optimizer(
        model, scale_by_rules([Rule("bias", frozen=True), ALL], 0.5), wrt=nnx.Param
    )
    before = model.bias[...]
    optimizer.update(model, nnx.grad(lambda m: jnp.sum(m(jnp.ones((1, 2)))))(model))
    assert (model.bias[...] == before).all()
    assert ow.learning_rate(optimizer) == 0.5
    haiku = {"mlp/~/linear_0": {"w": jnp.ones(2)}}
    assert rules_of([Rule("linear_0/w$", name="w")], haiku) == {"mlp/~/linear_0/w": "w"}


def test_a_rule_is_a_value():
    rule = Rule("^head", multiplier=ow.warmup(1.0, 5), decay_multiplier=0, name="head")
    text = (
        "groups.Rule('^head', multiplier=warmup(constant(1.0), steps=5), "
        "decay_multiplier=0.0, name='head')"
    )
    assert repr(rule) == text
    assert eval(text, {"groups": ow.groups, **vars(ow)}) == rule
    assert pickle.loads(pickle.dumps(rule)) == rule == copy.deepcopy(rule)
    layers = layerwise_decay(0.5, embed="^e", head=None)
    assert eval(repr(layers), {"groups": ow.groups}) == layers
    assert repr(combine([rule], layers)) == f"groups.combine([{text}], {layers!r})"
    with pytest.raises(AttributeError):
        rule.name = "other"


def test_sets_are_combined():
    no_decay = [Rule("bias$", decay_multiplier=0, name="bias"), ALL]
    layers = layerwise_decay(0.5, embed="^embed", head="^head")
    tuned = [Rule("^head", multiplier=3.0, name="tuned"), Rule(".*", name="as is")]
    rows = {r.path: r for r in table(combine(no_decay, layers, tuned), PARAMS).rows}
    assert rows["head/bias"].multiplier == (3.0,)
    assert rows["head/bias"].decay_multiplier == (0.0,)
    assert rows["layers/0/kernel"].multiplier == (0.25,)
    assert rows["layers/0/kernel"].rule == "all / layer_0 / as is"
    transform = scale_by_rules(
        combine(no_decay, layers, tuned), 1.0, weight_decay=0.1, flip_sign=False
    )
    state = transform.init(PARAMS)
    wanted = {"embed": 0.125, "layer_0": 0.25, "layer_1": 0.5, "head": 3.0}
    named = {
        name.split("/")[0]: rate for name, rate in ow.learning_rates(state).items()
    }
    assert named == pytest.approx(wanted)
    updates, _ = transform.update(PARAMS, state, PARAMS)
    np.testing.assert_allclose(updates["layers"][0]["kernel"], 0.25 * 1.1)
    np.testing.assert_allclose(updates["layers"][0]["bias"], 0.25)


def test_frozen_by_one_of_several_sets_is_frozen():
    frozen = [Rule("^layers/0", frozen=True), ALL]
    rules = combine(layerwise_decay(0.5, embed="^embed", head="^head"), frozen)
    mask = trained_mask(rules)(PARAMS)
    assert mask["layers"] == [
        {"kernel": False, "bias": False},
        {"kernel": True, "bias": True},
    ]
    rates = ow.learning_rates(scale_by_rules(rules, 1.0).init(PARAMS))
    assert sorted(rates.values()) == [0.125, 0.5, 1.0]


def test_groups_of_equal_rate_are_one_and_others_have_different_names():
    same = [Rule("kernel", name="k"), Rule("bias", name="b"), ALL]
    assert ow.learning_rate(scale_by_rules(same, 0.5).init(PARAMS)) == 0.5
    unnamed = [Rule(lambda p: "k" in p, multiplier=0.5), Rule(lambda p: True)]
    rates = ow.learning_rates(scale_by_rules(unnamed, 1.0).init(PARAMS))
    assert rates == {"<lambda>": 0.5, "<lambda> (2)": 1.0}
    assert set(rules_of(unnamed).values()) == set(rates)


@pytest.mark.parametrize(
    "first",
    [
        Rule("k", name="x", multiplier=0.5),
        Rule("k", name="x", multiplier=ow.warmup(1.0, 5)),
        Rule("k", name="x", learning_rate=0.5),
        Rule("k", name="x", frozen=True),
    ],
)
def test_one_name_for_different_rates_is_refused(first):
    other = Rule(".*", name="x", decay_multiplier=0)
    for use in (scale_by_rules, labels, trained_mask):
        with pytest.raises(ValueError, match="different rates have the name 'x'"):
            use([first, other])
    decay_alone = [Rule("k", name="x"), other]
    assert set(rules_of(decay_alone).values()) == {"x"}


def test_two_arrays_with_one_path_are_refused():
    params = {"a/b": jnp.ones(2), "a": {"b": jnp.ones(2)}}
    for use in (scale_by_rules([ALL], 0.5).init, labels([ALL]), trained_mask([ALL])):
        with pytest.raises(ValueError, match=r"path 'a/b', params\['a'\]\['b'\] and"):
            use(params)


def test_a_rate_in_front_of_adam_is_told_to_flip_the_sign():
    def state(*args):
        return optax.chain(scale_by_rules([ALL], *args), optax.adamw(1e-3)).init(PARAMS)

    with pytest.raises(ValueError, match=r"no effect\..* only flips the sign"):
        ow.learning_rates(state(0.5))
    with pytest.raises(ValueError, match=r"in the chain\.$"):
        ow.learning_rates(state())
    chain = optax.chain(scale_by_rules([ALL], 0.5), optax.adamw(1e-3))
    with pytest.raises(ValueError, match=r"no effect\..* only flips the sign"):
        ow.record_moments(chain).init(PARAMS)


def test_a_record_has_the_rates_of_rules_behind_adamw_if_it_gets_the_schedule():
    rules = [Rule("^head", multiplier=0.1, name="head"), ALL]
    schedule = ow.warmup(1.0, 4, offset=1)
    optimizer = ow.record_moments(
        optax.chain(optax.adamw(schedule), scale_by_rules(rules))
    )
    state = optimizer.init(PARAMS)
    _, state = optimizer.update(PARAMS, state, PARAMS)
    told = ow.read_moments(state, schedule=schedule).scalars
    np.testing.assert_allclose(told["learning_rate/all"], [0.25])
    np.testing.assert_allclose(told["learning_rate/head"], [0.025], rtol=1e-6)
    assert np.isnan(ow.read_moments(state).scalars["learning_rate/head"]).all()


def test_masks_and_labels_for_optax():
    rules = [Rule("bias", decay_multiplier=0), Rule("embed", frozen=True), ALL]
    assert decay_mask(rules)(PARAMS)["head"] == {"kernel": True, "bias": False}
    assert decay_mask(rules)(PARAMS)["embed"] is False
    named = labels(rules)
    assert named(PARAMS)["embed"] == "embed"
    parts = {
        "bias": optax.sgd(0.5),
        "embed": optax.set_to_zero(),
        "all": optax.sgd(1.0),
    }
    optimizer = optax.partition(parts, named)
    updates, _ = optimizer.update(PARAMS, optimizer.init(PARAMS), PARAMS)
    assert updates["head"]["bias"][0] == -0.5 and updates["embed"][0, 0] == 0
    decayed = optax.adamw(1e-3, weight_decay=0.1, mask=decay_mask(rules))
    zeros = jax.tree.map(jnp.zeros_like, PARAMS)
    updates, _ = decayed.update(zeros, decayed.init(PARAMS), PARAMS)
    assert updates["head"]["kernel"][0, 0] < 0 and updates["head"]["bias"][0] == 0


def test_eps_by_rules_is_that_of_adam():
    """In front of Adam a multiplier of eps equals Adam with that eps."""
    rules = [Rule("bias", multiplier=8.0), Rule(".*", multiplier=0.25)]
    transform = optax.chain(scale_eps(rules), optax.scale_by_adam(eps=0.1))
    updates, _ = transform.update(PARAMS, transform.init(PARAMS))
    for name, eps in (("bias", 0.8), ("kernel", 0.025)):
        alone = optax.scale_by_adam(eps=eps)
        grads = PARAMS["head"][name]
        wanted, _ = alone.update(grads, alone.init(grads))
        np.testing.assert_allclose(updates["head"][name], wanted, rtol=1e-6)


# Bad input

BAD_RULES = {
    "number as match": (lambda: Rule(3), "match regular expression 3"),
    "broken expression": (lambda: Rule("(a"), "match regular expression '(a'"),
    "empty expression": (lambda: Rule(""), "match empty"),
    "bytes": (lambda: Rule(re.compile(b"a")), "match text"),
    "function of nothing": (lambda: Rule(lambda: True), "match function of (path"),
    "class": (lambda: Rule(dict), "match function dict"),
    "negative": (lambda: Rule("a", multiplier=-1), "multiplier >= 0 -1"),
    "NaN": (lambda: Rule("a", multiplier=float("nan")), "multiplier finite nan"),
    "text": (lambda: Rule("a", multiplier="x"), "multiplier number 'x'"),
    "an array": (lambda: Rule("a", multiplier=jnp.ones(2)), "multiplier number"),
    "negative rate": (lambda: Rule("a", learning_rate=-0.1), "learning_rate >= 0"),
    "negative decay": (lambda: Rule("a", decay_multiplier=-1), "decay_multiplier >= 0"),
    "frozen 1": (lambda: Rule("a", frozen=1), "frozen True or False 1"),
    "optional": (lambda: Rule("a", optional="no"), "optional True or False 'no'"),
    "name": (lambda: Rule("a", name=3), "name string 3"),
    "frozen, with a rate": (
        lambda: Rule("a", frozen=True, learning_rate=1.0),
        "frozen learning_rate",
    ),
    "no list": (lambda: scale_by_rules("a"), "rules list groups.Rule 'a'"),
    "one rule": (lambda: scale_by_rules(Rule("a")), "rules list"),
    "none": (lambda: scale_by_rules([]), "rules empty"),
    "a pattern in it": (lambda: scale_by_rules(["a"]), "rules[0] Rule 'a'"),
    "a set in it": (
        lambda: scale_by_rules([layerwise_decay(0.5, embed=None, head=None)]),
        "rules[0] Rule combine",
    ),
    "one twice": (lambda: scale_by_rules([ALL, ALL]), "rules[1] twice"),
    "negative common rate": (lambda: scale_by_rules([ALL], -1), "learning_rate >= 0"),
    "rates": (lambda: scale_by_rules([ALL], [0.1]), "learning_rate [0.1]"),
    "decay": (
        lambda: scale_by_rules([ALL], 1.0, weight_decay=-0.1),
        "weight_decay >= 0 -0.1",
    ),
    "flip": (lambda: scale_by_rules([ALL], 1.0, flip_sign=1), "flip_sign True 1"),
    "one set": (lambda: combine([ALL]), "combine two or more 1"),
    "layer decay 0": (
        lambda: layerwise_decay(0.0, embed=None, head=None),
        "decay > 0 0.0",
    ),
    "layer decay 2": (
        lambda: layerwise_decay(2, embed=None, head=None),
        "decay <= 1 2",
    ),
    "negative gap": (
        lambda: layerwise_decay(0.5, embed=None, head=None, head_gap=-1),
        "head_gap >= 0 -1",
    ),
    "embed": (lambda: layerwise_decay(0.5, embed=1, head=None), "embed regular 1"),
    "no group in layers": (
        lambda: layerwise_decay(0.5, embed=None, head=None, layers="layers"),
        "layers group 'layers'",
    ),
    "layers and stacked": (
        lambda: layerwise_decay(
            0.5, embed=None, head=None, layers=r"(\d+)", stacked="a"
        ),
        "layers stacked not both",
    ),
    "no base": (lambda: mup_adam({}), "base_params no arrays"),
    "base of text": (lambda: mup_adam({"w": "x"}), "base_params tree 'x'"),
    "readout": (
        lambda: mup_adam({"w": jnp.ones(2)}, readout_multiplier=2),
        "readout_multiplier True 2",
    ),
}


@pytest.mark.parametrize("name", BAD_RULES)
def test_what_cannot_be_meant_is_refused_when_it_is_built(name):
    build, words = BAD_RULES[name]
    with pytest.raises((TypeError, ValueError)) as caught:
        build()
    for word in ("groups.", *words.split()):
        assert word in str(caught.value)


LLRD = layerwise_decay(0.5, embed="^embed", head="^head")
MISFITS = {
    "matches nothing": (lambda: [Rule("conv"), ALL], "'conv' matches nothing embed"),
    "taken by earlier rules": (
        lambda: [Rule("^head", name="head"), ALL, Rule("bias")],
        "'bias' only earlier all head front",
    ),
    "an array without a rule": (lambda: [Rule("kernel")], "no rule embed Rule('.*')"),
    "no bool": (lambda: [Rule(lambda path: 1), ALL], "True or False 1 for"),
    "some rates": (
        lambda: [Rule("bias", learning_rate=0.1), ALL],
        "own others all none learning_rate=",
    ),
    "decay of nothing": (
        lambda: [Rule("bias", decay_multiplier=0), ALL],
        "decay multipliers head/bias weight_decay=0.0 decay_mask",
    ),
    "two rates for one": (
        lambda: combine(
            [Rule("bias", learning_rate=0.1), ALL],
            [Rule("^head", learning_rate=0.2), ALL],
        ),
        "two rules head/bias learning rate",
    ),
    "embed matches nothing": (
        lambda: layerwise_decay(0.5, embed="^emb$", head="^head"),
        "embed='^emb$' matches nothing",
    ),
    "embed and head overlap": (
        lambda: layerwise_decay(0.5, embed="^embed|bias", head="^head"),
        "head/bias both embed head",
    ),
    "no layer": (
        lambda: layerwise_decay(0.5, embed=None, head="^head"),
        "no layer embed stacked=",
    ),
    "stacked and not": (
        lambda: layerwise_decay(0.5, embed="^embed", head="^head", stacked="^layers/0"),
        "stacked layers/1/bias neither",
    ),
    "stacks of different size": (
        lambda: layerwise_decay(0.5, embed="^embed", head=None, stacked="^[lh]"),
        "slice first axis (3,)",
    ),
    "a negative layer": (
        lambda: layerwise_decay(0.5, embed=None, head=None, layers=lambda path: -1),
        ">= 0 -1 embed",
    ),
    "a layer that is no number": (
        lambda: layerwise_decay(0.5, embed=None, head=None, layers=lambda path: True),
        ">= 0 True embed",
    ),
}


@pytest.mark.parametrize("name", MISFITS)
def test_what_does_not_fit_the_parameters_is_refused_at_init(name):
    build, words = MISFITS[name]
    with pytest.raises((TypeError, ValueError)) as caught:
        scale_by_rules(build()).init(PARAMS)
    for word in ("groups.scale_by_rules:", *words.split()):
        assert word in str(caught.value)


def test_what_contradicts_the_other_arguments_is_refused_at_init():
    own = [Rule(".*", learning_rate=0.1)]
    with pytest.raises(ValueError, match="learning_rate is used for no array"):
        scale_by_rules(own, 0.1).init(PARAMS)
    with pytest.raises(ValueError, match="weight_decay follows the learning rate"):
        scale_by_rules([ALL], weight_decay=0.1).init(PARAMS)
    with pytest.raises(ValueError, match="update needs params"):
        transform = scale_by_rules([ALL], 1.0, weight_decay=0.1)
        transform.update(PARAMS, transform.init(PARAMS))
    for bad in ({"multiplier": ow.warmup(1.0, 3)}, {"frozen": True}):
        with pytest.raises(ValueError, match=r"scale_eps: .*multipliers only"):
            scale_eps([Rule(".*", **bad)]).init(PARAMS)
    with pytest.raises(ValueError, match=r"scale_eps: multiplier must be > 0, got 0.0"):
        scale_eps([Rule(".*", multiplier=0)]).init(PARAMS)
    with pytest.raises(ValueError, match="which a mask cannot say"):
        decay_mask([Rule(".*", decay_multiplier=0.5)])(PARAMS)
    stacked = layerwise_decay(0.5, embed=None, head=None, stacked=".*")
    with pytest.raises(ValueError, match="slices of w have different rules"):
        labels(stacked)({"w": jnp.ones((3, 2))})


def test_what_may_match_nothing():
    rules = [Rule("conv", optional=True), ALL, Rule("bias", optional=True)]
    assert set(rules_of(rules).values()) == {"all"}
    # Weights that no longer decay, because nothing does.
    quiet = [Rule("bias", decay_multiplier=0), ALL]
    scale_by_rules(quiet, weight_decay=0.0).init(PARAMS)
