"""Loss laws: against a direct float64 evaluation, and laws that are known."""

import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import optax_warmup as ow
from optax_warmup import loss_laws
from optax_warmup._command import main

# The published constants of the model of 25 million parameters, rounded.
TRUE = loss_laws.LossLaw(3.04, 0.525, 0.508, 364.0, 2.07, 0.583, 0.641)
PEAK, WARMUP, STEPS = 1e-3, 200, 8000
AT = np.arange(200, STEPS + 1, 200)


def oracle(law, rates, step):
    """The formula, term by term."""
    total = math.fsum(rates[:step])
    loss, before, sum_before = law.L0 + law.A * total**-law.alpha, 0.0, 0.0
    for rate in rates[:step]:
        if rate != before:
            behind = total - sum_before
            x = law.C * max(rate, 1e-7 * max(rates)) ** -law.gamma * behind
            loss -= law.B * (before - rate) * (1 - (1 + x) ** -law.beta)
        before, sum_before = rate, sum_before + rate
    return loss


def run(cooldown, steps=STEPS, law=TRUE, noise=0.0, seed=0):
    schedule = ow.wsd(PEAK, WARMUP, steps, cooldown)
    at = np.arange(200, steps + 1, 200)
    error = noise * np.random.default_rng(seed).standard_normal(len(at))
    return schedule, at, law(schedule, at) * (1 + error)


@pytest.fixture(scope="module")
def fitted():
    runs = [run(c, noise=0.001, seed=c) for c in (0, 1600, 7000)]
    return loss_laws.fit_loss_law(runs, refits=8)


