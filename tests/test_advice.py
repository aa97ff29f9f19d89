"""Each rule of advice on a training that has its illness, and on healthy ones."""

import dataclasses
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import trainings
import write_explanations
from selection import parametrize

import optax_warmup as ow
from optax_warmup.diagnostics._explanations import EXPLANATIONS
from optax_warmup.diagnostics._rules.gradients import spike_threshold
from optax_warmup.diagnostics._rules.peak import negative_stretch
from optax_warmup.diagnostics._rules.suggestion import WARMUP_SHARE, rate_per_update

pytestmark = pytest.mark.train

DOCS = Path(__file__).parent.parent / "docs" / "diagnostics.md"


def advice_on(training, code, **options):
    """The one advice with a code, about a training."""
    history, losses = training
    found = ow.diagnostics.advise(history, losses=losses, **options)
    (advice,) = [advice for advice in found if advice.code == code]
    return advice


def codes(training):
    return {
        advice.code for advice in ow.diagnostics.advise(training[0], losses=training[1])
    }


@parametrize("kind", trainings.HEALTHY, quick=5)
def test_healthy_runs_get_notes_at_most(kind):
    history, losses = trainings.healthy(kind)
    for given in (losses, None):
        found = ow.diagnostics.advise(history, losses=given)
        assert {advice.severity for advice in found} <= {"note"}, found
        assert not found or kind == "moments alone", found


def test_a_first_update_at_rate_0_is_noted():
    advice = advice_on(trainings.first_update_zero(), "first-update-zero")
    assert (advice.severity, advice.steps) == ("note", (0,))
    assert "The first update had learning rate 0" in advice.finding
    assert "offset=1" in advice.change


def test_a_rate_that_stays_0_is_a_problem():
    advice = advice_on(trainings.no_rate_at_all(), "first-update-zero")
    assert advice.severity == "problem"
    assert "learning rate was 0 at all" in advice.finding


def test_a_rate_that_no_state_tells_is_measured():
    history, _ = trainings.rate_not_remembered()
    np.testing.assert_allclose(history.learning_rate, 3e-3, rtol=1e-3)
    assert codes(trainings.rate_not_remembered()) == codes(trainings.no_warmup(3e-3))


def test_a_rate_that_is_not_seen_is_noted():
    assert codes(trainings.rate_outside()) == {"rate-unknown"}


@pytest.mark.parametrize("b2", [0.95, 0.999])
def test_no_warmup_at_a_high_rate_is_too_short(b2):
    advice = advice_on(trainings.no_warmup(b2=b2), "warmup-short")
    assert (advice.severity, advice.steps) == ("warning", (0,))
    ceiling = {0.95: "39", 0.999: "1,999"}[b2]
    assert f"averaged only 1 of at most {ceiling} effective gradients" in advice.finding
    assert re.search(
        r"Signs of harm: that update was 43% of the weights", advice.finding
    )


def test_weights_that_are_all_zero_are_told_in_words():
    params = {"w": jnp.zeros(8)}
    optimizer = ow.record_moments(
        optax.chain(optax.scale_by_adam(), ow.scale_by_learning_rate(0.1))
    )
    update, state = jax.jit(optimizer.update), optimizer.init(params)
    for step in range(10):
        grads = {"w": jax.random.normal(jax.random.key(step), (8,))}
        _, state = update(grads, state, params)
    found = {x.code: x.finding for x in ow.diagnostics.advise(ow.read_moments(state))}
    for code in ("warmup-short", "updates-large"):
        assert "started from weights that were all zero" in found[code]
        assert not re.search(r"\binf\b", found[code])


def test_no_warmup_at_a_low_rate_is_nobodys_fault():
    assert codes(trainings.no_warmup(1e-4)) == set()


def test_a_warmup_that_nothing_called_for_is_long():
    advice = advice_on(trainings.endless_warmup(), "warmup-long")
    assert advice.severity == "note"
    assert advice.steps == (704,)  # the first recorded step after 699
    assert "at 90% of its maximum after 58" in advice.finding


