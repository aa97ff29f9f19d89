"""The benchmark of warmup methods: its statistics, its plan and its store."""

import dataclasses
import math

import jax.numpy as jnp
import numpy as np
import pytest

pytest.importorskip("rich")
pytest.importorskip("flax")

from benchmarks.warmup_quality import (  # noqa: E402
    __main__ as command,  # noqa: E402
    arms,
    plan,
    protocol,
    tasks,
    train,
)
from benchmarks.warmup_quality.report import write  # noqa: E402
from benchmarks.warmup_quality.results import WITHIN, Results  # noqa: E402
from benchmarks.warmup_quality.store import Job, Run, Store  # noqa: E402
from benchmarks.warmup_quality.work import Workers, perform  # noqa: E402

pytestmark = pytest.mark.train

TINY = dataclasses.replace(
    tasks.BASE, steps=5, width=8, heads=2, layers=1, length=8, batch=2,
    peaks=(1e-2,),
)  # fmt: skip
SEEDS = plan.Seeds((0,), (1, 2))


def made(job, loss, initial=5.0, factors=(1.0,)):
    return Run(job, loss, initial, (5.0,) * len(factors), tuple(factors), 0.1)


def test_regret_is_paired_by_seed():
    # Seeds differ by 10 and methods by 0.1 or so: only pairs show it.
    linear = np.array([[1.0, 11.0, 21.0], [2.0, 12.0, 22.0]])
    arm = linear + np.array([[0.1, 0.2, 0.3], [-0.2, -0.2, -0.2]])
    found = protocol.regret(arm, linear)
    np.testing.assert_allclose(found.means, [0.2, -0.2], atol=1e-12)
    # std with n - 1 of (0.1, 0.2, 0.3) is 0.1; its mean's error 0.1 / sqrt(3)
    np.testing.assert_allclose(found.errors, [0.0577350269, 0], atol=1e-9)
    assert found.largest == pytest.approx(0.2)
    assert found.largest_error == pytest.approx(0.0577350269)
    assert found.mean == pytest.approx(0, abs=1e-12)
    # means over peaks, by seed: -0.05, 0, 0.05
    assert found.mean_error == pytest.approx(0.05 / math.sqrt(3))


def test_one_seed_has_no_standard_error():
    mean, error = protocol.mean_and_error(np.array([[2.0]]))
    assert mean[0] == 2 and math.isnan(error[0])


def test_sensitivity_and_cost_by_hand():
    scores = np.array([[2.0, 4.0], [1.0, 1.0], [1.5, 2.5], [4.0, 6.0]])
    # means 3, 1, 2, 5: the best is 1, excesses 2, 0, 1, 4
    assert protocol.sensitivity(scores) == pytest.approx(7 / 4)
    assert protocol.sensitivity(scores, 0.5) == pytest.approx(9 / 4)
    mean, error = protocol.cost_of_ten_times(scores)  # rows 3 and 1: 3 and 5
    assert (mean, error) == (pytest.approx(4), pytest.approx(1))
    assert math.isnan(protocol.cost_of_ten_times(scores, 2)[0])  # beyond the grid


def test_the_best_length_is_of_the_mean():
    table = {0.1: [1.0, 3.0], 0.8: [1.9, 1.9], 5.0: [1.0, 1.0]}
    assert protocol.best_length(table) == 5.0
    assert protocol.best_length(table, at_most=1) == 0.8


@pytest.mark.parametrize("loss", [math.nan, math.inf, 5.5])
def test_a_failure_is_kept_and_counts_as_no_training(loss, tmp_path):
    job = Job("base", "none", 1.0, 3, None, "a-b")
    store = Store(tmp_path / "runs.jsonl")
    store.add(made(job, loss))
    run = Store(store.path).runs[job]
    assert run.failed and run.score == 5.0
    assert not made(job, 4.0).failed and made(job, 4.0).score == 4.0


def test_a_half_written_line_is_ignored_and_not_added_to(tmp_path):
    store = Store(tmp_path / "runs.jsonl")
    jobs = [Job("base", "none", 1.0, seed, None, "a-b") for seed in range(3)]
    store.add(made(jobs[0], 1.0))
    store.add(made(jobs[1], 2.0))
    store.path.write_bytes(store.path.read_bytes()[:-20])
    again = Store(store.path)
    assert list(again.runs) == jobs[:1]
    again.add(made(jobs[2], 3.0))
    assert list(Store(store.path).runs) == [jobs[0], jobs[2]]


def test_stale_runs_are_not_reported(tmp_path):
    store = Store(tmp_path / "runs.jsonl")
    old = [
        Job("base", "none", 1.0, 3, None, "task1-arm1"),
        Job("base", "radam", 1.0, 3, None, "task1-arm1"),
        Job("base", "none", 1.0, 3, None, "task2-arm1"),
    ]
    new = Job("base", "none", 1.0, 3, None, "task2-arm2")
    for job in [*old, new]:
        store.add(made(job, 1.0))
    found = store.latest("base")
    assert [run.job for run in found["none"]] == [new]
    assert "radam" not in found


def test_shuffled_growth_has_the_same_start_and_end():
    curve = np.array([0.01, 0.02, 0.03, 0.3, 1.0])
    other = plan.shuffled(curve, seed=0)
    assert other[0] == pytest.approx(0.01) and other[-1] == pytest.approx(1.0)
    assert not np.allclose(other, curve)
    np.testing.assert_allclose(
        sorted(np.diff(np.log(other))), sorted(np.diff(np.log(curve))), rtol=1e-9
    )


