"""Bugs of other libraries' schedules, each as a test that ours does not have it.

Every test names the thread where the bug was reported.
"""

import pickle

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import optax_warmup as ow

STEPS = np.arange(64)


def rates_used(schedule, updates, **wrap):
    """The rates that an optimizer applies, read off its updates."""
    optimizer = ow.scale_by_learning_rate(schedule)
    if wrap:
        optimizer = optax.MultiSteps(optimizer, **wrap)
    state, advance = optimizer.init(jnp.float32(0)), jax.jit(optimizer.update)
    used = []
    for _ in range(updates):
        update, state = advance(jnp.float32(1), state)
        used.append(-float(update))
    return used


@pytest.mark.parametrize("total", range(1, 21))
def test_one_cycle_of_few_steps(total):
    """https://github.com/google-deepmind/optax/issues/1403"""
    for rise in range(total + 1):
        schedule = ow.one_cycle(1.0, rise, total)
        v = np.asarray(schedule(STEPS))
        assert np.all(np.isfinite(v)) and np.all((v >= 0) & (v <= 1))
        assert rise == total or v[rise] == 1  # where nothing follows, the end is there
        assert v[total] == np.float32(0.04 / 10_000)


def test_the_first_update_sees_step_0():
    """https://github.com/google-deepmind/optax/issues/415"""
    assert rates_used(ow.transition(0.5, 0.0, 5), 3) == pytest.approx([0.5, 0.4, 0.3])


def test_the_formula_in_the_docstring_is_what_runs():
    """https://github.com/google-deepmind/optax/pull/1781, and issue 835 on lengths"""
    w, total, peak, end = 5, 30, 2.0, 0.5
    k = np.arange(w, total + 1)
    wanted = end + (peak - end) * (1 + np.cos(np.pi * (k - w) / (total - w))) / 2
    schedule = ow.warmup_cosine(peak, w, total, end_value=end)
    np.testing.assert_allclose(schedule(k), wanted, rtol=1e-6)
    assert float(ow.one_cycle(peak, w, total)(total)) == np.float32(peak / 25 / 10_000)


@pytest.mark.parametrize("build", [ow.warmup_cosine, ow.warmup_linear])
def test_a_warmup_as_long_as_the_run(build):
    """https://github.com/google-deepmind/optax/pull/1413 and
    https://github.com/PrimeIntellect-ai/prime-rl/issues/968
    """
    v = np.asarray(build(1.0, 8, 8)(STEPS))
    np.testing.assert_allclose(v[:8], STEPS[:8] / 8)
    assert np.all(v[8:] == 0)
    with pytest.raises(ValueError, match="warmup_steps=9 and total_steps=8"):
        build(1.0, 9, 8)


def test_one_update_at_the_peak_between_ramp_and_decay():
    """https://github.com/AI-Hypercomputer/maxtext/pull/3095"""
    for schedule in (ow.warmup_cosine(1.0, 6, 20), ow.warmup_linear(1.0, 6, 20)):
        assert np.flatnonzero(np.asarray(schedule(STEPS)) == 1).tolist() == [6]


@pytest.mark.parametrize("every", [1, 2, 4])
def test_accumulation_counts_emitted_updates(every):
    """https://github.com/AI-Hypercomputer/maxtext/pull/3452 and
    https://github.com/huggingface/accelerate/issues/963
    """
    schedule = ow.warmup_linear(1.0, 4, 12)
    used = rates_used(schedule, 12 * every, every_k_schedule=every)[every - 1 :: every]
    np.testing.assert_allclose(used, np.asarray(schedule(np.arange(12))), rtol=1e-6)


@pytest.mark.parametrize("steps", [1, 2, 3, 7, 1000])
def test_the_decay_begins_when_the_warmup_ends(steps):
    """https://github.com/ml-explore/mlx/issues/2617"""
    for schedule in (
        ow.warmup_cosine(1.0, steps, steps + 50),
        ow.warmup_exponential(1.0, steps, decay_steps=5, decay_rate=0.5),
        ow.warmup_inverse_sqrt(1.0, steps),
        ow.warmup_cosine_restarts(1.0, steps, steps + 50, 2),
    ):
        before, peak, after = (float(schedule(steps + k)) for k in (-1, 0, 1))
        assert peak == 1.0 and before < 1 and after < 1


def test_a_restored_count_does_not_enter_a_new_schedule_in_its_middle():
    """https://github.com/borisdayma/dalle-mini/issues/138"""
    new = ow.warmup_linear(1.0, 5, 20)
    continued = ow.delay(new, 37)
    np.testing.assert_array_equal(continued(37 + STEPS), new(STEPS))
    with pytest.raises(ValueError):
        ow.switch(ow.warmup_linear(1.0, 100, 1000), continued, begin=37)


