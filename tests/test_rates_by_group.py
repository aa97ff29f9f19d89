"""Which group a rate is of, what it is called, and how its schedule is given."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from compiled import quickly

import optax_warmup as ow

A, R, W = optax.scale_by_adam, ow.scale_by_learning_rate, ow.scale_by_warmup
S = ow.warmup(0.2, 4, offset=1)  # 0.05 in the first update
PARAMS = {
    "encoder": [
        {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)},
        {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)},
        {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)},
    ],
    "head": {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)},
}
ENCODER, HEAD = {"encoder": True, "head": False}, {"encoder": False, "head": True}
LABELS = {"encoder": "body", "head": "top"}


def kernels(tree):
    return jax.tree_util.tree_map_with_path(
        lambda path, _: "kernel" in jax.tree_util.keystr(path), tree
    )


def biases(tree):
    return jax.tree.map(lambda inside: not inside, kernels(tree))


def masks(one, first, other, second):
    return optax.chain(optax.masked(one, first), optax.masked(other, second))


def adam(rate):
    return optax.chain(A(), R(rate))


BOTH = masks(adam(0.5), ENCODER, adam(0.25), HEAD)
NAMED = {
    "branches": (BOTH, {"encoder": 0.5, "head": 0.25}),
    "leaves of all layers": (
        masks(adam(0.5), kernels, adam(0.25), biases),
        {
            "encoder/*/kernel+head/kernel": 0.5,
            "encoder/*/bias+head/bias": 0.25,
        },
    ),
    "the parameters that a mask leaves out": (
        optax.chain(optax.masked(optax.chain(A(), W(0.5)), ENCODER), R(0.5)),
        {"encoder": 0.25, "head": 0.5},
    ),
    "masks that meet": (
        optax.chain(
            optax.masked(optax.chain(optax.trace(0.9), W(0.5)), ENCODER),
            optax.masked(optax.chain(optax.trace(0.9), W(0.5)), kernels),
            R(1.0),
        ),
        {
            "encoder/0/kernel+encoder/1/kernel+encoder/2/kernel": 0.25,
            "encoder/0/bias+encoder/1/bias+encoder/2/bias": 0.5,
            "head/kernel": 0.5,
            "head/bias": 1.0,
        },
    ),
    "a mask in a part": (
        optax.partition(
            {"body": masks(adam(0.5), kernels, adam(0.25), biases), "top": adam(0.1)},
            LABELS,
        ),
        {
            "body/encoder/0/kernel+encoder/1/kernel+encoder/2/kernel": 0.5,
            "body/encoder/0/bias+encoder/1/bias+encoder/2/bias": 0.25,
            "top": 0.1,
        },
    ),
    "a partition in a mask": (
        masks(
            optax.partition({"body": adam(0.5), "top": adam(0.1)}, LABELS),
            kernels,
            adam(0.25),
            biases,
        ),
        {
            "body/encoder/0/kernel+encoder/1/kernel+encoder/2/kernel": 0.5,
            "top/head/kernel": 0.1,
            "encoder/*/bias+head/bias": 0.25,
        },
    ),
    "masks that let all through, or nothing": (
        masks(
            adam(0.5),
            lambda tree: jax.tree.map(lambda _: True, tree),
            adam(0.25),
            lambda tree: jax.tree.map(lambda _: False, tree),
        ),
        {"all": 0.5},
    ),
    "a factor shows no parameters": (
        optax.chain(A(), R(0.5), optax.masked(W(0.5), kernels)),
        {"masked_2": 0.25, "unmasked_2": 0.5},
    ),
}


@pytest.mark.parametrize("name", NAMED)
def test_masks_are_named_by_the_paths_of_their_parameters(name):
    optimizer, wanted = NAMED[name]
    assert ow.learning_rates(optimizer.init(PARAMS)) == pytest.approx(wanted)


PARTED = optax.partition(
    {"body": optax.masked(optax.adamw(S), kernels), "top": adam(0.1)}, LABELS
)
IN_BODY = "body/encoder/0/kernel+encoder/1/kernel+encoder/2/kernel"


@pytest.mark.parametrize("schedule", [S, {"body": S}, {IN_BODY: S}])
def test_a_masked_optimizer_in_a_part_is_given_its_schedule(schedule):
    state = PARTED.init(PARAMS)
    found = ow.learning_rates(state, schedule=schedule)
    assert found == pytest.approx({IN_BODY: 0.05, "top": 0.1})
    with pytest.raises(ValueError, match=rf"key 'tail', but .* are {IN_BODY[:12]}"):
        ow.learning_rates(state, schedule={"tail": S})


def test_two_masks_in_a_part_share_its_schedule():
    part = masks(optax.adamw(S), kernels, optax.adamw(S), biases)
    both = optax.partition({"body": part, "top": adam(0.1)}, LABELS)
    found = ow.learning_rates(both.init(PARAMS), schedule={"body": S})
    assert sorted(found.values()) == pytest.approx([0.05, 0.05, 0.1])


@pytest.mark.parametrize("second", ["b", "bc"])
def test_masks_that_overlap_give_a_parameter_two_rates(second):
    params = dict.fromkeys("abc", jnp.ones(2))

    def part(rate, names):
        adam = optax.chain(optax.scale_by_adam(), ow.scale_by_learning_rate(rate))
        return optax.masked(adam, {name: name in names for name in params})

    both = optax.chain(part(0.01, "ab"), part(0.5, second))
    for read in (ow.learning_rate, ow.learning_rates):
        with pytest.raises(ValueError, match="two learning rates act on the same"):
            read(both.init(params))
    with pytest.raises(ValueError, match="two learning rates"):
        ow.skip_nonfinite(both).init(params)
    apart = optax.chain(part(0.01, "a"), part(0.5, "bc")).init(params)
    assert ow.learning_rates(apart) == pytest.approx({"a": 0.01, "b+c": 0.5})


@pytest.mark.parametrize("reader", [ow.learning_rate, ow.learning_rates])
def test_what_is_no_state_is_refused_with_the_way_out(reader):
    for optimizer in (adam(0.1), optax.MultiSteps(adam(0.1), 2)):
        with pytest.raises(TypeError, match=r"the optimizer itself\. Pass the state"):
            reader(optimizer)
    adam_state = {"count": np.int32(0), "mu": np.ones(2), "nu": np.ones(2)}
    for restored in ([adam_state, {}], {"0": adam_state}, {"state": [adam_state]}):
        with pytest.raises(ValueError, match=r"restored without a target.*StandardRes"):
            reader(restored)


def test_a_record_is_read_from_a_state():
    optimizer = ow.record_moments(adam(0.1))
    with pytest.raises(TypeError, match=r"^read_moments: .*the optimizer itself"):
        ow.read_moments(optimizer)


# The record: what the states tell, with a schedule that is given; what is measured

FEW = {"w": jnp.linspace(0.5, 2.0, 12).reshape(4, 3), "b": jnp.linspace(-1.0, 1.0, 5)}


def gradient(step, like):
    return jax.tree.map(
        lambda p: jax.random.normal(jax.random.key(9 * step + p.size), p.shape) + 0.3,
        like,
    )


def recorded(optimizer, schedule=None, steps=8, params=FEW, **options):
    optimizer = ow.record_moments(optimizer, **options)
    state, update = optimizer.init(params), quickly(optimizer.update)
    like = getattr(params, "fast", params)
    for step in range(steps):
        updates, state = update(gradient(step, like), state, params)
        params = optax.apply_updates(params, updates)
    return ow.read_moments(state, schedule=schedule)


RATES = [S(n) for n in range(8)]


@pytest.mark.parametrize("make", [optax.adamw, optax.nadamw, optax.amsgrad])
def test_with_its_schedule_the_record_tells_the_exact_rate(make):
    history = recorded(make(S), S)
    np.testing.assert_array_equal(history.learning_rate, RATES)
    assert history.learning_rate_exact.all()
    applied = history.overall["applied_rate"]
    np.testing.assert_allclose(applied, RATES, rtol=2e-5)
    np.testing.assert_allclose(history.overall["update_explained"], 1, rtol=1e-6)


@pytest.mark.parametrize(
    "direction", [optax.scale_by_amsgrad, lambda: A(nesterov=True)]
)
def test_what_a_state_tells_of_amsgrad_and_nadam_is_what_they_apply(direction):
    for hidden in (1.0, 0.1):
        history = recorded(optax.chain(direction(), R(S), optax.scale(hidden)))
        wanted = np.multiply(hidden, RATES)
        np.testing.assert_allclose(history.learning_rate, wanted, rtol=2e-5)
        assert history.learning_rate_exact.all()


def test_a_rate_that_the_updates_do_not_show_is_said_not_to_be_exact():
    told = recorded(optax.radam(S), S)
    np.testing.assert_array_equal(told.learning_rate, RATES)
    assert not told.learning_rate_exact[:5].any()
    assert "rate-estimated" in {a.code for a in ow.diagnostics.advise(told)}
    measured = recorded(optax.radam(S))
    assert not measured.learning_rate_exact.any()


def test_groups_get_their_schedules_by_name():
    labels = {"w": "body", "b": "head"}
    parts = {"body": optax.adamw(S), "head": optax.chain(A(), R(0.01), W(0.5))}
    history = recorded(optax.partition(parts, labels), {"body": S})
    assert set(history.scalars) == {"learning_rate/body", "learning_rate/head"} | {
        "warmup_factor"
    } - {"warmup_factor"}
    np.testing.assert_allclose(history.scalars["learning_rate/body"], RATES)
    np.testing.assert_allclose(history.scalars["learning_rate/head"], 0.005, rtol=1e-6)
    with pytest.raises(ValueError, match="^read_moments: schedule has the key 'tail'"):
        recorded(optax.partition(parts, labels), {"tail": S}, steps=1)


def test_a_record_around_lookahead_is_of_the_fast_parameters():
    both = optax.LookaheadParams(FEW, FEW)
    history = recorded(optax.lookahead(adam(S), 100, 0.5), params=both)
    np.testing.assert_allclose(history.learning_rate, RATES, rtol=2e-5)
    alone = recorded(adam(S))
    for name in ("update_rms", "nu_hat_rms", "gradient_norm"):
        np.testing.assert_allclose(
            history.overall[name], alone.overall[name], rtol=1e-5
        )


# What is refused at init


@pytest.mark.parametrize("make", [optax.adamax, optax.adamaxw])
def test_adamax_keeps_no_second_moments(make):
    with pytest.raises(ValueError, match="^record_moments: .*adamax keeps a maximum"):
        ow.record_moments(make(0.1)).init(FEW)


GUARDS = {
    "skip_nonfinite": ow.skip_nonfinite,
    "apply_if_finite": lambda inner: optax.apply_if_finite(inner, 3),
    "restart_if": lambda inner: ow.restart_if(inner, lambda state, **extra: False),
    "multi_steps": lambda inner: optax.MultiSteps(inner, 2).gradient_transformation(),
}


@pytest.mark.parametrize("name", GUARDS)
def test_a_guard_around_one_part_of_a_record_is_refused(name):
    guarded = GUARDS[name](adam(0.1))
    for optimizer in (
        optax.partition({"body": guarded, "top": adam(0.1)}, LABELS),
        masks(guarded, ENCODER, adam(0.1), HEAD),
    ):
        message = rf"^record_moments: in inner {name} at .* one part .* Put {name}"
        with pytest.raises(ValueError, match=message):
            ow.record_moments(optimizer).init(PARAMS)
    for optimizer in (
        GUARDS[name](optax.partition({"body": adam(0.1), "top": adam(0.1)}, LABELS)),
        optax.partition({"body": ow.record_moments(guarded), "top": adam(0.1)}, LABELS),
        optax.partition({"body": guarded, "top": optax.sgd(0.1)}, LABELS),
    ):
        optimizer.init(PARAMS)


@pytest.mark.parametrize(
    "make",
    [optax.contrib.prodigy, optax.contrib.dadapt_adamw],
    ids=lambda f: f.__name__,
)
def test_prodigy_is_not_warmed_up_from_0(make):
    """It is NaN within two updates; one step up the ramp it trains."""
    from_zero, offset = ow.warmup(1.0, 4), ow.warmup(1.0, 4, offset=1)
    labels = {"w": "a", "b": "b"}
    for name in ("skip_nonfinite", "restart_if"):
        for wrap in (
            lambda inner: inner,
            lambda inner: optax.partition({"a": inner, "b": adam(0.1)}, labels),
        ):
            message = f"^{name}: .*NaN.*prodigy.*offset=1"
            with pytest.raises(ValueError, match=message):
                GUARDS[name](wrap(make(from_zero))).init(FEW)
            GUARDS[name](wrap(make(offset))).init(FEW)


def test_a_trace_behind_adam_does_not_hide_its_decays():
    history = recorded(optax.chain(adam(S), optax.trace(0.5)))
    assert (history.b1, history.b2) == (0.9, 0.999)
    np.testing.assert_allclose(history.learning_rate, RATES, rtol=1e-5)
    assert not history.learning_rate_exact[2:].any()


def test_moments_of_projected_gradients_are_not_recorded():
    galore = optax.contrib.galore(0.1, rank=2)
    with pytest.raises(ValueError, match=r"parameter 'w' have shape .*galore"):
        ow.record_moments(galore).init({"w": jnp.ones((8, 4))})


def test_decay_in_front_of_adam_does_not_hide_its_decays():
    history = recorded(optax.chain(optax.add_decayed_weights(0.1), adam(S)))
    assert (history.b1, history.b2) == (0.9, 0.999)
    np.testing.assert_allclose(history.learning_rate, RATES, rtol=1e-5)
    assert history.learning_rate_exact.all()