def test_updates_that_rewrite_the_weights_are_large():
    advice = advice_on(trainings.no_warmup(), "updates-large")
    assert advice.severity == "warning"
    assert {"layer0/w", "layer1/w"} <= set(advice.groups)


def test_a_suggested_length_is_that_of_the_slope():
    history, losses = trainings.quadratic(0.1)  # 1,500 updates
    weights = history.overall["parameter_rms"][0]
    wanted = 0.1 / (5e-4 * weights)
    advice = advice_on((history, losses), "suggested-warmup")
    length = int(re.search(r"about ([\d,]+) updates", advice.finding)[1])
    np.testing.assert_allclose(length, wanted, rtol=0.05)
    assert 50 < length <= WARMUP_SHARE * 1500
    assert "not a measurement of this run" in advice.finding
    assert "(this run took 50)" in advice.finding
    larger = advice_on((history, losses), "suggested-warmup", batch_size=48)
    length = int(re.search(r"about ([\d,]+) updates", larger.finding)[1])
    np.testing.assert_allclose(length, wanted / 2, rtol=0.05)
    np.testing.assert_allclose(rate_per_update(0.5, None), 2.5e-4)
    np.testing.assert_allclose(rate_per_update(0.5, 48), 5e-4)


def test_no_suggested_warmup_is_longer_than_a_share_of_the_run():
    history, losses = trainings.no_warmup()  # 400 updates
    slope = 5e-4 * history.overall["parameter_rms"][0]
    assert 0.1 / slope > WARMUP_SHARE * 400
    advice = advice_on((history, losses), "suggested-warmup")
    assert "within 20% of the 400 updates" in advice.finding
    assert "A linear warmup of about" not in advice.finding
    peak = float(re.search(r"peak rate to about ([\d.e-]+)\.", advice.change)[1])
    np.testing.assert_allclose(peak, slope * WARMUP_SHARE * 400, rtol=0.05)
    per_update = float(re.search(r"at most ([\d.e-]+) per", advice.change)[1])
    np.testing.assert_allclose(per_update, slope, rtol=0.05)
    # Losses that go further than the record show a longer run.
    losses = dict.fromkeys(range(0, 10_000, 50), 1.0)
    advice = advice_on((history, losses), "suggested-warmup")
    length = int(re.search(r"about ([\d,]+) updates", advice.finding)[1])
    np.testing.assert_allclose(length, 0.1 / slope, rtol=0.05)


def test_a_short_noisy_run_is_not_told_to_warm_up_for_longer_than_it_took():
    optimizer = ow.record_moments(
        optax.chain(
            optax.scale_by_adam(b2=0.95),
            ow.scale_by_learning_rate(ow.warmup(0.1, 2)),
        ),
    )
    params = {"w": jnp.full(64, 0.3)}

    def step(carry, key):
        params, state = carry
        grads = {"w": jax.random.normal(key, (64,))}
        updates, state = optimizer.update(grads, state, params)
        return (optax.apply_updates(params, updates), state), None

    start = params, optimizer.init(params)
    keys = jax.random.split(jax.random.key(0), 200)
    (_, state), _ = jax.lax.scan(step, start, keys)
    advice = advice_on((ow.read_moments(state), None), "suggested-warmup")
    assert "within 20% of the" in advice.finding  # 0.1 / (5e-4 * 0.3) = 667 updates
    assert not re.search(r"6[67]\d|2 / \(1 - b2\)", str(advice))
    assert "lower the peak rate to about 0.0058." in advice.change  # of 193


@pytest.mark.parametrize("scale", [0.02, 0.1, 0.5, 2.0, 10.0])
@pytest.mark.parametrize("batch_size", [None, 2, 4096])
def test_suggestions_never_contradict_the_run(scale, batch_size):
    """Whatever the weights' size: no number of updates above the share of the run."""
    history, losses = trainings.no_warmup()
    overall = type(history.overall)(history.overall)
    overall["parameter_rms"] = history.overall["parameter_rms"] * scale
    given = dataclasses.replace(history, overall=overall)
    for advice in ow.diagnostics.advise(given, losses=losses, batch_size=batch_size):
        if advice.code == "suggested-warmup":
            told = re.findall(r"([\d,]+) updates", str(advice))
            lengths = [int(x.replace(",", "")) for x in told]
            assert all(x <= WARMUP_SHARE * 400 or x == 400 for x in lengths), advice