SCHEDULES = {
    "wsd": ow.wsd(PEAK, 20, 400, 150),
    "cosine": ow.warmup_cosine(PEAK, 20, 400, end_value=1e-4),
    "constant": ow.constant(PEAK),
    "two stages": ow.join([(200, ow.constant(PEAK))], last=ow.constant(1e-4)),
    "restarts": ow.warmup_cosine_restarts(PEAK, 10, 130, num_cycles=3),
    "optax": optax.warmup_cosine_decay_schedule(0.0, PEAK, 20, 400),
    "to zero and on": ow.cycle(ow.transition(PEAK, 0.0, 50), 60),
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_the_law_is_its_formula(name):
    schedule = SCHEDULES[name]
    rates = np.asarray(jnp.asarray([schedule(k) for k in range(400)]), np.float64)
    expected = [oracle(TRUE, rates.tolist(), step) for step in (30, 50, 237, 400)]
    # Where the rate changes in every update, neighbouring changes are added up.
    np.testing.assert_allclose(TRUE(schedule, [30, 50, 237, 400]), expected, rtol=5e-4)


@pytest.mark.parametrize(
    ("schedule", "error"),
    [
        (ow.warmup_cosine(3e-4, 500, 6000, end_value=3e-5), 1e-4),
        (ow.triangular(1e-4, 1e-3, 100, 100), 6e-3),
        (ow.wsd(3e-4, 1000, 6000, 1000), 1e-4),
        (ow.warmup_linear(1e-3, 200, 6000), 1e-3),
    ],
    ids=["cosine", "triangular", "wsd", "linear"],
)
def test_adding_up_changes_costs_little(schedule, error):
    rates = np.asarray(schedule(np.arange(6000)), np.float64).tolist()
    for step in (2000, 6000):
        assert abs(TRUE(schedule, [step, 6000])[0] - oracle(TRUE, rates, step)) < error


def test_the_law_keeps_the_shape_of_steps():
    assert np.shape(TRUE(SCHEDULES["wsd"], 100)) == ()
    assert TRUE(SCHEDULES["wsd"], [[100, 200]]).shape == (1, 2)


def test_a_run_of_any_length_has_a_loss():
    assert 3.0 < TRUE(ow.warmup_cosine(PEAK, 10_000, 2_000_000), 2_000_000) < 3.1


def test_the_law_is_differentiable_in_the_schedule():
    def loss(peak):
        return TRUE(ow.wsd(peak, 20, 400, 150), 400)

    value, slope = jax.jit(jax.value_and_grad(loss))(PEAK)
    np.testing.assert_allclose(value, loss(PEAK), rtol=1e-5)
    difference = (loss(1.01 * PEAK) - loss(0.99 * PEAK)) / (0.02 * PEAK)
    np.testing.assert_allclose(slope, difference, rtol=1e-2)


def test_a_fit_predicts_a_longer_run(fitted):
    longer = ow.wsd(PEAK, WARMUP, 16_000, 6000)
    assert abs(fitted(longer, 16_000) - TRUE(longer, 16_000)) < 0.01
    low, high = fitted.band(longer, 16_000)
    assert low < TRUE(longer, 16_000) < high
    assert fitted.extrapolation(longer, 16_000) == pytest.approx(1.64, abs=0.02)
    assert fitted.fitted.longest == STEPS
    assert fitted.fitted.error < 0.002


def test_a_fit_says_which_constants_it_knows(fitted):
    assert tuple(fitted.determined) == loss_laws.LossLaw.__match_args__[:7]
    assert fitted.determined["L0"]
    assert fitted.determined["B"]
    with pytest.warns(UserWarning, match="same length"):
        early = loss_laws.fit_loss_law([run(1600, noise=0.004)], refits=8)
    assert not all(early.determined.values())
    assert "not determined by the losses" in str(early)


def test_a_fit_ranks_as_the_truth_does(fitted):
    base = ow.warmup_constant(PEAK, WARMUP)
    fractions = (0.1, 0.2, 0.4, 0.6, 0.8)
    known = loss_laws.best_cooldown(TRUE, base, 16_000, fractions=fractions)
    found = loss_laws.best_cooldown(fitted, base, 16_000, fractions=fractions)
    assert found.fraction == known.fraction
    assert found.steps == round(known.fraction * 16_000)
    assert found.schedule(16_000) == 0
    assert [r.behind for r in found.ranked] == sorted(r.behind for r in found.ranked)
    assert found.ranked[0].tied
    assert not found.ranked[-1].tied


def test_equal_candidates_are_tied(fitted):
    wsd = ow.wsd(PEAK, WARMUP, 10_000, 4000)
    one, two = loss_laws.rank(fitted, {"a": wsd, "b": wsd}, 10_000)
    assert one.tied
    assert two.tied
    assert two.behind == 0


def test_a_cooldown_begins_behind_the_warmup(fitted):
    base = ow.warmup_constant(PEAK, 1000)
    found = loss_laws.best_cooldown(fitted, base, 10_000, fractions=(1.0,))
    assert found.steps == 9000
    assert found.schedule(1000) == pytest.approx(PEAK)


def test_losses_may_be_given_in_several_forms():
    runs = [run(c) for c in (0, 1600, 4000)]
    forms = (
        runs,
        [(s, dict(zip(at.tolist(), losses, strict=True))) for s, at, losses in runs],
        [(s, list(zip(at, losses, strict=True))) for s, at, losses in runs],
        [(s, jnp.asarray(at), list(losses)) for s, at, losses in runs],
    )
    values = [loss_laws.fit_loss_law(form, refits=0).L0 for form in forms]
    np.testing.assert_allclose(values, values[0], rtol=1e-12)
    every = np.arange(2, 2001)
    short = [ow.wsd(PEAK, 100, 2000, c) for c in (0, 500, 1000)]
    whole = [(s, [9.0, 9.0, *TRUE(s, every)]) for s in short]
    assert loss_laws.fit_loss_law(whole, refits=0).fitted.longest == 2000


def test_refits_are_reproducible():
    runs = [run(c, noise=0.002) for c in (0, 1600, 4000)]
    one, two = (loss_laws.fit_loss_law(runs, refits=2, seed=1) for _ in range(2))
    np.testing.assert_array_equal(one.refits, two.refits)


CONSTANT = ow.warmup_constant(PEAK, WARMUP)
COSINE = ow.warmup_cosine(PEAK, WARMUP, STEPS)
LOSSES = TRUE(CONSTANT, AT)
WRONG = {
    "no run": ([], "at least one run"),
    "no list": (COSINE, "list of"),
    "no pair": ([COSINE], "must be \\(schedule, losses\\)"),
    "a mapping": ({"a": 1}, "list of"),
    "no losses": ([(COSINE, {})], "at least 4 points, got 0"),
    "one point": ([(COSINE, {800: 3.0})], "at least 4 points, got 1"),
    "few points": ([(COSINE, AT[:4], LOSSES[:4])], "after its warmup"),
    "NaN": ([(COSINE, AT, np.where(AT == 800, np.nan, 3))], "nan at step 800"),
    "infinity": ([(COSINE, AT, np.where(AT == 800, np.inf, 3))], "inf at step 800"),
    "out of order": (
        [(COSINE, AT[::-1], LOSSES)],
        "must increase, got 7800 after 8000",
    ),
    "twice": ([(COSINE, [*AT, AT[-1]], [*LOSSES, 3.0])], "8000 after 8000"),
    "negative steps": ([(COSINE, AT - 900, LOSSES)], "from 0 to"),
    "negative": ([(COSINE, AT, LOSSES - 5)], "above 0"),
    "part of a step": ([(COSINE, AT + 0.5, LOSSES)], "whole numbers, got"),
    "text": ([(COSINE, AT, ["a"] * len(AT))], "must be numbers"),
    "other lengths": ([(COSINE, AT, LOSSES[1:])], "one loss for each step"),
    "a table": ([(COSINE, np.ones((3, 3)))], "shape \\(3, 3\\)"),
    "no rate": ([(ow.constant(0.0), AT, LOSSES)], "above 0 somewhere"),
    "no decay": ([(CONSTANT, AT, LOSSES)], "at least one whose rate falls"),
    "not yet": ([run(1600)[:1] + (AT[:32], LOSSES[:32])], "up to the end"),
    "all of one kind": ([(COSINE, AT, TRUE(COSINE, AT))] * 3, "both go together"),
    "inverse roots": ([(ow.warmup_inverse_sqrt(PEAK, WARMUP), AT, LOSSES)], "together"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_runs_are_refused(name):
    runs, message = WRONG[name]
    with pytest.raises((TypeError, ValueError), match=message):
        loss_laws.fit_loss_law(runs)


def shifted(index, shift, last_only=False):
    runs = [run(c, noise=2e-4, seed=c) for c in (0, 1600, 7000)]
    schedule, at, losses = runs[index]
    moved = losses.copy()
    moved[-1 if last_only else slice(None)] += shift
    runs[index] = schedule, at, moved
    return runs


DOUBTFUL = {
    "a loss on other data": (shifted(1, 0.04), "losses that differ by"),
    "a last loss on other data": (shifted(2, 0.036, True), "stands apart"),
    "cooldowns of one length": ([run(1600), run(1600, 4000)], "fall over the same"),
    "a noisy run": ([run(0), run(1600), run(7000, noise=0.05)], "misses runs"),
}


@pytest.mark.parametrize("name", DOUBTFUL)
def test_doubtful_runs_give_a_warning(name):
    runs, message = DOUBTFUL[name]
    with pytest.warns(UserWarning, match=message):
        law = loss_laws.fit_loss_law(runs, refits=0)
    assert any(message in text for text in law.warnings)


def test_runs_in_order_give_no_warning():
    assert loss_laws.fit_loss_law(shifted(0, 0.0), refits=0).warnings == ()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda law: loss_laws.rank(law, {}, 100), "at least one schedule"),
        (lambda law: loss_laws.rank(law, COSINE, 100), "mapping of names"),
        (lambda law: loss_laws.rank(law, [COSINE], 0), "steps must be a whole"),
        (lambda law: loss_laws.rank(COSINE, [COSINE], 100), "must be a LossLaw"),
        (lambda law: loss_laws.rank(law, [ow.constant(3e-3)], 100), "other peaks"),
        (lambda law: loss_laws.best_cooldown(law, 3e-4, 100), "other peaks"),
        (
            lambda law: loss_laws.best_cooldown(
                law, ow.warmup_constant(PEAK, 100), 100
            ),
            "ends within the warmup",
        ),
        (
            lambda law: loss_laws.best_cooldown(law, PEAK, 100, fractions=(0.0,)),
            "fractions must be",
        ),
        (lambda law: law(COSINE, 0), "steps must be a whole"),
        (lambda law: law("cosine", 10), "schedule must be"),
        (lambda law: loss_laws.LossLaw(3, -1, 1, 1, 1, 1, 1), "A must be"),
        (lambda law: loss_laws.LossLaw(3, 1, math.nan, 1, 1, 1, 1), "alpha must be"),
        (lambda law: loss_laws.fit_loss_law([run(1600)], skip=1.0), "skip must be"),
    ],
)
def test_wrong_arguments_are_refused(fitted, call, message):
    with pytest.raises((TypeError, ValueError), match=message):
        call(fitted)


