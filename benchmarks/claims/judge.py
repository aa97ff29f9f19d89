"""How each claim is judged: from the runs to what is seen on each task.

The rules were written, and committed, before the runs were made. On a task an effect is
clear if its mean over seeds is beyond two standard errors and beyond 0.5 % of the
task's progress.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from benchmarks.warmup_quality.arms import LENGTHS
from benchmarks.warmup_quality.protocol import DECADE, over_seeds
from benchmarks.warmup_quality.tasks import BY_NAME, TASKS, Task

from . import trials
from .trials import Trials

SMALLEST = 0.5  # % of progress that count
USABLE = 10.0  # % of progress behind the best, up to which a peak is usable


@dataclass(frozen=True)
class Row:
    task: str
    effects: tuple[np.ndarray, ...]  # by seed, a cell each
    agrees: bool


@dataclass(frozen=True)
class Finding:
    """What was seen: a row for each task that the claim can be tested on."""

    head: tuple[str, ...]
    rows: tuple[Row, ...]

    @property
    def agreeing(self) -> int:
        return sum(row.agrees for row in self.rows)

    @property
    def verdict(self) -> str:
        """Holds on at least three quarters of the tasks; fails on half or more."""
        share = self.agreeing / len(self.rows)
        return "holds" if share >= 0.75 else "fails" if share <= 0.5 else "mixed"


def clear(effect: np.ndarray) -> bool:
    """Above zero, by more than chance and by enough to matter."""
    number = over_seeds(effect)
    return number.mean > max(2 * number.error, SMALLEST)


def find(
    head: Iterable[str], tasks: Iterable[Task], judge: Callable[[Task], Row | None]
) -> Finding:
    rows = [judge(task) for task in tasks]
    return Finding(tuple(head), tuple(row for row in rows if row is not None))


def best(scores: np.ndarray) -> int:
    return int(scores.mean(axis=1).argmin())


def at_best(scores: np.ndarray) -> np.ndarray:
    """By seed, at the peak that is best on average."""
    row: np.ndarray = scores[best(scores)]
    return row


def behind(scores: np.ndarray, tuned: np.ndarray) -> np.ndarray:
    """How far behind tuned linear warmup: by seed, the mean over usable peaks, which
    are those up to three times the best one of linear warmup."""
    upto = best(tuned) + 2
    mean: np.ndarray = (scores - tuned)[:upto].mean(axis=0)
    return mean


def plain_sgd(runs: Trials) -> Finding:
    def judge(task: Task) -> Row:
        none, tuned = runs.of(task, "none"), runs.tuned(task)
        gain = at_best(none) - at_best(tuned)
        return Row(task.name, (gain, behind(none, tuned)), not clear(gain))

    head = "gain at the best peaks", "gain, mean over usable peaks"
    return find(head, trials.PLAIN_SGD, judge)


def larger_peaks(runs: Trials) -> Finding:
    def judge(task: Task) -> Row | None:
        none, tuned = runs.of(task, "none"), runs.tuned(task)
        own = best(none)
        high = min(own + DECADE, len(none) - 1)
        if high == own:  # no higher peak was tried
            return None
        low, gain = (none - tuned)[own], (none - tuned)[high]
        wider = np.array([largest_usable(tuned) - largest_usable(none)], float)
        agrees = clear(gain) and low.mean() < gain.mean() / 2
        return Row(task.name, (low, gain, wider / DECADE), agrees)

    head = (
        "gain at the best peak without warmup",
        "gain at ten times that",
        "largest usable peak, decades higher",
    )
    return find(head, TASKS, judge)


def largest_usable(scores: np.ndarray) -> int:
    means = scores.mean(axis=1)
    return int(np.flatnonzero(means <= means.min() + USABLE).max())


def untuned(runs: Trials) -> Finding:
    def judge(task: Task) -> Row:
        tuned = runs.tuned(task)
        none, radam, linear = (
            behind(runs.of(task, arm), tuned)
            for arm in ("none", trials.RADAM, trials.UNTUNED)
        )
        difference = over_seeds(linear - radam)
        agrees = abs(difference.mean) <= max(1.0, 2 * difference.error)
        return Row(task.name, (none, radam, linear, linear - radam), agrees)

    head = "none", "RAdam", "untuned linear", "untuned linear - RAdam"
    return find(head, trials.tasks(trials.ADAM), judge)


def variance(runs: Trials) -> Finding:
    def judge(task: Task) -> Row | None:
        tuned = runs.tuned(task)
        none = behind(runs.of(task, "none"), tuned)
        if not clear(none):
            return None
        delayed = behind(runs.collected(task), tuned)
        removed = 100 * (none - delayed) / none.mean()
        return Row(task.name, (none, delayed, removed), bool(removed.mean() >= 50))

    head = "none", "Adam-2k", "removed by Adam-2k, % of the damage"
    return find(head, trials.tasks(trials.ADAM), judge)


def shapes(runs: Trials) -> Finding:
    def judge(task: Task) -> Row:
        tuned = runs.tuned(task)
        none = behind(runs.of(task, "none"), tuned)
        found = [behind(runs.of(task, arm), tuned) for arm in trials.SHAPES.values()]
        means = [effect.mean() for effect in found]
        apart = max(means) - min(means)
        agrees = apart <= max(1.0, (none.mean() - np.mean(means)) / 4)
        return Row(task.name, (none, *found, np.array([apart])), bool(agrees))

    head = "none", *trials.SHAPES, "apart"
    return find(head, trials.tasks(trials.SHAPED), judge)


def lengths(runs: Trials) -> Finding:
    def judge(task: Task) -> Row:
        losses = runs.by_length(task)[:, best(runs.of(task, "10 %"))]
        # The best length is chosen on the other seeds, so that it wins by no luck.
        others = (losses.sum(axis=1, keepdims=True) - losses).argmin(axis=0)
        least = losses[others, np.arange(losses.shape[1])]
        short, long = losses[0] - least, losses[-1] - least
        agrees = clear(short) and clear(long)
        return Row(task.name, (short, *(losses[1:-1] - least), long), agrees)

    return find(percent(LENGTHS), trials.tasks(trials.MIXED), judge)


def percent(shares: Iterable[float]) -> list[str]:
    return [f"{share:.0%}" for share in shares]


def batches(runs: Trials) -> Finding:
    def judge(task: Task) -> Row:
        small = trials.with_small_batch(task)
        few, many = (
            behind(runs.of(each, "none"), runs.tuned(each)) for each in (small, task)
        )
        return Row(task.name, (few, many, many - few), clear(many - few))

    head = "batch / 8", "batch", "difference"
    return find(head, trials.tasks(trials.BATCHES), judge)


def sensitivity(runs: Trials) -> Finding:
    def judge(task: Task) -> Row:
        found = [
            scores.mean(axis=0) - at_best(scores) for scores in runs.by_length(task)
        ]
        short, long = found[0], found[LENGTHS.index(trials.LONG)]
        return Row(task.name, tuple(found), clear(short - long))

    return find(percent(LENGTHS), trials.tasks(trials.MIXED), judge)


def gi_adam(runs: Trials) -> Finding:
    def judge(task: Task) -> Row:
        tuned = runs.tuned(task)
        none, seeded = (
            behind(runs.of(task, arm), tuned) for arm in ("none", trials.GI_ADAM)
        )
        return Row(task.name, (none, seeded), not clear(seeded))

    head = "none", "GI-Adam"
    return find(head, trials.tasks(trials.ADAM), judge)


def both(runs: Trials) -> Finding:
    def judge(task: Task) -> Row:
        (none, slow), (linear, fast) = (
            runs.at_best(task, name) for name in ("none", "linear")
        )
        level = np.maximum(slow[:, -2:].mean(axis=1), fast[:, -2:].mean(axis=1))
        earlier = reached(slow, level) - reached(fast, level)
        agrees = clear(none - linear) and clear(earlier) and earlier.mean() > 2
        return Row(task.name, (none - linear, earlier), agrees)

    head = "gain in the final loss", "reached earlier, % of the run"
    return find(head, [BY_NAME[name] for name in trials.MIXED], judge)


def reached(curves: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """When training losses first are at a level: by seed, in % of the run.

    A loss stands for the middle of its window, with straight lines between them.
    """
    found = []
    for curve, level in zip(curves, levels, strict=True):
        first = int(np.argmax(curve <= level)) if (curve <= level).any() else len(curve)
        part = 0.0
        if 0 < first < len(curve):
            part = (curve[first] - level) / (curve[first] - curve[first - 1])
        found.append(100 * (first - part + 0.5) / len(curve))
    return np.minimum(found, 100)