def test_oscillation_at_the_edge_of_stability():
    training = trainings.quadratic(0.1)
    advice = advice_on(training, "beyond-stability")
    assert (advice.severity, advice.groups) == ("warning", ("w",))
    rows = np.isin(training[0].steps, advice.steps)
    assert training[0].overall["alignment"][rows].mean() < -0.5
    assert "beyond-stability" not in codes(trainings.quadratic(1e-4))


def test_a_rate_measured_beyond_the_edge():
    history, losses = trainings.measured_quadratic(0.1)
    advice = advice_on((history, losses), "beyond-stability")
    assert advice.severity == "warning"
    allowed = 38 / 0.1  # (2 + 2 b1) / (1 - b1) / rate
    over = history.sharpness_steps[history.sharpness > allowed]
    assert len(history.sharpness) == 15 and advice.steps == tuple(over.tolist())
    ratio = history.sharpness.max() / allowed
    assert (
        1 < ratio < 2 and f"{ratio:.3g} times the stability threshold" in advice.finding
    )
    assert f"at {len(over)} of the 15 steps" in advice.finding


def test_a_rate_measured_below_the_edge():
    history, losses = trainings.measured_quadratic(1e-4)
    assert (history.sharpness * 1e-4 < 0.9 * 38).all()
    assert "beyond-stability" not in codes((history, losses))
    # Before momentum is settled nothing is said: after one update nu is one gradient.
    early = dataclasses.replace(
        history, sharpness_steps=np.array([1]), sharpness=np.array([1e9])
    )
    assert "beyond-stability" not in codes((early, losses))
    late = dataclasses.replace(early, sharpness_steps=np.array([100]))
    assert "beyond-stability" in codes((late, losses))


@pytest.mark.parametrize("gradients", [True, False])
def test_spikes_are_found_and_the_loss_that_followed(gradients):
    history, losses = trainings.jumping_targets()
    if not gradients:
        # As of moments in few bits, from which no gradient can be recovered.
        unknown = np.full_like(history.overall["snr"], np.nan)
        name = "normalized_gradient_rms"
        by_group = dict(history.statistics) | {name: unknown[:, None] + np.zeros(6)}
        history = dataclasses.replace(
            history,
            statistics=type(history.statistics)(by_group),
            overall=type(history.overall)(dict(history.overall) | {name: unknown}),
        )
    advice = advice_on((history, losses), "update-spikes")
    assert advice.severity == "problem"
    assert len(advice.groups) == 6
    assert min(advice.steps) == 400
    assert "spiked within 8 updates after step 400" in advice.finding
    kept = {step: loss for step, loss in enumerate(losses) if step % 4 == 0}
    assert advice_on((history, kept), "update-spikes").severity == "problem"
    calm = advice_on((history, np.zeros_like(losses)), "update-spikes")
    assert calm.severity == "note"
    assert "did not spike" in calm.finding
    (alone,) = [a for a in ow.diagnostics.advise(history) if a.code == "update-spikes"]
    assert alone.severity == "warning"
    assert "did not spike" not in alone.finding


def test_the_spike_threshold_is_the_value_of_a_gradient_that_jumps():
    """Against a loop: nu in its steady state, then a gradient 2.3 times as large."""
    for b2, count in ((0.999, 20_000), (0.95, 500), (0.9, 300), (0.999, 50), (0.95, 3)):
        nu = 0.0
        for n in range(1, count + 1):
            gradient = 2.3 if n == count else 1.0
            nu = b2 * nu + (1 - b2) * gradient**2
        value = 2.3 / np.sqrt(nu / (1 - b2**count))
        found = spike_threshold(b2, np.array([count]))
        np.testing.assert_allclose(found, value, rtol=1e-9)
    assert spike_threshold(0.999, np.array([10**6])) > 2.29
    assert (
        spike_threshold(0.95, np.array([10**6])) < 2.1
    )  # of 4.5, the most there can be


