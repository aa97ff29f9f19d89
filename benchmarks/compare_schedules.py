"""Compares schedules by convergence speed, sensitivity to the peak rate, and cost.

    python -m benchmarks.compare_schedules [--write] [--tasks images cartpole]

Two tasks, the digits of `examples.images` and the CartPole of
`examples.reinforcement`, are trained with every schedule, peak rate and seed. Each kind
of schedule is one program. Results are kept in `--folder`, and the same command
continues from there. `--write` saves the tables under results/.
"""

import argparse
import platform
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import optax

import optax_warmup as ow
from examples import evaluation
from examples.evaluation import Run, Timed
from examples.images import data, recipes, training as images
from examples.reinforcement import ppo, variants

IMAGES = images.Size(batch_size=32, total_steps=200, eval_every=10)
CARTPOLE = ppo.Size(iterations=30)
PEAKS = (3e-3, 1e-2, 3e-2, 1e-1)
ENTROPY = 0.01  # its weight in the loss of CartPole
NOTHING = np.zeros(0, np.float32)  # CartPole has no data to share


class Kind(NamedTuple):
    """Schedules that differ only in numbers, and so share a program."""

    schedule: Callable[[Any, Any, int], ow.Schedule]
    warmups: tuple[float, ...]  # shares of the updates
    automatic: bool = False

    def optimizer(self, task: "Task", peak_value: Any, warmup_steps: Any) -> Any:
        schedule = self.schedule(peak_value, warmup_steps, task.total_steps)
        optimizer = task.optimizer(schedule)
        if not self.automatic:
            return optimizer
        return ow.automatic_warmup(optimizer)


def wsd(peak_value: Any, warmup_steps: Any, total_steps: int) -> ow.Schedule:
    return ow.wsd(peak_value, warmup_steps, total_steps, round(0.3 * total_steps))


KINDS = {
    "cosine": Kind(ow.warmup_cosine, (0.0, 0.1, 0.3)),
    "wsd": Kind(wsd, (0.1,)),
    "cosine, automatic": Kind(ow.warmup_cosine, (0.0,), automatic=True),
}


class Task(NamedTuple):
    """A training and its metric."""

    title: str
    total_steps: int
    optimizer: Callable[[optax.ScalarOrSchedule], optax.GradientTransformation]
    shared: Callable[[], Any]
    train: Callable[..., tuple]  # (shared, optimizer, seed) -> losses, steps, metric
    timed: Callable[..., Timed]  # (shared, optimizer) -> a call to time
    metric: str
    target: float
    largest: bool  # whether larger is better
    untrained: float
    digits: int


def train_images(digits: data.Digits, optimizer: Any, seed: Any) -> tuple:
    curves = images.train(digits, optimizer, IMAGES, seed=seed)
    return curves.loss, curves.steps, curves.validation_loss


def time_images(digits: data.Digits, optimizer: Any) -> Timed:
    return recipes.timed_step(digits, IMAGES, optimizer)


def train_cartpole(nothing: Any, optimizer: Any, seed: Any) -> tuple:
    curves = ppo.train(optimizer, ow.constant(ENTROPY), CARTPOLE, seed=seed)
    return curves.loss, curves.steps, curves.episode_return


def time_cartpole(nothing: Any, optimizer: Any) -> Timed:
    setting = variants.Setting(size=CARTPOLE)
    return variants.timed_step(setting, optimizer, ow.constant(ENTROPY))


TASKS = {
    "images": Task(
        "A vision transformer on digits", IMAGES.total_steps, recipes.make_optimizer,
        data.load, train_images, time_images, "validation loss", 0.8, largest=False,
        untrained=float(np.log(10)), digits=3,
    ),
    "cartpole": Task(
        "PPO on CartPole", CARTPOLE.total_steps, variants.make_optimizer,
        lambda: NOTHING, train_cartpole, time_cartpole, "return", 300.0, largest=True,
        untrained=20.0, digits=0,
    ),
}  # fmt: skip


def compare(
    task: Task, seeds: int, folder: Path, times: dict[str, float]
) -> dict[str, dict[float, Run]]:
    """The runs by schedule and peak rate."""
    shared, runs = task.shared(), {}
    for name, kind in KINDS.items():
        lengths = [round(share * task.total_steps) for share in kind.warmups]
        points = ow.sweeps.grid(
            warmup_steps=lengths, peak_value=PEAKS, seed=range(seeds)
        )

        def one(
            shared: Any,
            warmup_steps: Any,
            peak_value: Any,
            seed: Any,
            kind: Kind = kind,
        ) -> tuple:
            optimizer = kind.optimizer(task, peak_value, warmup_steps)
            return task.train(shared, optimizer, seed)

        kept = folder / f"{task.title} {name}".replace(",", "").replace(" ", "_")
        loss, steps, metric = ow.sweeps.sweep(
            one, points, shared=(shared,), folder=kept
        )
        cells = np.arange(len(points)).reshape(len(lengths), len(PEAKS), seeds)
        for share, rows in zip(kind.warmups, cells, strict=True):
            warmup = f"warmup {share:.0%}" if share else "no warmup"
            label = name if kind.automatic else f"{name}, {warmup}"
            runs[label] = {
                peak: Run(label, loss[row], steps[0], metric[row], times[name])
                for peak, row in zip(PEAKS, rows, strict=True)
            }
        print(f"{task.title}: {name}", flush=True)
    return runs


