"""Claims about warmup: their judges on made-up runs, their arms, and their page."""

import dataclasses
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks.claims import judge, trials
from benchmarks.claims.judge import Finding, Row
from benchmarks.claims.page import page, summary
from benchmarks.claims.table import CLAIMS
from benchmarks.warmup_quality import plan
from benchmarks.warmup_quality.arms import LENGTHS
from benchmarks.warmup_quality.tasks import BY_NAME as TASKS, Task

NOISE = np.array([-0.1, 0.0, 0.1])
ROOT = Path(__file__).parents[1]


def scores(*by_peak):
    """Scores of five peaks with three seeds, which differ a little."""
    return np.array(by_peak, float)[:, None] + NOISE


TUNED = scores(20, 5, 0, 5, 20)  # usable: the first four peaks


class Runs:
    """Of each method the scores that are given, else those of tuned linear warmup."""

    def __init__(self, **found):
        self.found = found

    def of(self, task, arm):
        name = arm if isinstance(arm, str) else arm.name
        return self.found.get(name, TUNED)

    def tuned(self, task):
        return self.found.get(f"tuned {task.batch}", TUNED)

    def collected(self, task):
        return self.found["Adam-2k"]

    def by_length(self, task):
        return np.stack([self.found[f"{length:g}"] for length in LENGTHS])

    def at_best(self, task, name):
        return self.found[f"{name} loss"], self.found[f"{name} curve"]


def behind(usable, last=20.0):
    """So far behind tuned linear warmup, at usable peaks and at the last one."""
    return TUNED + np.array([usable] * 4 + [last])[:, None]


def lengths(*at_each):
    return {f"{n:g}": TUNED + x for n, x in zip(LENGTHS, at_each, strict=True)}


def lasting(*losses):
    """A loss of each length, whatever the peak is, but for the highest peak."""
    return {
        f"{n:g}": scores(5, 0, 0, 0, x) for n, x in zip(LENGTHS, losses, strict=True)
    }


FALLING = np.linspace(100, 0, 20) + np.zeros((3, 1))
EVERY_TASK = {  # claim, what is seen on every task, and what follows
    "a": [
        (judge.plain_sgd, {"none": behind(0)}, "holds"),
        (judge.plain_sgd, {"none": behind(5)}, "fails"),
    ],
    "b": [
        (judge.larger_peaks, {"none": behind(0)}, "holds"),
        (judge.larger_peaks, {"none": behind(15)}, "fails"),
        (judge.larger_peaks, {"none": behind(0, last=0)}, "fails"),
    ],
    "c": [
        (judge.untuned, {"radam": behind(3), "untuned linear": behind(3.5)}, "holds"),
        (judge.untuned, {"radam": behind(6), "untuned linear": behind(3)}, "fails"),
    ],
    "d": [
        (judge.variance, {"none": behind(9), "Adam-2k": behind(2)}, "holds"),
        (judge.variance, {"none": behind(9), "Adam-2k": behind(8)}, "fails"),
    ],
    "e": [
        (judge.shapes, {"none": behind(20), "cosine": behind(4)}, "holds"),
        (judge.shapes, {"none": behind(20), "constant": behind(9)}, "fails"),
        (judge.shapes, {"none": behind(2), "constant": behind(2)}, "fails"),
    ],
    "f": [
        (judge.lengths, lengths(5, 3, 0, 1, 2, 8), "holds"),
        (judge.lengths, lengths(0, 0, 1, 2, 3, 8), "fails"),
        (judge.lengths, lengths(5, 3, 2, 1, 0, 0), "fails"),
    ],
    "g": [
        (judge.batches, {"none": behind(9), **{
            f"tuned {TASKS[name].batch // 8}": behind(8) for name in trials.BATCHES
        }}, "holds"),
        (judge.batches, {"none": behind(9)}, "fails"),
    ],
    "h": [
        (judge.sensitivity, lasting(50, 30, 20, 10, 5, 5), "holds"),
        (judge.sensitivity, lasting(10, 10, 10, 10, 5, 5), "fails"),
    ],
    "i": [
        (judge.gi_adam, {"none": behind(9), "GI-Adam": behind(0.3)}, "holds"),
        (judge.gi_adam, {"none": behind(9), "GI-Adam": behind(3)}, "fails"),
    ],
    "j": [
        (judge.both, {
            "none loss": 3 + NOISE, "none curve": FALLING,
            "linear loss": NOISE, "linear curve": FALLING - 20,
        }, "holds"),
        (judge.both, {
            "none loss": 3 + NOISE, "none curve": FALLING - 20,
            "linear loss": NOISE, "linear curve": FALLING,
        }, "fails"),
        (judge.both, {
            "none loss": NOISE, "none curve": FALLING,
            "linear loss": NOISE, "linear curve": FALLING - 20,
        }, "fails"),
    ],
}  # fmt: skip