def test_layers_whose_gradients_vanish():
    training = trainings.deep_sigmoids()
    advice = advice_on(training, "gradients-vanish")
    assert advice.severity == "warning"
    assert {"layer0", "layer1"} <= set(advice.groups)
    assert not {"layer7", "layer8"} & set(advice.groups)
    assert "gradients-explode" not in codes(training)


def test_a_layer_without_any_gradient():
    advice = advice_on(trainings.frozen_layer(), "gradients-vanish")
    assert (advice.severity, advice.groups) == ("note", ("layer0",))
    assert "no gradient at all" in advice.finding


def test_gradients_that_explode():
    advice = advice_on(trainings.unbounded_loss(), "gradients-explode")
    assert advice.severity == "problem"
    assert "layer1/w" in advice.groups


def test_eps_that_drowns_the_gradients():
    advice = advice_on(trainings.large_eps(), "eps-dominates")
    assert advice.severity == "warning"
    assert {"layer0/w", "layer1/w"} <= set(advice.groups)
    assert "eps = 0.3" in advice.finding


def test_second_moments_in_bfloat16_freeze():
    advice = advice_on(trainings.low_precision(jnp.bfloat16), "moments-frozen")
    assert advice.severity == "problem"
    assert len(advice.groups) == 6
    assert 100 <= min(advice.steps) <= 128
    assert "bfloat16" in advice.finding
    history, losses = trainings.low_precision(jnp.float32)
    assert codes((history, losses)) == set()
    # The dtype alone tells before it is seen; with b2 = 0.95 nu moves in bfloat16 too.
    narrow = dataclasses.replace(history, dtypes=("bfloat16",) * 6)
    early = advice_on((narrow, losses), "moments-frozen")
    assert (early.severity, len(early.groups)) == ("warning", 6)
    assert "can increase but never decrease" in early.finding
    assert codes((dataclasses.replace(narrow, b2=0.95), losses)) == set()


def test_one_huge_gradient_freezes_a_coordinate():
    training = trainings.one_huge_gradient()
    advice = advice_on(training, "huge-gradient")
    assert (advice.severity, advice.groups) == ("warning", ("layer1/w",))
    assert 40 <= advice.steps[0] <= 44
    assert codes(training) == {"huge-gradient"}
    # A gradient a dozen times as large as the others is none of that kind,
    assert codes(trainings.one_huge_gradient(20.0)) <= {"update-spikes"}
    # and where no gradients come any more, all of nu falls like that.
    gone = trainings.one_huge_gradient(1e5, 0.0)
    assert "huge-gradient" not in codes(gone)


def test_gradients_that_are_not_finite():
    training = trainings.nan_in_a_batch()
    advice = advice_on(training, "not-finite")
    assert advice.severity == "problem"
    assert advice.steps[0] == 25
    assert len(advice.groups) == 6
    assert codes(training) == {"not-finite"}


def test_gradients_that_are_not_finite_and_were_kept_out():
    advice = advice_on(trainings.skipped_nan(), "not-finite")
    assert advice.severity == "warning"
    assert advice.steps == (25,) and "did not reach nu" in advice.finding


def test_spikes_that_were_skipped_are_counted():
    advice = advice_on(trainings.skipped_spike(), "spikes-skipped")
    assert advice.severity == "note" and advice.finding.startswith("1 updates")


def test_rmsprop_starts_with_steps_that_are_too_large():
    training = trainings.cold_rmsprop()
    advice = advice_on(training, "rmsprop-start")
    assert advice.severity == "warning"
    assert "step 0 was 32 times as large" in advice.finding  # 1 / sqrt(1 - 0.999)
    assert advice.change == "Pass bias_correction=True."  # 2,000 updates do not fit
    losses = dict.fromkeys(range(0, 20_000, 100), 1.0)
    longer = advice_on((training[0], losses), "rmsprop-start")
    assert "warm up over at least 2,000 updates" in longer.change
    assert "warmup-short" not in codes(training)