def step_times(task: Task) -> dict[str, float]:
    """Seconds of an update with a constant rate, and with each kind of schedule."""
    shared = task.shared()
    calls = {"constant": task.timed(shared, task.optimizer(1e-3))}
    calls["again"] = calls["constant"]  # to show the noise
    for name, kind in KINDS.items():
        calls[name] = task.timed(shared, kind.optimizer(task, 1e-3, 10))
    return evaluation.seconds_per_step(calls)


def tables(
    task: Task, runs: dict[str, dict[float, Run]], times: dict[str, float]
) -> str:
    """Speed, sensitivity and cost of each schedule; then its final metric by peak."""
    seeds = len(next(iter(runs.values()))[PEAKS[0]].metric)
    again = times["again"] / times["constant"] - 1
    goal = f"{task.metric} {task.target:g}"
    heads = [
        "schedule", "best peak", f"{task.metric} there", f"updates to {goal} there",
        "time to it", "lost on average over peaks", "cost of an update", "diverged",
    ]  # fmt: skip
    best = np.nanmin(
        [loss for by_peak in runs.values() for loss in losses(task, by_peak).values()]
    )
    speeds = [
        [name, *speed(task, by_peak, best, times["constant"])]
        for name, by_peak in runs.items()
    ]
    ends = [
        [name, *(evaluation.mean_and_error(r.final(), task.digits) for r in x.values())]
        for name, x in runs.items()
    ]
    return "\n".join(
        [
            f"## {task.title}: {task.total_steps} updates, {seeds} seeds",
            "",
            *markdown(heads, speeds),
            "",
            "A constant rate, timed a second time in the same rounds: "
            f"{100 * again:+.0f}%.",
            "",
            f"The {task.metric} at the end, by peak rate:",
            "",
            *markdown(["schedule", *(f"{peak:g}" for peak in PEAKS)], ends),
            "",
        ]
    )


def losses(task: Task, by_peak: dict[float, Run]) -> dict[float, float]:
    """The mean final metric at each peak, negated where larger is better."""
    sign = -1 if task.largest else 1
    return {peak: sign * run.final().mean() for peak, run in by_peak.items()}


def speed(
    task: Task, by_peak: dict[float, Run], best: float, constant: float
) -> list[str]:
    """The cells of a schedule: at its best peak, and over all of them."""
    finals = losses(task, by_peak)
    peak = min(finals, key=lambda p: np.nan_to_num(finals[p], nan=np.inf))
    run = by_peak[peak]
    steps = run.steps_to(task.target, task.largest)
    return [
        f"{peak:g}",
        evaluation.mean_and_error(run.final(), task.digits),
        evaluation.reached(steps),
        evaluation.reached(steps * run.seconds_per_step, " s", 2),
        evaluation.mean_and_error(lost(task, by_peak, best), task.digits),
        f"{100 * (run.seconds_per_step / constant - 1):+.0f}%",
        str(sum(run.diverged() for run in by_peak.values())),
    ]


def lost(task: Task, by_peak: dict[float, Run], best: float) -> np.ndarray:
    """The sensitivity of each seed."""
    sign = -1 if task.largest else 1
    finals = np.array([sign * run.final() for run in by_peak.values()])
    return np.array(
        [
            evaluation.sensitivity(
                dict(zip(by_peak, each, strict=True)),
                worst=sign * task.untrained,
                best=best,
            )
            for each in finals.T
        ]
    )


def markdown(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    rule = "|---" + "|---:" * (len(heads) - 1) + "|"
    return [f"| {' | '.join(heads)} |", rule, *(f"| {' | '.join(r)} |" for r in rows)]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--write", action="store_true", help="keep the tables")
    add("--seeds", type=int, default=3, help="runs of each kind")
    add("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    add("--folder", type=Path, default=Path("runs/compare_schedules"))
    options = parser.parse_args(arguments)
    evaluation.use_all_cores()
    text = (
        "# Schedules compared\n\nMade by `python -m benchmarks.compare_schedules "
        f"--write` with jax {jax.__version__}, Python {platform.python_version()}, on "
        "a CPU. After ± is one standard error over seeds. The best peak is chosen on "
        "the same seeds. Updates and time are those of the median seed; the time of an "
        "update is the shortest of 40 calls, without compilation and evaluation, and "
        "its cost is relative to a constant rate. [What the columns mean]"
        "(../../docs/compare.md).\n\n"
    )
    for name in options.tasks:
        task = TASKS[name]
        times = step_times(task)
        runs = compare(task, options.seeds, options.folder, times)
        text += tables(task, runs, times) + "\n"
    print(text)
    if options.write:
        path = Path(__file__).parent / "results" / "compare_schedules.md"
        path.write_text(text.rstrip() + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
