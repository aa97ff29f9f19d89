"""Continuing a run: branches, bridges, second warmups, longer and shorter runs."""

import random
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from compiled import quickly
from selection import parametrize

import optax_warmup as ow

LAST = 2**31 - 1
OLD = ow.warmup_cosine(1.0, 10, 100)
NEW = ow.warmup_cosine(1.0, 10, 200)


def values(schedule, steps):
    return schedule(np.asarray(steps, np.int32))


def test_switch_reads_both_schedules_at_the_runs_own_step():
    schedule = ow.switch(OLD, NEW, 40, allow_jump=True)
    steps = np.arange(250)
    expected = np.where(steps < 40, values(OLD, steps), values(NEW, steps))
    np.testing.assert_array_equal(values(schedule, steps), expected)


def test_a_bridge_leads_from_the_one_to_the_other():
    schedule = ow.switch(OLD, NEW, 40, steps=20)
    steps = np.arange(250)
    start, end = float(OLD(40)), float(NEW(60))
    line = start + (end - start) * (steps - 40) / 20
    expected = np.select(
        [steps < 40, steps < 60], [values(OLD, steps), line], values(NEW, steps)
    )
    np.testing.assert_allclose(values(schedule, steps), expected, rtol=1e-6)
    assert schedule(40) == OLD(40)
    assert schedule(60) == NEW(60)


def test_a_bridge_may_start_elsewhere_and_have_a_shape():
    schedule = ow.switch(
        OLD, 0.5, 40, steps=4, init_value=0.1, shape=ow.shapes.power(2)
    )
    found = values(schedule, [39, 40, 41, 42, 43, 44, LAST])
    expected = [float(OLD(39)), 0.1, 0.125, 0.2, 0.325, 0.5, 0.5]
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_a_bridge_as_long_as_there_are_steps_does_not_overflow():
    schedule = ow.switch(1.0, ow.join([(9, 0.0)], last=3.0), 2**30, steps=LAST)
    found = values(schedule, [0, 2**30, LAST])
    np.testing.assert_allclose(found, [1.0, 1.0, 2.0], rtol=1e-6)
    late = ow.switch(1.0, 2.0, LAST, allow_jump=True)
    assert [late(step).item() for step in (LAST - 1, LAST)] == [1.0, 2.0]


def test_switch_allows_what_does_not_jump():
    old = ow.wsd(1e-3, 100, 1000, 200)
    new = ow.wsd(1e-3, 100, 2000, 400)
    schedule = ow.switch(old, new, 700)
    steps = np.arange(2001)
    expected = np.where(steps < 700, values(old, steps), values(new, steps))
    np.testing.assert_array_equal(values(schedule, steps), expected)
    # The same rate, said in two ways that differ by its last digits.
    ow.switch(ow.noam(512, 100), optax.constant_schedule(ow.noam(512, 100)(50)), 50)


def test_switch_refuses_a_jump_and_names_both_rates():
    with pytest.raises(ValueError) as caught:
        ow.switch(OLD, NEW, 60)
    message = str(caught.value)
    for word in (
        "switch",
        "begin=60",
        f"{OLD(60).item():.6g} of the old",
        f"{NEW(60).item():.6g} of the new",
        "steps=...",
        "allow_jump=True",
    ):
        assert word in message
    asked = ow.switch(OLD, NEW, 60, allow_jump=True)
    bridged = ow.switch(OLD, NEW, 60, steps=10)
    assert asked(60) == NEW(60)
    assert bridged(60) == OLD(60)
    assert bridged(70) == NEW(70)


def test_switch_checks_inside_jit_what_is_known_there():
    @jax.jit
    def build(step):
        with pytest.raises(ValueError, match="must not jump"):
            ow.switch(OLD, NEW, 60)
        return ow.switch(OLD, OLD, 60)(step)

    assert build(70) == OLD(70)
    traced = jax.jit(lambda begin: ow.switch(OLD, NEW, begin)(70))
    assert traced(60) == NEW(70)