def test_rmsprop_has_no_alignment():
    history, _ = trainings.healthy("rmsprop")
    assert np.isnan(history.overall["alignment"]).all()
    np.testing.assert_allclose(history.noise_rms[0], 10)  # 1 / sqrt(1 - 0.99)
    # a little less: rmsprop's eps stands under the root, where it counts for more
    assert 9.5 < history.overall["update_rms"][0] < 10


def test_another_b2_than_the_optimizers():
    advice = advice_on(trainings.other_b2(), "constants-differ")
    assert advice.severity == "problem"
    assert "b2 would be 0.95" in advice.finding


def test_groups_without_second_moments_get_no_advice():
    history, losses = trainings.partly_sgd()
    assert history.sizes[0] == 0
    for advice in ow.diagnostics.advise(history, losses=losses):
        assert "layer0" not in advice.groups


def test_two_learning_rates_climb():
    history, _ = trainings.short("two signs")
    rate = ow.warmup(1e-2, 30, offset=1)
    np.testing.assert_allclose(
        history.learning_rate, [-3e-4 * rate(n) for n in history.steps], rtol=1e-3
    )
    assert history.learning_rate_exact.all()
    assert advice_on(trainings.short("two signs"), "updates-climb").severity == (
        "problem"
    )


@pytest.mark.parametrize("kind", ["inside", "outside, constant"])
def test_a_schedule_that_counts_updates_is_not_ahead(kind):
    found = codes(trainings.short(kind))
    assert not found & {"schedule-ahead", "updates-climb", "rate-estimated"}


def test_rates_of_groups_are_recorded_by_name():
    history, _ = trainings.short("groups")
    rate = ow.warmup(1e-2, 30, offset=1)
    told = history.scalars["learning_rate/w"]
    np.testing.assert_allclose(told, [rate(n) for n in history.steps], rtol=1e-6)
    np.testing.assert_allclose(history.scalars["learning_rate/b"], 1e-3, rtol=1e-6)
    b, w = history.statistics["applied_rate"].T
    np.testing.assert_allclose(w, told, rtol=1e-4)
    np.testing.assert_allclose(b, 1e-3, rtol=3e-3)  # nearly parallel to its decay
    differ = np.abs(told - 1e-3) > 1e-5  # at one step both have the same
    np.testing.assert_array_equal(history.learning_rate_exact, ~differ)


def test_an_empty_record():
    (advice,) = ow.diagnostics.advise(trainings.empty())
    assert advice.code == "empty-record"


def test_problems_come_first():
    history, losses = trainings.unbounded_loss()
    found = [
        advice.severity for advice in ow.diagnostics.advise(history, losses=losses)
    ]
    order = ["problem", "warning", "note"]
    assert found == sorted(found, key=order.index)
    assert set(found) == set(order)


@pytest.mark.parametrize("code", trainings.ILL)
def test_every_advice_is_plain_and_explained(code):
    advice = advice_on(trainings.ILL[code](), code)
    assert advice.explanation == EXPLANATIONS[code]
    assert str(advice).endswith(f"[{code}]")
    assert advice.finding.endswith(".") and advice.finding[0] != " "
    assert "nan" not in str(advice).lower().replace("nan or inf", "").replace(
        "nan spreads", ""
    )
    assert not re.search(r"\d{6}|\d\.\d{5}", advice.finding), advice.finding
    assert hash(advice) == hash(advice_on(trainings.ILL[code](), code))


def test_every_code_is_explained_and_has_a_training():
    assert sorted(EXPLANATIONS) == sorted(trainings.ILL)
    for text in EXPLANATIONS.values():
        assert text.endswith(".") and "  " not in text


def test_the_docs_say_what_the_package_says():
    assert write_explanations.rewritten(DOCS.read_text()) == DOCS.read_text(), (
        "run python tests/tools/write_explanations.py"
    )


