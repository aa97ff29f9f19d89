"""Runs that go on: from a step, at another rate, by another clock or batch."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import flax.serialization
import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp
import pytest
from compiled import quickly
from flax import nnx

import optax_warmup as ow

PARAMS = {"w": jnp.linspace(0.5, 2.0, 6).reshape(2, 3), "b": jnp.ones(3)}
SCHEDULE = ow.warmup_cosine(1.0, 10, 100)
A, R, W = optax.scale_by_adam, ow.scale_by_learning_rate, ow.scale_by_warmup


def ours(schedule=SCHEDULE):
    return optax.chain(A(), R(schedule))


def trained(optimizer, steps, state=None, **extra):
    state = optimizer.init(PARAMS) if state is None else state
    update = quickly(optimizer.update)
    for _ in range(steps):
        _, state = update(PARAMS, state, PARAMS, **extra)
    return state


def rates(optimizer, state, steps):
    seen, update = [], quickly(optimizer.update)
    for _ in range(steps):
        _, state = update(PARAMS, state, PARAMS)
        seen.append(round(ow.learning_rate(state), 3))
    return seen


# Lost state


REWARMED = [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.483, 0.465]


def test_a_lost_state_begins_at_its_step_with_a_second_warmup():
    optimizer = ours(ow.rewarm(SCHEDULE, 50, 5))
    state = ow.runs.begin_at(optimizer, PARAMS, 50)
    assert ow.learning_rate(state) == 0  # the rate that the first update will use
    assert state[0].count == 0 and ow.runs.step_count(state) == 50
    assert rates(optimizer, state, 8) == REWARMED


@pytest.mark.parametrize(
    "build",
    [
        lambda s: optax.adamw(s),
        lambda s: optax.MultiSteps(optax.adamw(s), 1),
        lambda s: optax.inject_hyperparams(optax.adamw)(learning_rate=s),
        lambda s: ow.skip_nonfinite(ow.record_moments(ours(s))),
        lambda s: optax.partition({0: ours(s), 1: optax.adamw(s)}, {"w": 0, "b": 1}),
    ],
)
def test_every_schedule_begins_at_the_step_and_the_moments_do_not(build):
    schedule = ow.rewarm(SCHEDULE, 50, 5, init_value=0.125)
    optimizer = build(schedule)
    state = ow.runs.begin_at(optimizer, PARAMS, 50)
    assert ow.runs.step_count(state) == 50
    updates, state = optimizer.update(PARAMS, state, PARAMS)
    # Adam's first update is the sign of the gradient, times the rate.
    np.testing.assert_allclose(updates["b"], -0.125, rtol=1e-3)
    assert ow.runs.step_count(state) == 51


def test_a_traced_step():
    begun = jax.jit(lambda step: ow.runs.begin_at(ours(), PARAMS, step))(30)
    assert ow.runs.step_count(begun) == 30
    with pytest.raises(ValueError, match="begin_at: step"):
        ow.runs.begin_at(ours(), PARAMS, -1)


# Rates that are set


@pytest.mark.parametrize("jitted", [False, True])
def test_a_rate_that_is_set_holds_and_the_schedule_comes_back(jitted):
    optimizer = ow.skip_nonfinite(optax.MultiSteps(ours(), 1))
    update = jax.jit(optimizer.update) if jitted else optimizer.update
    state = ow.runs.set_learning_rate(trained(optimizer, 3), 0.375)
    assert ow.learning_rate(state) == 0.375
    for _ in range(3):
        _, state = update(PARAMS, state, PARAMS)
        assert ow.learning_rate(state) == 0.375
    state = ow.runs.set_learning_rate(state, None)
    _, state = update(PARAMS, state, PARAMS)
    np.testing.assert_allclose(ow.learning_rate(state), 0.6, rtol=1e-6)
    assert state.skipped == 0
    if jitted:
        assert update._cache_size() == 1


@pytest.mark.parametrize("times", [0, 3])
@pytest.mark.parametrize(
    "write",
    [
        lambda state, rate: (state[0], state[1]._replace(learning_rate=rate)),
        lambda state, rate: optax.tree.set(state, learning_rate=rate),
        lambda state, rate: optax.tree.set(state, learning_rate=jnp.float32(rate)),
        ow.runs.set_learning_rate,
    ],
)
def test_every_way_to_write_a_rate_holds(write, times):
    guarded = ow.skip_nonfinite(ours())
    state = trained(guarded, times)
    state = state._replace(inner_state=write(state.inner_state, 0.25))
    after = trained(guarded, 4, state)
    assert (ow.learning_rate(after), after.skipped) == (0.25, 0)
    assert ow.runs.step_count(after) == times + 4


def test_a_factor_can_be_written_too():
    optimizer = optax.chain(ours(), W(ow.warmup(1.0, 10)))
    first, last = trained(optimizer, 2)
    state = trained(optimizer, 2, (first, last._replace(factor=jnp.float32(0.5))))
    assert state[-1].factor == 0.5
    assert ow.learning_rate(state) == 0.5 * ow.learning_rate(state, factors=False)


def test_a_zero_and_the_schedules_own_rate_hold():
    state = trained(ours(), 5)
    now = ow.learning_rate(state)
    for rate in (0.0, now):
        held = trained(ours(), 2, ow.runs.set_learning_rate(state, rate))
        assert ow.learning_rate(held) == rate


def test_rates_that_cannot_be_set_are_refused():
    injected = optax.inject_hyperparams(optax.adam)
    state = injected(learning_rate=0.5).init(PARAMS)
    assert ow.learning_rate(ow.runs.set_learning_rate(state, 0.25)) == 0.25
    scheduled = injected(learning_rate=ow.constant(1e-3)).init(PARAMS)
    with pytest.raises(ValueError, match="is a schedule, which overwrites"):
        ow.runs.set_learning_rate(scheduled, 0.25)
    with pytest.raises(ValueError, match="no schedule to go back to"):
        ow.runs.set_learning_rate(state, None)
    with pytest.raises(ValueError, match="holds no learning rate that can be set"):
        ow.runs.set_learning_rate(optax.adam(0.1).init(PARAMS), 0.25)
    for bad in (-1.0, jnp.nan, jnp.inf):
        with pytest.raises(ValueError, match="set_learning_rate: learning_rate"):
            ow.runs.set_learning_rate(trained(ours(), 1), bad)


def test_a_rate_is_set_under_nnx():
    model = nnx.Linear(2, 3, rngs=nnx.Rngs(0))
    optimizer = nnx.Optimizer(model, ours(), wrt=nnx.Param)
    optimizer.opt_state = nnx.data(ow.runs.set_learning_rate(optimizer.opt_state, 0.25))
    grads = nnx.grad(lambda m: jnp.sum(m(jnp.ones((1, 2)))))(model)
    optimizer.update(model, grads)
    assert ow.learning_rate(optimizer) == 0.25
    assert ow.runs.step_count(optimizer) == 1


# An outer clock


@pytest.mark.parametrize(
    "wrapped",
    [
        lambda o: o,
        lambda o: ow.skip_nonfinite(ow.record_moments(o)),
        lambda o: optax.MultiSteps(o, 1),
        lambda o: optax.masked(o, {"w": True, "b": False}),
        lambda o: optax.partition({0: o, 1: optax.sgd(0.1)}, {"w": 0, "b": 1}),
        lambda o: ow.restart_if(o, lambda state, **extra: False),
        lambda o: ow.guards.skip_spikes(ow.guards.protect(o)),
    ],
)
def test_an_outer_step_takes_the_place_of_the_count(wrapped):
    optimizer = wrapped(optax.chain(A(), R(SCHEDULE), W(ow.warmup(1.0, 50))))
    state = trained(optimizer, 1, step=jnp.int32(20))
    rate = ow.learning_rates(state)
    wanted = float(SCHEDULE(20)) * 20 / 50
    assert any(np.isclose(r, wanted, rtol=1e-6) for r in rate.values())
    state = trained(optimizer, 1, state)  # from there on by its own count
    wanted = float(SCHEDULE(21)) * 21 / 50
    assert any(
        np.isclose(r, wanted, rtol=1e-6) for r in ow.learning_rates(state).values()
    )


def test_a_decay_has_the_same_clocks():
    decay = ow.transition(0.0, 1.0, 100)
    optimizer = optax.chain(A(), R(SCHEDULE), ow.decay_weights(decay))
    state = trained(optimizer, 1, step=20)
    assert (float(state[-1].decay), state[-1].count) == (np.float32(0.2), 21)
    begun = ow.runs.begin_at(optimizer, PARAMS, 50)
    assert (begun[-1].decay, begun[-1].count) == (0.5, 50)
    adopted = ow.adopt(optimizer, trained(ours(), 4), PARAMS)
    assert adopted[-1].count == 4


@pytest.mark.parametrize("step", [1.5, jnp.arange(2), jnp.float32(3), True])
def test_a_step_that_is_none_is_refused(step):
    optimizer = ours()
    with pytest.raises(TypeError, match="scale_by_learning_rate: step must be one"):
        optimizer.update(PARAMS, optimizer.init(PARAMS), PARAMS, step=step)


# The count


@pytest.mark.parametrize(
    ("optimizer", "wanted"),
    [
        (optax.adam(0.1), 6),
        (optax.adamw(SCHEDULE), 6),
        (optax.sgd(SCHEDULE), 6),
        (optax.MultiSteps(optax.adamw(SCHEDULE), 3), 2),
        (ow.skip_nonfinite(optax.MultiSteps(optax.sgd(0.1), 2)), 3),
        (ow.record_moments(ours()), 6),
        (optax.inject_hyperparams(optax.sgd)(learning_rate=0.1), 6),
        (ow.restart_if(ours(), lambda state, **extra: False), 6),
    ],
)
def test_the_count_of_updates(optimizer, wanted):
    assert ow.runs.step_count(trained(optimizer, 6)) == wanted


def test_a_count_that_is_not_there_or_not_one():
    with pytest.raises(ValueError, match="nothing in opt_state counts updates"):
        ow.runs.step_count(optax.sgd(0.1).init(PARAMS))
    two = (trained(ours(), 2), trained(ours(), 3))
    with pytest.raises(ValueError, match="count differently: 2 at .*, 3 at "):
        ow.runs.step_count(two)
    assert jax.jit(ow.runs.step_count)(two[0]) == 2


# States without types


def test_what_lost_its_types_is_named_and_taken_back(tmp_path):
    optimizer = ow.skip_nonfinite(
        ow.record_moments(optax.partition({0: ours(), 1: ours()}, {"w": 0, "b": 1}))
    )
    state = trained(optimizer, 3)
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(tmp_path / "3", state)
        checkpointer.wait_until_finished()
        restored = checkpointer.restore(tmp_path / "3")
    msgpack = flax.serialization.msgpack_restore(flax.serialization.to_bytes(state))
    for plain in (restored, msgpack):
        back = ow.adopt(optimizer, plain, PARAMS)
        assert jax.tree.structure(back) == jax.tree.structure(state)
        for one, other in zip(*map(jax.tree.leaves, (back, state)), strict=True):
            np.testing.assert_array_equal(one, other)
        for reader in (ow.learning_rates, ow.read_moments, ow.runs.step_count):
            with pytest.raises(ValueError, match=r"plain containers.*adopt"):
                reader(plain)
        with pytest.raises(TypeError, match=r"restored as plain dicts.*adopt"):
            optimizer.update(PARAMS, plain, PARAMS)


@pytest.mark.parametrize(
    ("old_state", "params", "allow", "message"),
    [
        ({"w": (3, 2), "b": 3}, None, (), r"mu/w is \(3, 2\) in old_state and \(2,\)"),
        ({"w": 2, "c": 3}, None, (), r"mu/b is in the new one only"),
        (
            "params",
            "state",
            (),
            r"params must .* adopt\(optimizer, old_state, params\)",
        ),
        ("params", None, (), r"only bare arrays: the order is adopt"),
        ({"w": 2, "b": 3}, None, True, r"adopt: allow must .* got True"),
        ({"w": 2, "b": 3}, None, "ScaleByAdamState", r"adopt: allow must .* got 'Sc"),
    ],
)
def test_what_does_not_fit_is_said(old_state, params, allow, message):
    optimizer = optax.adam(0.1)
    here = {"w": jnp.ones(2), "b": jnp.ones(3)}
    if old_state == "params":
        old_state = here
    else:
        shapes = old_state.items()
        old_state = optimizer.init({name: jnp.ones(shape) for name, shape in shapes})
    params = optimizer.init(here) if params == "state" else here
    with pytest.raises((TypeError, ValueError), match=message):
        ow.adopt(optimizer, old_state, params, allow=allow)


def test_parameters_may_have_the_names_of_fields():
    params = {
        "count": jnp.ones(2),
        "mu": {"nu": jnp.ones(3)},
        "inner_state": jnp.ones(1),
    }
    optimizer = ow.record_moments(optax.adamw(SCHEDULE))
    _, state = optimizer.update(params, optimizer.init(params), params)
    plain = flax.serialization.msgpack_restore(flax.serialization.to_bytes(state))
    back = ow.adopt(optimizer, plain, params)
    assert jax.tree.structure(back) == jax.tree.structure(state)
    assert ow.runs.step_count(back) == 1


# The batch


@pytest.mark.parametrize("new", [64, 128, 200, 256, 384, 512, 1024])
@pytest.mark.parametrize(("rule", "power"), [("linear", 1), ("sqrt", 0.5), ("none", 0)])
def test_another_batch_keeps_the_clock_of_the_data(new, rule, power):
    schedule = ow.warmup_linear(1.0, 100, 1000)
    changed = ow.runs.change_batch_size(schedule, 60, old=256, new=new, rule=rule)
    scale = (new / 256) ** power
    for step in (0, 59, 60, 61, 100, 250, 5000):
        played = 60 + (step - 60) * new / 256
        wanted = (
            float(schedule(step))
            if step < 60
            else scale * np.interp(played, [0, 100, 1000], [0, 1, 0])
        )
        np.testing.assert_allclose(changed(step), wanted, rtol=1e-5, atol=1e-7)
    assert ow.from_config(ow.to_config(changed)) == changed


def test_the_new_rate_is_bridged():
    changed = ow.runs.change_batch_size(0.5, 10, old=1, new=4, rule="sqrt", steps=10)
    assert [float(changed(k)) for k in (10, 15, 20)] == [0.5, 0.75, 1.0]
    with pytest.raises(ValueError, match="rule must be one of 'linear'"):
        ow.runs.change_batch_size(0.5, 10, old=1, new=4, rule="square")
    with pytest.raises(ValueError, match="new"):
        ow.runs.change_batch_size(0.5, 10, old=1, new=0, rule="none")


# Several processes


def test_one_process_agrees_with_itself():
    ow.runs.check_same(a=1, b="x", c=[1, {"d": None}], e=jnp.ones(2), f=SCHEDULE)
    own = ow.warmup(1.0, 10, shape=lambda p: p**2)
    ow.runs.check_same(own=own, nested={"schedule": SCHEDULE})
    with pytest.raises(TypeError, match="check_same: f must be made of numbers"):
        ow.runs.check_same(f=object())


@pytest.mark.train
def test_two_processes_that_differ_are_told_so():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    program = Path(__file__).parent / "programs" / "check_same_in_pairs.py"
    both = [
        subprocess.Popen(
            [sys.executable, program, str(port), str(process)],
            env=os.environ | {"JAX_PLATFORMS": "cpu"},
            stdout=subprocess.PIPE,
            text=True,
        )
        for process in range(2)
    ]
    for text in [process.communicate(timeout=200)[0] for process in both]:
        assert "\nthe same\n" in "\n" + text
        assert "batch is 257 on process 1 and 256 on process 0" in text
        assert "schedule is warmup(" in text and "seed" not in text