def test_switch_to_zero_and_from_zero():
    done = ow.transition(1.0, 0.0, 10)
    assert ow.switch(done, 0.0, 10)(50) == 0
    with pytest.raises(ValueError, match="got 0 of the old"):
        ow.switch(done, 1e-9, 10)


def test_rewarm_returns_to_the_schedule():
    schedule = ow.rewarm(OLD, 40, 10)
    steps = np.arange(120)
    ramp = float(OLD(50)) * (steps - 40) / 10
    inside = (steps >= 40) & (steps < 50)
    expected = np.where(inside, ramp, values(OLD, steps))
    np.testing.assert_allclose(values(schedule, steps), expected, rtol=1e-6)
    assert schedule(40) == 0
    assert schedule(50) == OLD(50)
    assert ow.rewarm(OLD, 40, 10, init_value=0.25)(40) == 0.25
    np.testing.assert_array_equal(
        values(ow.rewarm(OLD, 40, 0), steps), values(OLD, steps)
    )


def test_a_cooldown_branches_off_at_any_step():
    for begin in (0, 5, 10, 60, 100):
        schedule = ow.cooldown(OLD, begin, 20)
        steps = np.arange(begin + 30)
        start = float(OLD(begin))
        fall = start * np.clip(begin + 20 - steps, 0, 20) / 20
        expected = np.where(steps < begin, values(OLD, steps), fall)
        np.testing.assert_allclose(values(schedule, steps), expected, rtol=1e-6)


def extended(schedule, begin, total, new_total, step):
    """In exact arithmetic, from the schedule's values at whole steps."""
    if step <= begin:
        return float(schedule(step))
    if new_total == begin:
        return float(schedule(total))
    reached = begin + Fraction((step - begin) * (total - begin), new_total - begin)
    reached = min(reached, LAST)
    whole = reached.numerator // reached.denominator
    part = float(reached - whole)
    low, high = float(schedule(whole)), float(schedule(min(whole + 1, LAST)))
    return low + (high - low) * part


