"""The benchmark of warmup methods: its statistics, its plan, its store, its models."""

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
from selection import parametrize

from benchmarks.warmup_quality import (
    arms,
    plan,
    problems,
    protocol,
    report,
    tasks,
)
from benchmarks.warmup_quality.store import Store
from benchmarks.warmup_quality.train import Outcome, prepared, train  # noqa: E402

# A task of each way in which a program is built: from zeros, in parts, from a
# checkpoint, by another optimizer.
KINDS = [
    task
    for task in tasks.TASKS
    if task.name in ("linear-zero", "frozen", "fine-tuning", "lion", "plain-sgd")
]
TINY = dataclasses.replace(
    tasks.BY_NAME["linear-zero"], steps=3, batch=4, peaks=(1e-2, 3e-2)
)


def outcome(loss, initial=2.0):
    loss = np.array(loss, float)
    return Outcome(np.full(loss.shape, initial), loss, np.ones((len(loss), 2)))


def test_regret_is_paired_by_seed():
    # Seeds differ by 10 and methods by 0.1 or so: only pairs show it.
    linear = np.array([[2.0, 12.0], [1.0, 11.0], [1.5, 11.5], [4.0, 14.0]])
    arm = linear + np.array([[0.1, 0.3], [0.0, 0.2], [-0.1, 0.1], [-3.0, -1.0]])
    found = protocol.regret(arm, linear)
    # Linear warmup is best at the second peak; up to 3x is the third.
    assert found.usable.mean == pytest.approx(np.mean([0.2, 0.1, 0.0]))
    assert found.all.mean == pytest.approx(np.mean([0.2, 0.1, 0.0, -2.0]))
    assert found.largest.mean == pytest.approx(0.2)
    assert found.largest.error == pytest.approx(0.1)
    # Ten times the second peak is the fourth. The arm's own best is the second, too.
    assert found.tenfold.mean == pytest.approx(np.mean([1.0 - 1, 13.0 - 11]))
    assert found.best.mean == pytest.approx(0.1)


def test_one_seed_has_no_error_and_one_row_stands_for_all_peaks():
    found = protocol.regret(np.array([[2.0]]), np.array([[2.5], [1.0]]))
    assert found.all.mean == pytest.approx(0.25) and math.isnan(found.all.error)
    assert found.tenfold.mean == 1.0  # beyond the grid: its end


def test_a_run_that_fails_scores_the_loss_before_training():
    got = plan.score(outcome([[1.5, np.nan], [9.0, np.inf]]))
    np.testing.assert_array_equal(got, [[1.5, 2.0], [2.0, 2.0]])


def test_lengths_are_chosen_at_each_peak_on_seeds_of_their_own(tmp_path):
    each = plan.Comparison(TINY, Store(tmp_path / "runs.jsonl"))
    linear = arms.BY_NAME["linear"]
    for k, length in enumerate(linear.lengths):
        key = each.key(linear, plan.SELECTION, [length] * 2)
        each.store.add(key, outcome([[1 + abs(k - 2)] * 2, [1 + abs(k - 4)] * 2], 9.0))
    assert each.chosen(linear) == (linear.lengths[2], linear.lengths[4])
    assert not {*plan.SELECTION} & {*plan.SCORING, *plan.MORE}


def test_what_is_kept_is_not_made_again(tmp_path):
    store = Store(tmp_path / "runs.jsonl")
    none = arms.BY_NAME["none"]
    assert plan.missing(TINY, none, store, plan.SCORING)
    made = plan.Comparison(TINY, store).scored(none)
    with store.path.open("a") as file:
        file.write('{"task": "half a li')  # a process that was killed
    again = Store(store.path)
    assert not plan.missing(TINY, none, again, plan.SCORING)
    kept = plan.Comparison(TINY, again).scored(none)
    np.testing.assert_allclose(kept.loss, made.loss, rtol=1e-5)
    again.add(plan.Comparison(TINY, again).key(none, (9,), [0]), outcome([[1.0]]))
    assert len(Store(store.path).kept) == 2
    other = dataclasses.replace(TINY, batch=5)
    assert plan.missing(other, none, again, plan.SCORING)


def test_a_report_of_what_there_is(tmp_path):
    store = Store(tmp_path / "runs.jsonl")
    for name in ("linear", "none"):
        plan.Comparison(TINY, store).scored(arms.BY_NAME[name])
    said = report.write(store, [TINY], tmp_path)
    text = (tmp_path / "report.md").read_text()
    assert "| linear-zero | adam | cosine | 3 |" in text
    assert "linear-zero: automatic" in said and "linear-zero: none" not in said


@pytest.mark.train
@pytest.mark.parametrize("arm", arms.ARMS, ids=lambda arm: arm.name)
def test_every_arm_trains(arm):
    peaks = (1.0,) if arm.one_peak else TINY.peaks
    got = train(TINY, arm, peaks, (0, 1), [0.5] * len(peaks))
    assert got.loss.shape == (len(peaks), 2) and np.isfinite(got.loss).all()
    assert got.factors.shape == (len(peaks), 3)


@pytest.mark.train
@parametrize("task", tasks.TASKS, quick=KINDS, ids=lambda task: task.name)
def test_every_task_trains(task):
    short = dataclasses.replace(task, steps=2, peaks=task.peaks[:1])
    if task.problem.endswith("_tuned"):
        source = task.problem.removesuffix("_tuned")
        assert problems.pretrained(prepared(source), 1)
        short = dataclasses.replace(short, problem=source)
    got = train(short, arms.BY_NAME["automatic"], short.peaks, (0,), [0])
    assert np.isfinite(got.loss).all() and got.loss != got.initial


def test_half_of_the_tasks_chose_nothing():
    halves = [task.half for task in tasks.TASKS]
    assert halves.count(tasks.CHOOSING) <= halves.count(tasks.HELD_OUT)
    assert {*halves} == {tasks.CHOOSING, tasks.HELD_OUT}


def test_the_page_shows_the_numbers_of_the_report():
    root = Path(__file__).parents[1]
    text = (root / "benchmarks/results/warmup_quality/report.md").read_text("utf-8")
    short = text.split("## In short\n\n")[1].split("\n\n")[0]
    assert short.count("\n") == len(tasks.TASKS) + 1
    assert short in (root / "docs/automatic.md").read_text("utf-8")