@pytest.mark.parametrize("letter", EVERY_TASK)
def test_a_judge_sees_what_there_is(letter):
    (claim,) = (claim for claim in CLAIMS if claim.letter == letter)
    for judged, found, verdict in EVERY_TASK[letter]:
        assert judged is claim.judge
        seen = judged(Runs(**found))
        assert seen.verdict == verdict, seen
        assert all(len(row.effects) == len(seen.head) for row in seen.rows)
        assert len({row.task for row in seen.rows}) == len(seen.rows) >= 5
        assert max(claim.shown) < len(seen.head)


def test_tasks_without_damage_do_not_speak_about_its_cause():
    assert judge.variance(Runs(**{"Adam-2k": TUNED})).rows == ()


@pytest.mark.parametrize(
    ("agreeing", "verdict"), [(8, "holds"), (6, "holds"), (5, "mixed"), (4, "fails")]
)
def test_verdicts_are_shares_of_tasks(agreeing, verdict):
    rows = tuple(Row("", (), k < agreeing) for k in range(8))
    assert Finding((), rows).verdict == verdict


def test_what_is_clear():
    assert judge.clear(np.array([1.0, 1.2, 0.9]))
    assert not judge.clear(np.array([0.4, 0.41, 0.4]))  # too little
    assert not judge.clear(np.array([0.1, 4.0, 1.0]))  # may be chance
    assert not judge.clear(np.array([-1.0, -1.2, -0.9]))


def test_when_a_level_is_reached():
    curve = np.array([[9.0, 7.0, 3.0, 3.0]])  # at 12.5, 37.5, 62.5 and 87.5 %
    assert judge.reached(curve, [5.0]) == pytest.approx([50.0])
    assert judge.reached(curve, [9.5]) == pytest.approx([12.5])
    assert judge.reached(curve, [1.0]) == pytest.approx([100.0])


STEADY = Task("steady", "held out", "mlp", (1.0,), "sgd", "constant", steps=1000)


def factors(arm, length=120.0, task=STEADY):
    """What the updates of SGD with gradients of 1 are multiplied by."""

    @jax.jit
    def run(length):
        optimizer, params = arm.build(task, 1.0, length), jnp.ones(1)

        def update(state, _):
            updates, state = optimizer.update(jnp.ones(1), state, params)
            return state, -updates[0]

        return jax.lax.scan(update, optimizer.init(params), length=300)[1]

    return np.asarray(run(jnp.float32(length)))


@pytest.mark.parametrize("name", trials.SHAPES)
def test_shapes_hold_back_equally_much(name):
    found = factors(trials.SHAPES[name])
    assert 0 < found[0] < 0.11 and found[-1] == pytest.approx(1, abs=0.01)
    assert np.sum(1 - found) == pytest.approx(60, abs=1)


def test_adam_2k_collects_and_then_does_as_if_nothing_had_been():
    task = dataclasses.replace(STEADY, decay="cosine", steps=400)
    longer = dataclasses.replace(task, steps=400 + trials.COLLECTED)
    found = factors(trials.ADAM_2K, task=longer)
    plain = factors(trials.ARMS["none"], 1.0, task)
    assert trials.COLLECTED == 200 and not found[:200].any()
    np.testing.assert_allclose(found[200:], plain[:100], rtol=1e-6)


def test_small_batches_have_rates_from_lower_ones_on():
    task = trials.with_small_batch(TASKS["deep-plain"])
    assert task.batch == 8 and task.steps == 400
    assert task.peaks == (0.000316, *TASKS["deep-plain"].peaks[:4])


@pytest.fixture(scope="module")
def found():
    runs = trials.Trials()

    def unmade(*arguments):
        raise AssertionError(f"not in the store: {arguments}")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plan, "train", unmade)
        return {claim: claim.judge(runs) for claim in CLAIMS}


def tables(text):
    return [line for line in text.splitlines() if line.startswith("|")]


def test_the_page_follows_from_the_runs_that_are_kept(found):
    text = (ROOT / "benchmarks/results/claims.md").read_text("utf-8")
    assert tables(page(found)) == tables(text)
    assert len(re.findall("^Verdict: ", text, re.M)) == len(CLAIMS) == 10


def test_the_docs_show_the_same_summary(found):
    assert summary(found) in (ROOT / "docs/claims.md").read_text("utf-8")


@pytest.mark.slow
@pytest.mark.train
def test_a_run_is_kept_with_its_curve_if_it_has_one_peak(tmp_path):
    none = trials.ARMS["none"]
    for peaks, windows in (((0.1,), 8), ((0.1, 0.2), 0)):
        task = Task("short", "held out", "mlp", peaks, "sgd", steps=8, batch=4)
        path = tmp_path / f"{len(peaks)}.jsonl"
        made = plan.Comparison(task, trials.Trials(path), (0, 1)).scored(none)
        again = plan.Comparison(task, trials.Trials(path), (0, 1)).scored(none)
        np.testing.assert_allclose(again.loss, made.loss, rtol=1e-5)
        assert made.curve.size == again.curve.size == windows * 2
        assert not again.factors.size