def test_a_ramp_from_exactly_0():
    """https://github.com/pytorch/pytorch/issues/86454"""
    v = np.asarray(ow.warmup(1.0, 10)(STEPS))
    assert v[0] == 0 and np.all(np.diff(v[:11]) > 0) and v[10] == 1


def test_a_first_phase_of_length_0():
    """https://github.com/pytorch/pytorch/issues/185872"""
    decay = ow.transition(1.0, 0.0, 4)
    joined = ow.join([(0, 0.123)], last=decay)
    np.testing.assert_array_equal(joined(STEPS), decay(STEPS))
    assert float(ow.multistep(1.0, [(0, 0.5)])(0)) == 0.5


def test_a_schedule_can_be_entered_at_any_step():
    """https://github.com/pytorch/pytorch/issues/162591"""
    schedule = ow.join(
        [(3, ow.warmup(1.0, 3))], last=ow.step_decay(1.0, steps=5, rate=0.1)
    )
    walked = [float(schedule(step)) for step in range(30)]
    for step in (29, 3, 17, 0):
        assert float(schedule(step)) == walked[step]


def test_the_end_is_held():
    """https://github.com/pytorch/pytorch/issues/38170"""
    for schedule in (
        ow.one_cycle(1.0, 3, 10),
        ow.warmup_cosine(1.0, 3, 10),
        ow.warmup_cosine_restarts(1.0, 3, 10, 3),
        ow.compat.transformers.get_scheduler("cosine", 1.0, 3, 10),
    ):
        assert len({float(schedule(step)) for step in (10, 11, 12, 2**31 - 1)}) == 1


@pytest.mark.parametrize("crash", range(8))
def test_a_resumed_run_has_the_same_rates(crash):
    """https://github.com/huggingface/transformers/issues/34053"""
    schedule = ow.jitter(ow.warmup_cosine(1.0, 5, 12), 0.1, seed=3)
    optimizer = ow.scale_by_learning_rate(schedule)
    state, used = optimizer.init(np.float32(0)), []
    for step in range(12):
        if step == crash:
            saved = pickle.dumps(jax.device_get(state))
            restored = pickle.loads(pickle.dumps(schedule))
            optimizer, state = ow.scale_by_learning_rate(restored), pickle.loads(saved)
        update, state = optimizer.update(np.float32(1), state)
        used.append(-float(update))
    assert used == rates_used(schedule, 12)


def test_milestones_act_at_their_own_step():
    """https://github.com/huggingface/pytorch-image-models/pull/2753"""
    assert rates_used(ow.multistep(1.0, [(2, 0.5)]), 4) == [1.0, 1.0, 0.5, 0.5]


def test_composition_has_no_order_of_construction():
    """https://github.com/Tony-Y/pytorch_warmup/issues/26"""
    ramp, decay = ow.factors.untuned_linear(0.9), ow.transition(1.0, 0.0, 40)
    first, second = ow.multiply(ramp, decay), ow.multiply(decay, ramp)
    np.testing.assert_array_equal(first(STEPS), second(STEPS))
    np.testing.assert_array_equal(decay(STEPS), ow.transition(1.0, 0.0, 40)(STEPS))


def test_no_update_need_be_wasted():
    """https://github.com/EleutherAI/gpt-neox/issues/1373 and
    https://github.com/pytorch/torchtitan/pull/1261
    """
    assert rates_used(ow.warmup(1.0, 4), 2) == [0.0, 0.25]
    assert rates_used(ow.warmup(1.0, 4, offset=1), 2) == [0.25, 0.5]


@pytest.mark.parametrize("length", [-1, -0.5, float("nan"), 1.5])
def test_lengths_are_checked(length):
    """https://github.com/keras-team/keras/pull/18722"""
    for build in (
        lambda: ow.warmup_cosine(1.0, 0, length),
        lambda: ow.cycle(1.0, length),
        lambda: ow.exponential_decay(1.0, steps=length, rate=0.5),
        lambda: ow.compat.transformers.get_scheduler("linear", 1.0, 0, length),
    ):
        with pytest.raises(ValueError, match="must be a whole number of steps"):
            build()


def test_no_warmup_is_the_peak_at_once():
    """https://github.com/goodfire-ai/spd/issues/648"""
    for schedule in (
        ow.warmup_constant(1.0, 0),
        ow.warmup_cosine(1.0, 0, 10),
        ow.compat.optax.warmup_constant_schedule(0.0, 1.0, 0),
        ow.compat.transformers.get_scheduler("linear", 1.0, 0, 10),
        ow.warmup_cosine_restarts(1.0, 0, 10, 3),
    ):
        assert float(schedule(0)) == 1.0