def test_kept_points_are_spread_over_all_updates():
    steps = 400
    whole = np.exp(np.linspace(-3, 0, steps))
    kept = whole[train.kept_steps(steps)]
    np.testing.assert_allclose(plan.spread(kept, steps), whole, rtol=1e-5)


def test_factors_known_before_the_run():
    linear = arms.BY_NAME["linear"].factors(TINY, 4)
    np.testing.assert_allclose(linear, [0.25, 0.5, 0.75, 1, 1])
    np.testing.assert_allclose(arms.BY_NAME["none"].factors(TINY), np.ones(5))
    assert arms.BY_NAME["automatic"].factors(TINY) is None


def test_sgd_has_no_arms_made_for_adam(tmp_path):
    every = tuple(arms.BY_NAME)
    found = plan.Plan(tasks.TASKS["sgd"], every, SEEDS, Store(tmp_path / "x"))
    automatic = ("automatic", "told_half", "told_twice")
    assert found.arms == ("none", "linear", *automatic, "replay", "shuffled")


@pytest.mark.parametrize(
    ("name", "steps"), [("told_half", 200), ("automatic", 400), ("told_twice", 800)]
)
def test_the_automatic_is_told_how_long_the_run_is(name, steps):
    task = dataclasses.replace(tasks.TASKS["sgd"], steps=400)
    optimizer = arms.BY_NAME[name].optimizer(task, 1e3)
    params = jnp.ones(3)
    _, state = optimizer.update(params, optimizer.init(params), params)
    assert state.following / state.factor - 1 == pytest.approx(7 / steps, rel=1e-3)


def test_the_plan_selects_before_it_scores(tmp_path):
    store = Store(tmp_path / "runs.jsonl")
    task = dataclasses.replace(TINY, peaks=(1e-3, 1e-2, 1e-1))
    it = plan.Plan(task, ("linear", "replay"), SEEDS, store)
    everything = it.remaining()
    rounds = 0
    while jobs := it.jobs():
        rounds += 1
        for job in jobs:
            if job.arm == "linear" and job.seed in SEEDS.scoring:
                assert job.length in (0.4, 5.0)
            best = {0.4: 2.0, 5.0: 1.0}
            loss = best.get(job.length, 3.0)
            store.add(made(job, loss, factors=(0.1, 0.2, 0.2, 0.4, 0.4)))
    assert rounds == 2 and it.remaining() == 0
    scored = [j for j in store.runs if j.arm == "linear" and j.seed in SEEDS.scoring]
    # two seeds, three peaks, and a length for each of "any" and "within the run"
    assert len(scored) == 2 * 3 * 2
    assert everything == len(store.runs)
    results = Results(task, SEEDS, store)
    assert set(results.lengths["linear"].values()) == {5.0}
    assert set(results.lengths[WITHIN].values()) == {0.4}
    replay = next(job for job in store.runs if job.arm == "replay")
    np.testing.assert_allclose(it.factors(replay), [0.1, 0.2, 0.2, 0.4, 0.4], rtol=1e-6)


@pytest.mark.slow
def test_five_steps_of_two_arms_resume_without_repetition(tmp_path):
    store = Store(tmp_path / "runs.jsonl")
    chosen = ("linear", "automatic")
    with Workers(1) as workers:
        assert not workers.pool
        count = command.run([TINY], chosen, SEEDS, store, workers)
        # nine lengths and the automatic on one seed; then those of two seeds
        assert count == len(store.runs) >= 9 + 1 + 2 + 2
        again = Store(store.path)
        assert command.run([TINY], chosen, SEEDS, again, workers) == 0
        # What is lost is run again, to the same numbers.
        lines = store.path.read_text().splitlines(keepends=True)
        store.path.write_text("".join(lines[:-1]))
        third = Store(store.path)
        assert command.run([TINY], chosen, SEEDS, third, workers) == 1
    lost = list(store.runs)[-1]
    assert third.runs[lost].loss == pytest.approx(store.runs[lost].loss, rel=1e-7)
    assert set(third.runs) == set(store.runs)
    automatic = next(r for r in store.runs.values() if r.job.arm == "automatic")
    assert len(automatic.factors) == 5 and 0 < automatic.factors[0] <= 1
    text = write(third, [TINY], SEEDS, tmp_path)
    assert "| automatic |" in text and (tmp_path / "rate.png").stat().st_size > 10_000


def test_runs_are_paired_and_the_warmup_is_what_differs():
    job = Job("base", "linear", 1e-2, 1, 0.8, "a-b")
    both = [
        perform((TINY, [job], np.full(5, factor, np.float32)))[0]
        for factor in (1.0, 1e-6)
    ]
    assert both[0].initial == both[1].initial
    assert both[0].losses[0] == both[1].losses[0]  # the same first batch
    assert both[0].loss != both[1].loss
    assert both[1].loss == pytest.approx(both[1].initial, abs=1e-3)


@pytest.mark.slow
def test_seeds_side_by_side_are_the_same_runs():
    factors = np.ones(5, np.float32)
    alone = [train.train(TINY, "none", 1e-2, [seed], factors)[0] for seed in (1, 2)]
    together = train.train(TINY, "none", 1e-2, [1, 2], factors)
    for one, other in zip(alone, together, strict=True):
        assert other.loss == pytest.approx(one.loss, rel=1e-5)
        np.testing.assert_allclose(other.losses, one.losses, rtol=1e-5)
