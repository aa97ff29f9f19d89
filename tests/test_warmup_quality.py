"""The benchmark of warmup methods: its statistics, its plan, its store, its models."""

import dataclasses
import math
import re
from pathlib import Path

import numpy as np
import pytest
from selection import parametrize

from benchmarks.warmup_quality import (
    against_none,
    arms,
    goals,
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


def test_the_loss_against_no_warmup_counts_where_that_trains():
    """Seeds differ by 10; each row is a peak."""
    linear = np.array([[1.0, 11.0], [2.0, 12.0], [2.0, 12.0], [9.0, 19.0]])
    none = np.array([[1.2, 11.2], [1.25, 11.25], [3.0, 13.0], [9.0, 19.0]])
    arm = none + np.array([[-0.3, -0.1], [0.1, 0.3], [0.5, 0.7], [2.0, 2.0]])
    near = protocol.near_the_best(none, linear)
    np.testing.assert_array_equal(near, [True, True, False, False])
    found = protocol.excess(arm, none, near)
    assert (found.row, found.peaks) == (1, 2)
    assert found.number.mean == pytest.approx(0.2)
    assert found.number.error == pytest.approx(0.1)
    # From 9 to 1 is half of the way at 5.
    half = protocol.half_of_the_way(none, linear, np.array([[9.0, 19.0]] * 4))
    np.testing.assert_array_equal(half, [True, True, True, False])
    assert protocol.excess(arm, none, half).number.mean == pytest.approx(0.6)
    assert protocol.excess(arm, none, np.zeros(4, bool)) is None


def test_tasks_within_a_limit_are_counted_by_their_mean_and_their_error(tmp_path):
    store = Store(tmp_path / "runs.jsonl")
    each = plan.Comparison(TINY, store)
    losses = {"automatic": [1.011, 1.001, 1.021], "none": [1.5] * 3}  # 1.011 ± 0.0058
    for name in ("linear", *losses):
        arm = arms.BY_NAME[name]
        for length in arm.lengths:
            key = each.key(arm, plan.SELECTION, [length] * 2)
            store.add(key, outcome([[1.0] * 2] * 2, 9.0))
        loss = losses.get(name, [1.0] * 3)
        key = each.key(arm, plan.SCORING, each.chosen(arm))
        store.add(key, outcome([loss] * 2, 9.0))
    text = goals.section([each])
    assert "| automatic | 0 (1) of 1 | 1 (1) of 1 | 1 (1) of 1 | 1 (1) of 1 |" in text
    assert "| none | 0 (0) of 1 | 0 (0) of 1 | 0 (0) of 1 | 0 (0) of 1 |" in text
    assert "Above" not in text  # only those of the two automatic ones are named


def test_a_task_on_which_a_method_fails_is_named(tmp_path):
    store = Store(tmp_path / "runs.jsonl")
    each = plan.Comparison(TINY, store)
    losses = {"linear": 1.0, "none": 1.2, "automatic": 1.4, "with feedback": 1.25}
    for name in ("linear", "none", *against_none.METHODS):
        arm = arms.BY_NAME[name]
        loss = losses.get(name, 1.1)
        for length in arm.lengths:
            key = each.key(arm, plan.SELECTION, [length] * 2)
            store.add(key, outcome([[loss] * 2] * 2, 9.0))
        store.add(
            each.key(arm, plan.SCORING, each.chosen(arm)),
            outcome([[loss] * 3] * 2, 9.0),
        )
    text = against_none.section([each])
    assert "| linear-zero | 2 of 2 | +0.200 ± 0.000 (0.01) |" in text
    assert "- automatic: more than 0.1 worse on 1 of 1 tasks (linear-zero)" in text
    assert "- with feedback: more than 0.1 worse on 0 of 1 tasks\n" in text


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
    page = (root / "docs/automatic.md").read_text("utf-8")
    assert short in page
    page = " ".join(page.split())
    counts = {
        cells[1].strip(): [int(cell.split()[0]) for cell in cells[2:-1]]
        for line in text.split("## How many tasks")[1].splitlines()
        if len(cells := line.split("|")) == 7 and cells[2].endswith("33 ")
    }
    ours, judged, none = (
        counts[name] for name in ("automatic", "with feedback", "none")
    )
    for sentence in (
        f"tuned warmup on {ours[1]} of 33 tasks, and within 0.01 on {ours[0]} (",
        f"With feedback these are {judged[1]} and {judged[0]}, without any warmup "
        f"{none[1]} and {none[0]}.",
        f"within 0.03 on {ours[2]} of 33 tasks, with feedback on {judged[2]}, without "
        f"any warmup on {none[2]}.",
        f"within 0.05 of the best loss on {ours[3]} of 33 tasks.",
    ):
        assert sentence in page
    for method in "automatic", "with feedback", "automatic, half":
        (said,) = re.findall(f"\n- {method}: (more than .*)\n", text)
        assert said in page