@pytest.mark.parametrize(
    "schedule",
    [
        ow.warmup_constant(PEAK, 600),
        # A fall within a warmup does not end it.
        ow.piecewise(
            0.0,
            [
                (200, PEAK / 2, ow.shapes.linear),
                (100, PEAK / 3, ow.shapes.linear),
                (300, PEAK, ow.shapes.linear),
            ],
        ),
    ],
)
def test_no_cooldown_begins_within_the_warmup(fitted, schedule):
    found = loss_laws.best_cooldown(
        fitted, schedule, 1000, fractions=(0.1, 0.4, 0.5, 0.9)
    )
    assert {each.name for each in found.ranked} == {"10 %", "40 %"}


def write_run(folder, cooldown):
    schedule, at, losses = run(cooldown, noise=2e-4, seed=cooldown)
    logged = np.arange(0, STEPS, 50)
    rows = [
        {"step": int(k), "learning_rate": float(x), "loss": 4.0}
        for k, x in zip(logged, schedule(logged), strict=True)
    ]
    rows += [
        {"step": int(k), "heldout_loss": float(x)}
        for k, x in zip(at, losses, strict=True)
    ]
    folder.mkdir()
    lines = [json.dumps(row) for row in rows]
    (folder / "metrics.jsonl").write_text("\n".join([*lines, '{"step": 80']))
    return str(folder)


