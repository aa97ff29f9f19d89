"""The policy that says where a run goes on after a divergence."""

import json
import math

import numpy as np
import pytest

import optax_warmup as ow

NAN = float("nan")


def fed(policy, losses, start=0):
    """The first reason that the policy gives, and the step at which it did."""
    for step, loss in enumerate(losses, start=start):
        reason = policy.observe(step, loss)
        if reason:
            return step, reason
    return None


def noisy(n, mean=2.0, seed=0):
    return mean + 0.1 * np.random.default_rng(seed).standard_normal(n)


def test_losses_that_fall_and_fluctuate_are_no_divergence():
    losses = 2 + 3 * np.exp(-np.arange(2000) / 300) + noisy(2000, 0.0)
    assert fed(ow.runs.Rollback(), losses) is None


@pytest.mark.parametrize("step", [0, 3, 100])
@pytest.mark.parametrize("bad", [NAN, math.inf, -math.inf])
def test_what_is_not_finite_is_noticed_at_once_at_any_step(bad, step):
    losses = [*noisy(step), bad]
    assert fed(ow.runs.Rollback(), losses)[0] == step
    patient = ow.runs.Rollback(nonfinite_patience=3, patience=9)
    assert fed(patient, losses) is None
    assert fed(patient, [bad, bad], start=step + 1)[0] == step + 2


def test_a_single_spike_is_no_divergence_and_a_lasting_one_is():
    assert fed(ow.runs.Rollback(), [*noisy(100), 9.0, *noisy(100)]) is None
    policy = ow.runs.Rollback(patience=5)
    step, reason = fed(policy, [*noisy(100), *noisy(50, 9.0)])
    assert step == 104
    assert "5 losses in a row since step 100" in reason


def test_the_first_losses_are_never_too_high():
    assert fed(ow.runs.Rollback(), [2.0, *[50.0] * 30]) is None


def test_a_constant_loss_has_no_spikes_in_its_rounding():
    losses = 2 + 1e-6 * np.random.default_rng(0).standard_normal(300)
    assert fed(ow.runs.Rollback(threshold=3), [2.0] * 100 + list(losses)) is None


def test_the_checkpoint_is_one_of_before_the_first_bad_loss():
    policy = ow.runs.Rollback(patience=5)
    fed(policy, [*noisy(100), *noisy(5, 9.0)])
    assert policy.checkpoint_to_keep([60, 80, 100, 102]) == 80
    event = policy.roll_back([60, 80, 100, 102])
    assert event[:4] == (80, 105, 100, 104)
    assert [policy.batch(step) for step in (79, 80, 81)] == [79, 105, 106]


def test_the_margin_goes_further_back_and_more_batches_are_passed_over():
    policy = ow.runs.Rollback(margin=25, skip_batches=200)
    fed(policy, [*noisy(100), NAN])
    assert policy.roll_back([60, 80, 100])[:2] == (60, 301)


def test_losses_seen_now_and_then_do_not_vouch_for_the_steps_between():
    policy = ow.runs.Rollback()
    for step in range(0, 100, 10):
        policy.observe(step, 2.0)
    assert policy.observe(100, NAN)
    # what happened between 90 and 100 is not known
    assert policy.checkpoint_to_keep([85, 95]) == 85


def test_a_run_that_does_not_get_past_the_place_goes_back_further():
    policy = ow.runs.Rollback(rewarm_steps=10)
    fed(policy, [*noisy(100), NAN])
    assert policy.roll_back([40, 60, 80]).begin == 80
    fed(policy, [*noisy(15), NAN], start=80)  # at 95, before 100
    assert policy.roll_back([40, 60, 80]).begin == 60
    # the second warmup of the first rollback is history that never happened
    assert repr(policy.schedule(0.1)) == "rewarm(constant(0.1), begin=60, steps=10)"
    assert policy.batch(60) == 101 + 15 + 1
    fed(policy, [*noisy(90), NAN], start=60)  # at 150: past it
    assert policy.roll_back([40, 60, 80, 120]).begin == 120


def test_it_gives_up_in_words():
    policy = ow.runs.Rollback(max_rollbacks=1)
    fed(policy, [*noisy(50), NAN])
    policy.roll_back([20])
    fed(policy, [*noisy(50), NAN], start=20)
    with pytest.raises(ow.runs.Diverged, match="step 70 is nan, after 1 rollbacks"):
        policy.roll_back([20])
    fresh = ow.runs.Rollback()
    fresh.observe(3, NAN)
    with pytest.raises(ow.runs.Diverged, match="no checkpoint is from before that"):
        fresh.roll_back([4, 5])
    with pytest.raises(ow.runs.Diverged, match="there is none"):
        fresh.roll_back([])
    with pytest.raises(ValueError, match="no loss is bad"):
        ow.runs.Rollback().roll_back([1])


def test_the_rate_is_lowered_each_time_and_warms_up_to_it():
    events = [(100, 131, 128, 130, "nan"), (200, 260, 240, 250, "nan")]
    events = [ow.runs.RollbackEvent(*event) for event in events]
    policy = ow.runs.Rollback(rate_factor=0.5, rewarm_steps=10, events=events)
    schedule = policy.schedule(ow.constant(0.8))
    values = [float(schedule(step)) for step in (99, 100, 105, 110, 199, 200, 210)]
    np.testing.assert_allclose(values, [0.8, 0, 0.2, 0.4, 0.4, 0, 0.2], rtol=1e-6)
    at_once = ow.runs.Rollback(rate_factor=0.5, events=events).schedule(0.8)
    assert [round(float(at_once(k)), 6) for k in (99, 100, 200)] == [0.8, 0.4, 0.2]


def test_events_survive_json():
    policy = ow.runs.Rollback()
    fed(policy, [*noisy(50), NAN])
    policy.roll_back([20])
    text = json.dumps([event._asdict() for event in policy.events])
    assert ow.runs.Rollback(events=json.loads(text)).events == policy.events


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"window": 3}, "window"),
        ({"threshold": NAN}, "threshold"),
        ({"patience": 0}, "patience"),
        ({"rate_factor": 0}, "rate_factor"),
        ({"rate_factor": 1.5}, "rate_factor"),
        ({"max_rollbacks": -1}, "max_rollbacks"),
        ({"events": [{"begin": 3}]}, "an event must be"),
        ({"events": [(-1, 0, 0, 0, "")]}, "an event must be"),
        ({"events": [ow.runs.RollbackEvent(-1, 0, 0, 0, "")]}, "events: begin"),
    ],
)
def test_bad_arguments_are_named(arguments, named):
    with pytest.raises((TypeError, ValueError), match=named):
        ow.runs.Rollback(**arguments)