def test_a_stretch_of_negative_alignment():
    calm, turned = np.zeros(20), np.full(10, -0.6)
    both = np.concatenate([calm, turned, calm])
    # Windows of 8 whose mean is below -0.4 hold 6 or more of the ten; of those the
    # share of negative ones must exceed 80 %: 7 or more.
    assert negative_stretch(both) == slice(19, 31)
    assert negative_stretch(turned) == slice(0, 10)
    assert negative_stretch(calm) is None
    assert negative_stretch(turned[:7]) is None
    assert negative_stretch(np.full(10, -0.39)) is None
    assert negative_stretch(np.tile([-3.0, 1.0], 8)) is None  # negative in a half


def test_a_broken_run_is_told_to_skip_what_is_not_finite():
    advice = advice_on(trainings.nan_in_a_batch(), "not-finite")
    assert "optax_warmup.skip_nonfinite" in advice.change
    assert callable(ow.skip_nonfinite)
    for text in (advice.change, *EXPLANATIONS.values()):
        assert "apply_if_finite" not in text


@pytest.mark.parametrize(
    ("losses", "message"),
    [(np.zeros((3, 2)), r"shape \(3, 2\)"), (3.0, r"shape \(\)")],
)
def test_losses_that_are_not_one_a_step(losses, message):
    with pytest.raises(ValueError, match=f"advise: losses must hold .*{message}"):
        ow.diagnostics.advise(trainings.empty(), losses=losses)


def test_wrong_arguments():
    with pytest.raises(TypeError, match="history must be a MomentHistory, got dict"):
        ow.diagnostics.advise({})
    with pytest.raises(ValueError, match="batch_size must be a whole number"):
        ow.diagnostics.advise(trainings.empty(), batch_size=0)


def test_an_automatic_warmup_that_has_not_started_is_a_problem():
    advice = advice_on(trainings.automatic(0.0), "automatic-no-start")
    assert advice.severity == "problem" and "found no start" in advice.finding
    assert not {c for c in codes(trainings.automatic(1.0)) if c == "automatic-no-start"}


def test_a_group_that_has_not_started_is_named():
    parts = {name: ow.automatic_warmup(optax.adam(9.0)) for name in ("body", "head")}
    optimizer = ow.record_moments(optax.partition(parts, {"w": "body", "h": "head"}))
    params = {"w": jnp.ones((4, 4)), "h": jnp.ones(4)}
    grads = {"w": jnp.ones((4, 4)), "h": jnp.zeros(4)}
    _, state = optimizer.update(grads, optimizer.init(params), params)
    found = [
        a
        for a in ow.diagnostics.advise(ow.read_moments(state))
        if a.code == "automatic-no-start"
    ]
    assert ["'head'" in a.finding and "body" not in a.finding for a in found] == [True]


def test_when_the_automatic_warmup_arrives_is_foretold():
    history, _ = trainings.automatic(1.0)
    advice = advice_on((history, None), "automatic-limits")
    told = re.search(r"at about update ([\d,.e+]+)\.", advice.finding)[1]
    arrival = (history.steps[-1] + 1) / history.warmup_factor[-1] ** 2
    assert float(told.replace(",", "")) == pytest.approx(arrival, rel=0.01)
    judged = advice_on(trainings.automatic(1.0, feedback=True), "automatic-limits")
    assert "about update" not in judged.finding


def cosine(step):
    return 30.0 * 0.5 * (1 + jnp.cos(jnp.pi * step / 400))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"steps": 300}, True),
        ({"steps": 40}, False),  # nobody knows yet
        ({"steps": 300, "rate": cosine}, False),
        ({"steps": 300, "rate": 1e-3}, False),  # the peak needs no warmup
        ({"steps": 300, "feedback": True}, False),
    ],
)
def test_feedback_is_named_where_nothing_lowers_the_rate(options, said):
    training = trainings.automatic(1.0, **options)
    assert ("automatic-no-decay" in codes(training)) is said
    if said:
        advice = advice_on(training, "automatic-no-decay")
        assert advice.severity == "note" and "feedback=True" in advice.change