def test_the_command_ranks_from_run_folders(tmp_path, capsys):
    folders = [write_run(tmp_path / str(c), c) for c in (0, 1600, 7000)]
    assert main(["rank", *folders, "--steps", "16000"]) == 0
    text = capsys.readouterr().out
    assert "3 runs of up to 8,000 updates" in text
    base = ow.warmup_constant(PEAK, WARMUP)
    found = loss_laws.best_cooldown(TRUE, base, 16_000)
    best = text.split("behind the best")[1].splitlines()[1]
    assert best.startswith(f"{100 * found.fraction:g} %")
    given = ["warmup_cosine(1e-3, 200, 16000)", "wsd(1e-3, 200, 16000, 5000)"]
    assert main(["rank", *folders, "--steps", "16000", "--schedule", *given]) == 0
    ranked = capsys.readouterr().out.split("behind the best")[1].splitlines()[1:3]
    assert [line.split("(")[0] for line in ranked] == ["wsd", "warmup_cosine"]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (None, "no metrics.jsonl"),
        ([], "learning_rate in some lines, got none"),
        ([{"step": 1, "loss": 3.0}], "learning_rate in some lines, got loss, step"),
        ([{"step": 1, "learning_rate": 0.1}], "must have loss in some lines"),
        ([{"step": 1, "loss": 3.0, "learning_rate": 0.1}], "at least 4 points"),
    ],
)
def test_the_command_refuses_other_folders(tmp_path, capsys, rows, message):
    if rows is not None:
        text = "\n".join(json.dumps(row) for row in rows)
        (tmp_path / "metrics.jsonl").write_text(text)
    assert main(["rank", str(tmp_path), "--steps", "100"]) == 2
    assert message in capsys.readouterr().err
