"""The rate that is reported is the rate that is applied, in every composition.

All gradients are ones, so Adam's direction is 1 in every coordinate, and what leaves
the optimizer is minus the rate. `oracle` has the rate of each update in float64, by
formulas of its own.
"""

import dataclasses
import json
import math
from typing import NamedTuple

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from compiled import quickly
from flax import nnx
from selection import parametrize

import optax_warmup as ow

PARAMS = {"w": jnp.linspace(0.5, 2.0, 6).reshape(2, 3), "b": jnp.ones(3)}
ONES = jax.tree.map(jnp.ones_like, PARAMS)
LABELS = {"w": "body", "b": "head"}
MASK = {"w": False, "b": True}
STEPS = 9
ADAM = 5e-5  # how exact its direction is in float32, with b2 = 0.999
A = optax.scale_by_adam
R = ow.scale_by_learning_rate
W = ow.scale_by_warmup
COSINE = ow.warmup_cosine(0.1, 4, 40)


def cosine(step):
    if step < 4:
        return 0.1 * step / 4
    return 0.1 * (1 + math.cos(math.pi * (step - 4) / 36)) / 2


def plateau(step):
    """The scale after `step` + 1 equal losses, with factor 0.5 and patience 2."""
    return 0.5 ** (step // 2)


def both(rate):
    return lambda step: {"w": rate(step), "b": rate(step)}


class Case(NamedTuple):
    """An optimizer, its rates by leaf in float64, and the name of each leaf's group."""

    optimizer: optax.GradientTransformation
    oracle: object
    names: dict
    schedule: object = None


def one(optimizer, rate, **more):
    return Case(optimizer, both(rate), {"w": "all", "b": "all"}, **more)


def parts(optimizer, body, head, **more):
    return Case(optimizer, lambda n: {"w": body(n), "b": head(n)}, LABELS, **more)


def masks(optimizer, inside, outside, name, **more):
    names = {"w": f"un{name}", "b": name}
    return Case(optimizer, lambda n: {"w": outside(n), "b": inside(n)}, names, **more)


def split(body, head):
    return optax.partition({"body": body, "head": head}, LABELS)


def multi(optimizer, k):
    wrapped = optax.MultiSteps(optimizer, k)
    return optax.GradientTransformationExtraArgs(wrapped.init, wrapped.update)


def never(state, **extra):
    return jnp.bool_(False)


def third(state, **extra):
    return state.count == 3


PLATEAU = {"factor": 0.5, "patience": 2, "rtol": 0.5}
CASES = {
    "a warmup factor": one(
        optax.chain(A(), R(0.1), W(ow.warmup(1.0, 100))), lambda n: 0.1 * n / 100
    ),
    "a plateau": one(
        optax.chain(A(), R(1e-3), ow.reduce_on_plateau(**PLATEAU)),
        lambda n: 1e-3 * plateau(n),
    ),
    "optax's plateau": one(
        optax.chain(A(), R(1e-3), optax.contrib.reduce_on_plateau(0.5, 2, rtol=0.5)),
        lambda n: 1e-3 * plateau(n),
    ),
    "adamw with a schedule": one(
        optax.adamw(COSINE, weight_decay=0.0), cosine, schedule=COSINE
    ),
    "adamw with a schedule and a factor": one(
        optax.chain(optax.adamw(COSINE, weight_decay=0.0), W(0.25)),
        lambda n: cosine(n) / 4,
        schedule=COSINE,
    ),
    "adam with a number": one(optax.adam(1e-3), lambda n: 1e-3, schedule=1e-3),
    "factors by partition": parts(
        optax.chain(A(), R(COSINE), split(W(0.1), optax.identity())),
        lambda n: cosine(n) / 10,
        cosine,
    ),
    "rates by partition": parts(
        split(optax.chain(A(), R(COSINE)), optax.chain(A(), R(0.2), W(0.5))),
        cosine,
        lambda n: 0.1,
    ),
    "rates and factors by partition": parts(
        optax.chain(
            split(optax.chain(A(), R(COSINE)), optax.chain(A(), R(0.2))),
            split(W(0.5), W(0.25)),
            W(0.5),
        ),
        lambda n: cosine(n) / 4,
        lambda n: 0.025,
    ),
    "optax's own by partition": parts(
        split(optax.adam(COSINE), optax.adam(0.2)),
        cosine,
        lambda n: 0.2,
        schedule={"body": COSINE, "head": 0.2},
    ),
    "optax's own and ours by partition": parts(
        split(optax.adam(COSINE), optax.chain(A(), R(0.2))),
        cosine,
        lambda n: 0.2,
        schedule=COSINE,
    ),
    "a partition that scales nothing": one(
        optax.chain(
            split(optax.chain(A(), optax.add_decayed_weights(0.0)), A()), R(COSINE)
        ),
        cosine,
    ),
    "nested partitions": Case(
        optax.partition(
            {
                "outer": optax.chain(A(), split(W(0.5), W(0.25)), R(COSINE)),
                "frozen": optax.set_to_zero(),
            },
            {"w": "outer", "b": "outer"},
        ),
        lambda n: {"w": cosine(n) / 2, "b": cosine(n) / 4},
        {"w": "outer/body", "b": "outer/head"},
    ),
    "a masked factor": masks(
        optax.chain(A(), R(COSINE), optax.masked(W(0.25), MASK)),
        lambda n: cosine(n) / 4,
        cosine,
        "masked_2",
    ),
    "two masked optimizers": Case(
        optax.chain(
            optax.masked(optax.chain(A(), R(COSINE)), {"w": True, "b": False}),
            optax.masked(optax.chain(A(), R(0.2)), MASK),
            W(0.5),
        ),
        lambda n: {"w": cosine(n) / 2, "b": 0.1},
        {"w": "w", "b": "b"},
    ),
    "injected": one(
        optax.inject_hyperparams(optax.adam)(learning_rate=0.3), lambda n: 0.3
    ),
    "injected, a schedule": one(
        optax.chain(optax.inject_hyperparams(optax.adam)(COSINE), W(0.5)),
        lambda n: cosine(n) / 2,
    ),
    "injected into ours": one(
        optax.inject_hyperparams(
            lambda learning_rate, share: optax.chain(
                A(), R(learning_rate), optax.scale(1.0), optax.scale(share)
            )
        )(learning_rate=COSINE, share=1.0),
        cosine,
    ),
    "a restart": one(
        ow.restart_if(optax.chain(A(), R(COSINE)), third),
        lambda n: cosine(n if n < 3 else n - 3),
    ),
    "a restart of the factor": one(
        optax.chain(
            A(), R(COSINE), ow.restart_if(W(ow.warmup(1.0, 8, offset=1)), third)
        ),
        lambda n: cosine(n) * min(1, ((n if n < 3 else n - 3) + 1) / 8),
    ),
    "no spike": one(
        ow.restart_on_spike(optax.chain(A(), R(COSINE), W(0.5))),
        lambda n: cosine(n) / 2,
    ),
    "guards": one(
        ow.skip_nonfinite(
            optax.apply_if_finite(optax.chain(A(), R(COSINE), W(0.5)), 3)
        ),
        lambda n: cosine(n) / 2,
    ),
    "MultiSteps around": one(
        multi(optax.chain(A(), R(COSINE), W(0.5)), 1), lambda n: cosine(n) / 2
    ),
    "MultiSteps inside": one(
        optax.chain(multi(A(), 1), R(COSINE), ow.restart_if(W(0.5), never)),
        lambda n: cosine(n) / 2,
    ),
    "a named chain": one(
        optax.named_chain(("optimizer", A()), ("a rate", R(COSINE)), ("b", W(0.5))),
        lambda n: cosine(n) / 2,
    ),
    "recorded": one(
        ow.record_moments(optax.chain(A(), R(COSINE), W(0.5))), lambda n: cosine(n) / 2
    ),
    "lookahead of the state": one(
        optax.chain(A(), R(COSINE), optax.conditionally_mask(W(0.5), lambda n: True)),
        lambda n: cosine(n) / 2,
    ),
}


@parametrize("name", CASES, quick=2)
def test_the_reported_rate_is_the_applied_rate(name):
    optimizer, wanted, names, schedule = CASES[name]

    @quickly
    def step(params, state):
        updates, state = optimizer.update(ONES, state, params, value=jnp.float32(1))
        traced = ow.learning_rates(state, schedule=schedule)
        return optax.apply_updates(params, updates), state, updates, traced

    params, state = PARAMS, optimizer.init(PARAMS)
    first = ow.learning_rates(state, schedule=schedule)
    for n in range(STEPS):
        params, state, updates, traced = step(params, state)
        rates = ow.learning_rates(state, schedule=schedule)
        assert set(rates) == set(names.values())
        assert all(type(rate) is float for rate in rates.values())
        assert json.loads(json.dumps(rates)) == rates
        for leaf, rate in wanted(n).items():
            reported = rates[names[leaf]]
            np.testing.assert_allclose(reported, rate, rtol=1e-6, atol=1e-12)
            np.testing.assert_allclose(-updates[leaf], rate, rtol=ADAM, atol=1e-9)
            np.testing.assert_allclose(traced[names[leaf]], rate, rtol=1e-6, atol=1e-12)
            assert traced[names[leaf]].shape == ()
        if n == 0:  # before the first update: what that one will use
            assert first == pytest.approx(rates, rel=1e-6)
        if len(rates) == 1:
            single = ow.learning_rate(state, schedule=schedule)
            assert single == next(iter(rates.values()))


@pytest.mark.parametrize("accumulated", ["around", "inside"])
def test_under_accumulation_it_is_the_rate_of_the_last_update_made(accumulated):
    """Inside it counts the updates, around it the microbatches."""
    if accumulated == "around":
        optimizer = multi(optax.chain(A(), R(COSINE), W(0.5)), 3)
        rates = [0, 0, 0, 0, 0, cosine(1) / 2, cosine(1) / 2, cosine(1) / 2]
        rates += [cosine(2) / 2]
    else:
        optimizer = optax.chain(multi(A(), 3), R(COSINE), W(0.5))
        rates = [cosine(n) / 2 for n in range(9)]
    state, update = optimizer.init(PARAMS), quickly(optimizer.update)
    for n, rate in enumerate(rates):
        updates, state = update(ONES, state, PARAMS)
        np.testing.assert_allclose(ow.learning_rate(state), rate, rtol=1e-6)
        if n % 3 == 2:
            np.testing.assert_allclose(-updates["b"], rate, rtol=ADAM)


def test_an_automatic_warmup_around_adamw_with_a_schedule():
    """The factor is measured by the updates: they are the rate times the direction."""
    optimizer = ow.automatic_warmup(optax.adamw(COSINE, weight_decay=0.0))
    params, state = PARAMS, optimizer.init(PARAMS)
    update, smaller = quickly(optimizer.update), 0
    for n in range(STEPS):
        updates, state = update(ONES, state, params)
        params = optax.apply_updates(params, updates)
        rate = ow.learning_rate(state, schedule=COSINE)
        if n:  # the first update is zero, and says nothing of the factor
            np.testing.assert_allclose(-updates["b"], rate, rtol=ADAM)
            smaller += rate < 0.99 * cosine(n)
        alone = ow.learning_rate(state, schedule=COSINE, factors=False)
        np.testing.assert_allclose(alone, cosine(n), rtol=1e-6, atol=1e-12)
    assert smaller > 3


def test_a_skipped_step_does_not_change_what_the_last_update_used():
    optimizer = ow.skip_nonfinite(optax.chain(A(), R(COSINE)))
    state = optimizer.init(PARAMS)
    for grads in (ONES, ONES, jax.tree.map(lambda g: g * jnp.nan, ONES)):
        _, state = optimizer.update(grads, state, PARAMS)
    np.testing.assert_allclose(ow.learning_rate(state), cosine(1), rtol=1e-6)


def test_replicas_have_rates_of_their_own():
    def rates(peak, share):
        optimizer = optax.chain(A(), R(ow.warmup_constant(peak, 4)), W(share))
        state = optimizer.init(PARAMS)
        for _ in range(3):
            updates, state = optimizer.update(ONES, state, PARAMS)
        return updates["b"][0], state

    updates, states = jax.vmap(rates)(jnp.array([1.0, 2.0]), jnp.array([0.5, 0.25]))
    found = ow.learning_rate(states)
    np.testing.assert_allclose(found, [0.25, 0.25])
    np.testing.assert_allclose(found, -updates, rtol=1e-5)
    state = jax.vmap(lambda _: optax.adamw(COSINE).init(PARAMS))(jnp.arange(2))
    assert ow.learning_rate(state, schedule=COSINE).shape == (2,)


def test_the_schedules_own_value_stays_readable():
    state = split(optax.chain(A(), R(0.5), W(0.25)), optax.chain(A(), R(0.125))).init(
        PARAMS
    )
    assert ow.learning_rates(state) == {"body": 0.125, "head": 0.125}
    assert ow.learning_rates(state, factors=False) == {"body": 0.5, "head": 0.125}


def test_muon_has_two_parts_with_one_schedule():
    optimizer = optax.contrib.muon(COSINE)
    state = optimizer.init(PARAMS)
    for _ in range(3):
        _, state = optimizer.update(ONES, state, PARAMS)
    got = ow.learning_rate(state, schedule=COSINE)
    np.testing.assert_allclose(got, cosine(2), rtol=1e-6)


@pytest.mark.parametrize(
    "make",
    [
        *(optax.adamw, optax.adamax, optax.radam, optax.amsgrad, optax.adabelief),
        *(optax.lamb, optax.lars, optax.lion, optax.sgd, optax.rmsprop, optax.adan),
        *(optax.adafactor, optax.novograd, optax.fromage, optax.optimistic_adam_v2),
        *(optax.contrib.ademamix, optax.contrib.schedule_free_adamw),
        *(optax.contrib.prodigy, optax.contrib.dadapt_adamw, optax.contrib.madgrad),
        *(optax.contrib.momo, optax.contrib.momo_adam),
        lambda schedule: optax.contrib.mechanize(optax.adam(schedule)),
        lambda schedule: optax.chain(optax.zero_nans(), optax.sgd(schedule, 0.9)),
        lambda schedule: optax.flatten(optax.adam(schedule)),
    ],
)
def test_the_schedule_in_any_optimizer_of_optaxs(make):
    optimizer = make(COSINE)
    state = optimizer.init(PARAMS)
    update = optax.with_extra_args_support(optimizer).update
    for _ in range(3):
        _, state = update(ONES, state, PARAMS, value=jnp.float32(1))
    got = ow.learning_rate(state, schedule=COSINE)
    np.testing.assert_allclose(got, cosine(2), rtol=1e-6)


def test_a_line_search_multiplies():
    def loss(x):
        return 4 * jnp.sum(jnp.square(x))

    optimizer = optax.chain(
        optax.sgd(0.5), optax.scale_by_backtracking_linesearch(10, store_grad=True)
    )
    params = jnp.ones(2)
    value, grad = jax.value_and_grad(loss)(params)
    updates, state = optimizer.update(
        grad, optimizer.init(params), params, value=value, grad=grad, value_fn=loss
    )
    rate = ow.learning_rate(state, schedule=0.5)
    np.testing.assert_allclose(-updates, rate * grad, rtol=1e-5)
    assert 0 < rate < 0.5


def test_frozen_parameters_have_no_rate():
    state = split(optax.chain(A(), R(0.5)), optax.set_to_zero()).init(PARAMS)
    assert ow.learning_rates(state) == {"body": 0.5}
    assert ow.learning_rate(state) == 0.5
    state = split(optax.adamw(COSINE), optax.set_to_zero()).init(PARAMS)
    assert ow.learning_rates(state, schedule=COSINE) == {"body": 0.0}


@jax.tree_util.register_dataclass
@dataclasses.dataclass
class DataclassState:
    """As an equinox Module is."""

    params: dict
    opt_state: tuple


class LinenTrainState(flax.struct.PyTreeNode):
    step: int
    params: dict
    opt_state: tuple
    tx: optax.GradientTransformation = flax.struct.field(pytree_node=False)


def test_containers_of_a_state():
    optimizer = optax.chain(A(), R(0.5), W(0.5))
    state = optimizer.init(PARAMS)
    model = nnx.Linear(2, 3, rngs=nnx.Rngs(0))
    for holder in (
        DataclassState(PARAMS, state),
        LinenTrainState(0, PARAMS, state, optimizer),
        nnx.Optimizer(model, optimizer, wrt=nnx.Param),
        {"params": PARAMS, "optimizer": state},
        (PARAMS, state),
    ):
        assert ow.learning_rates(holder) == {"all": 0.25}
    two = {"generator": state, "critic": A().init(PARAMS)}
    assert ow.learning_rate(two) == 0.25
    assert ow.learning_rate({"a": state, "z": A().init(PARAMS)}) == 0.25
    two["critic"] = optax.chain(A(), R(0.125)).init(PARAMS)
    assert ow.learning_rates(two) == {"generator": 0.25, "critic": 0.125}


def test_states_of_other_packages_take_part():
    class Halved(NamedTuple):
        half: jax.Array

        @property
        def update_scale(self):
            return self.half

    state = (*optax.chain(A(), R(0.5)).init(PARAMS), Halved(jnp.float32(0.5)))
    assert ow.learning_rate(state) == 0.25


PARTED = split(optax.chain(A(), R(0.5)), optax.chain(A(), R(0.25)))


@pytest.mark.parametrize(
    ("optimizer", "schedule", "message"),
    [
        (optax.adamw(COSINE), None, r"learning_rate\(opt_state, schedule=schedule\)"),
        (optax.adam(1e-3), None, r"holds no learning rate.*schedule=1e-3"),
        (optax.adam(1e-3), COSINE, r"counts no updates.*pass the number"),
        (optax.chain(A(), R(0.5)), COSINE, r"itself\. Leave schedule out"),
        (PARTED, None, r"2 groups .* \(body, head\).*learning_rates"),
        (PARTED, {"tail": 0.5}, r"key 'tail', but the groups .* are body, head"),
        (PARTED, {"body": 0.5}, r"holds the learning rate of body itself"),
        (
            split(optax.chain(A(), R(0.5)), optax.adam(1e-2)),
            None,
            r"no learning rate for head.*schedule=\{'head': 1e-3\}",
        ),
        (
            split(optax.chain(A(), R(0.5)), optax.adam(COSINE)),
            None,
            r"of head\. .*schedule=\{'head': schedule\}",
        ),
        (
            split(optax.adam(COSINE), optax.adam(1e-2)),
            COSINE,
            r"counts no updates of a schedule of head.*\{'head': 1e-3\}",
        ),
        (
            optax.chain(A(), R(0.5), R(COSINE)),
            None,
            r"two learning rates .* at 1 and 2 .*climb.*scale_by_warmup\(factor\)",
        ),
        (
            optax.chain(optax.adamw(COSINE), R(0.5)),
            None,
            r"two learning rates .* at 1 and 0/2",
        ),
        (
            optax.chain(A(), R(0.5), optax.masked(R(0.5), MASK)),
            None,
            "two learning rates",
        ),
        (
            optax.chain(R(0.5), A()),
            None,
            "scale at 0 .* in front of the optimizer at 1,.* no effect. Put it behind",
        ),
        (optax.chain(W(0.5), A(), R(0.5)), None, "scale at 0 .* no effect"),
        (optax.chain(R(0.5), ow.skip_nonfinite(A())), None, "at 0 .* no effect"),
        (optax.adam(1e-3), "1e-3", "schedule must be"),
        (optax.adam(1e-3), -1.0, "schedule must be"),
    ],
)
def test_what_cannot_be_told_is_an_error_with_the_way_out(optimizer, schedule, message):
    state = optimizer.init(PARAMS)
    with pytest.raises((ValueError, TypeError), match=message):
        ow.learning_rate(state, schedule=schedule)


def test_what_only_some_groups_show_is_returned_by_learning_rates():
    state = split(optax.chain(A(), R(0.5)), optax.adam(1e-2)).init(PARAMS)
    assert ow.learning_rates(state) == {"body": 0.5}
    both = ow.learning_rates(state, schedule={"head": 1e-2})
    assert both == {"body": 0.5, "head": pytest.approx(1e-2)}


def test_independent_weight_decay_has_its_own_rate():
    """The recipe: a factor in place of optax.scale, which leaves no trace."""
    optimizer = optax.chain(A(), W(1e-2), optax.add_decayed_weights(0.1), R(COSINE))
    state = optimizer.init(PARAMS)
    for _ in range(3):
        updates, state = optimizer.update(ONES, state, PARAMS)
    rate = ow.learning_rate(state)
    np.testing.assert_allclose(rate, 1e-2 * cosine(2), rtol=1e-6)
    decay = 0.1 * ow.learning_rate(state, factors=False)
    wanted = -rate - decay * np.asarray(PARAMS["w"], np.float64)
    np.testing.assert_allclose(updates["w"], wanted, rtol=1e-5)


def test_a_mask_of_weight_decay_inside_a_group_is_no_group():
    schedule = ow.warmup_cosine(1e-2, 10, 100, offset=1)
    params = {"w": jnp.ones((8, 8)), "b": jnp.zeros(8)}

    def matrices(tree):
        return jax.tree.map(lambda x: x.ndim > 1, tree)

    labels = {"w": "body", "b": "head"}
    groups = {"body": optax.adamw(schedule, mask=matrices), "head": optax.adamw(0.5)}
    state = optax.partition(groups, labels).init(params)
    found = ow.learning_rates(state, schedule={"body": schedule, "head": 0.5})
    assert found == pytest.approx({"body": 1e-3, "head": 0.5})

    def own(rate, mask=None):
        decay = optax.add_decayed_weights(0.1, mask=mask)
        return optax.chain(
            optax.scale_by_adam(), decay, ow.scale_by_learning_rate(rate)
        )

    groups = {"body": own(schedule, matrices), "head": own(0.1, matrices)}
    state = optax.partition(groups, labels).init(params)
    assert ow.learning_rates(state) == pytest.approx({"body": 1e-3, "head": 0.1})


def test_labels_of_a_partition_may_be_numbers():
    params = {"w": jnp.ones(8), "b": jnp.zeros(8)}
    groups = {0: optax.adam(ow.constant(0.1)), 1: optax.adam(ow.constant(0.2))}
    state = optax.partition(groups, {"w": 0, "b": 1}).init(params)
    found = ow.learning_rates(state, schedule={0: 0.1, 1: 0.2})
    assert found == pytest.approx({"0": 0.1, "1": 0.2})