def test_retime_spreads_what_is_left():
    rng = random.Random(2)
    for _ in range(60):
        total = rng.choice([1, 7, 1000, 10**6, 10**9, LAST])
        begin = rng.choice([0, total // 3, total])
        new_total = rng.choice([begin, total, min(2 * total, LAST), LAST])
        if begin == total:
            new_total = begin  # what is finished is not spread any more
        schedule = ow.warmup_cosine(1.0, total // 5, total, end_value=0.1)
        longer = ow.retime(schedule, total, new_total, begin=begin)
        near = {0, begin, total, new_total, LAST, rng.randrange(new_total + 1)}
        steps = {min(max(s + d, 0), LAST) for s in near for d in (-1, 0, 1)}
        if new_total == begin:
            steps -= {begin}  # where it jumps, said in the next test
        for step in steps:
            np.testing.assert_allclose(
                longer(step),
                extended(schedule, begin, total, new_total, step),
                rtol=1e-6,
                err_msg=f"{longer!r} at {step}",
            )


@pytest.mark.parametrize(
    ("steps", "updates", "begin"), [(100, 150, 100), (200, 300, 150), (0, 10, 0)]
)
def test_a_finished_run_is_not_spread_over_more_updates(steps, updates, begin):
    """It would train on at a rate of 0."""
    finished = ow.warmup_linear(1.0, 10, 100)
    with pytest.raises(ValueError, match=r"retime: .*switch\(schedule, new"):
        ow.retime(finished, steps, updates, begin=begin)
    new = ow.delay(ow.warmup_linear(1.0, 10, 50), 100)
    longer = ow.switch(finished, new, 100)
    assert [round(float(longer(k)), 3) for k in (99, 100, 110, 150)] == [0.011, 0, 1, 0]


def test_retime_does_not_jump_and_ends_where_the_schedule_does():
    schedule = ow.warmup_cosine(3e-4, 2000, 100_000, end_value=1e-5)
    longer = ow.retime(schedule, 100_000, 150_000, begin=60_000)
    assert longer(60_000) == schedule(60_000)
    assert longer(150_000) == schedule(100_000)
    assert ow.describe(longer, 160_000).discontinuities == ()
    shorter = ow.retime(schedule, 100_000, 70_000, begin=60_000)
    assert shorter(70_000) == schedule(100_000)
    at_once = ow.retime(schedule, 100_000, 60_000, begin=60_000)
    assert at_once(59_999) == schedule(59_999)
    assert at_once(60_000) == schedule(100_000)


@parametrize(
    "schedule",
    [
        ow.switch(OLD, NEW, 40, steps=20),
        ow.switch(OLD, NEW, 40, init_value=0.5, steps=3, shape=ow.shapes.cosine),
        ow.rewarm(OLD, 40, 10),
        ow.retime(OLD, 100, 150, begin=40),
    ],
    quick=2,
)
def test_they_are_values(schedule):
    steps = np.arange(200)
    assert eval(repr(schedule), vars(ow).copy()) == schedule
    np.testing.assert_array_equal(jax.jit(schedule)(steps), schedule(steps))
    one_by_one = np.array([schedule(int(step)) for step in steps])
    # XLA contracts a product and a sum in one loop and not in another.
    np.testing.assert_allclose(schedule(steps), one_by_one, rtol=3e-7)
    np.testing.assert_array_equal(
        jax.jit(lambda s, k: s(k))(schedule, steps), schedule(steps)
    )
    assert schedule(-5) == schedule(0)
    assert schedule(jnp.uint32(77)) == schedule(77)
    gradients = quickly(jax.grad(lambda s: s(jnp.arange(200)).sum(), allow_int=True))(
        schedule
    )
    for leaf in jax.tree.leaves(gradients):
        assert leaf.dtype == jax.dtypes.float0 or np.isfinite(leaf)


def test_lengths_may_be_traced():
    begins = jnp.arange(30, 60, 10)
    found = jax.vmap(lambda b: ow.retime(OLD, 100, 150, begin=b)(120))(begins)
    expected = [ow.retime(OLD, 100, 150, begin=int(b))(120) for b in begins]
    np.testing.assert_array_equal(found, np.array(expected))
    found = jax.vmap(lambda b: ow.switch(OLD, NEW, b, steps=b)(70))(begins)
    expected = [ow.switch(OLD, NEW, int(b), steps=int(b))(70) for b in begins]
    np.testing.assert_array_equal(found, np.array(expected))


@pytest.mark.parametrize(
    ("build", "error", "words"),
    [
        (lambda: ow.switch(-1.0, 1.0, 3), ValueError, ["switch: old", "-1.0"]),
        (lambda: ow.switch(1.0, "x", 3), TypeError, ["switch: new", "'x'"]),
        (lambda: ow.switch(1.0, 1.0, -3), ValueError, ["switch: begin", "-3"]),
        (lambda: ow.switch(1.0, 1.0, 3, steps=0.5), ValueError, ["steps", "0.5"]),
        (
            lambda: ow.switch(1.0, 1.0, 3, init_value=float("nan")),
            ValueError,
            ["switch: init_value", "nan"],
        ),
        (lambda: ow.switch(1.0, 1.0, 3, shape=3), TypeError, ["switch: shape", "3"]),
        (lambda: ow.switch(1.0, 1.0, "3"), TypeError, ["begin", "'3'"]),
        (lambda: ow.rewarm(1.0, 3, None), TypeError, ["steps", "None"]),
        (lambda: ow.retime(OLD, 100, 200, begin=101), ValueError, ["begin", "steps"]),
        (lambda: ow.retime(OLD, 100, 50, begin=60), ValueError, ["updates", "50"]),
        (lambda: ow.retime(OLD, 100, 2**31, begin=60), ValueError, ["2**31 - 1"]),
        (lambda: ow.retime(None, 100, 200, begin=60), TypeError, ["schedule", "None"]),
    ],
)
def test_says_what_is_wrong(build, error, words):
    with pytest.raises(error) as caught:
        build()
    for word in words:
        assert word in str(caught.value)
