"""The report on the kept runs: tables and two pictures."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .figures import loss_figure, rate_figure
from .plan import Seeds
from .protocol import cost_of_ten_times, mean_and_error, regret, sensitivity
from .results import WITHIN, Results
from .store import Store
from .tasks import Task

INTRODUCTION = """\
# How good warmup methods are

Made by `python -m benchmarks.warmup_quality run`, the tables and pictures again by
`... report` from `runs.jsonl` alone. Losses are held-out ones after the last update, in
nats; after +- is one standard error, over seeds.

- All arms share the model, the data order and the decay (a cosine from the peak to 0
  over the whole run), seed by seed; the warmup multiplies the decay.
- linear: its length is chosen at each peak rate, on seeds {selection}, among
  1, 2, 5, 10, 20, 40, 80, 200 and 500 % of the run. Everything is scored on seeds
  {scoring}. Lengths beyond the run never reach the peak: they limit the rate.
  "{within}" is chosen among those up to 80 %.
- regret: an arm's loss minus that of linear with the same seed; below 0 is better.
- S: learning-rate sensitivity, the mean over the peaks of min(loss, loss before
  training) - best loss; with the arm's own best, and with the best of all arms.
- x10: what a peak ten times the best one costs: the arm's own best one, and the one
  that is best for linear.
- failed: NaN, or worse than before training. It counts as the loss before training.
- replay: the mean over seeds {selection} of the automatic's factor at that peak, played
  back. shuffled: one of those, its growths in random order.
- told_half, told_twice: the automatic, told that the run has half or twice its steps.
"""


def plus_minus(mean: Any, error: Any, sign: str = "+") -> str:
    if not np.isfinite(mean):
        return "-"
    return f"{mean:{sign}.3f}" + (f" +- {error:.3f}" if np.isfinite(error) else "")


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def summary(results: Results) -> str:
    arms = results.arms()
    best_of_all = min(
        results.scores(arm, results.paired(arm)).mean(axis=1).min() for arm in arms
    )
    usual = results.scores("linear", results.paired("linear")).mean(axis=1).argmin()
    rows = []
    for arm in arms:
        seeds = results.paired(arm)
        scores = results.scores(arm, seeds)
        means, errors = mean_and_error(scores)
        best = int(means.argmin())
        against = regret(scores, results.scores("linear", seeds))
        worst = results.peaks[int(against.means.argmax())]
        itself = arm == "linear"
        failed, runs = results.failures(arm)
        rows.append([
            arm,
            f"{plus_minus(means[best], errors[best], '')} at {results.peaks[best]:g}",
            "0" if itself else plus_minus(against.mean, against.mean_error),
            "0" if itself else
            f"{plus_minus(against.largest, against.largest_error)} at {worst:g}",
            f"{sensitivity(scores):.3f}",
            f"{sensitivity(scores, best_of_all):.3f}",
            plus_minus(*cost_of_ten_times(scores)),
            plus_minus(*cost_of_ten_times(scores, int(usual))),
            f"{failed} of {runs}",
            str(len(seeds)),
        ])  # fmt: skip
    head = [
        "arm", "best loss", "mean regret", "largest regret", "S", "S, best of all",
        "x10, own best", "x10, linear's best", "failed", "seeds",
    ]  # fmt: skip
    return table(head, rows)


def by_peak(results: Results) -> str:
    """The losses of linear, and the regret of every other arm, by peak."""
    rows = []
    for arm in results.arms():
        seeds = results.paired(arm)
        scores = results.scores(arm, seeds)
        if arm in results.lengths:
            means, errors = mean_and_error(scores)
            cells = [
                f"{plus_minus(mean, error, '')} ({results.lengths[arm][peak]:.0%})"
                for mean, error, peak in zip(means, errors, results.peaks, strict=True)
            ]
            rows.append([f"{arm}: loss (length)", *cells])
            continue
        against = regret(scores, results.scores("linear", seeds))
        pairs = zip(against.means, against.errors, strict=True)
        rows.append([arm, *(plus_minus(*pair) for pair in pairs)])
    return table(["regret at peak", *(f"{peak:g}" for peak in results.peaks)], rows)


def fixed(results: Results) -> str:
    """Sensitivity of linear warmups with a fixed length, and of automatic warmup."""
    seeds = results.seeds.selection
    rows = [
        [f"linear, {length:.0%}", f"{scores.mean(axis=1).min():.3f}",
         f"{sensitivity(scores):.3f}"]
        for length, scores in results.fixed_lengths().items()
    ]  # fmt: skip
    if results.complete("automatic", seeds) == seeds:
        scores = results.scores("automatic", seeds)
        best, spread = scores.mean(axis=1).min(), sensitivity(scores)
        rows.append(["automatic", f"{best:.3f}", f"{spread:.3f}"])
    return table(["one length for all peaks, selection seeds", "best loss", "S"], rows)


def limiting(results: Results) -> str:
    """How much of a gain at high peaks comes from not reaching the peak."""
    arms = ["automatic", "linear", WITHIN]
    if any(arm not in results.arms() for arm in arms):
        return ""
    seeds = results.paired("automatic")
    automatic = results.scores("automatic", seeds)
    tuned, within = results.scores("linear", seeds), results.scores(WITHIN, seeds)
    best = int(tuned.mean(axis=1).argmin())
    rows = []
    for row, peak in enumerate(results.peaks):
        highest = [
            np.mean([results.rates(run).max() for run in results.of_peak(arm, peak)])
            for arm in arms
        ]
        rows.append([
            f"{peak:g}",
            *(f"{rate:.2g}" for rate in highest),
            plus_minus(*mean_and_error(automatic[row] - within[row])),
            plus_minus(*mean_and_error(automatic[row] - tuned[row])),
            plus_minus(*mean_and_error(automatic[row] - tuned[best])),
        ])  # fmt: skip
    head = [
        "peak", "highest rate: automatic", "linear", WITHIN,
        f"automatic against {WITHIN}", "against linear of any length",
        f"against the best linear of all, peak {results.peaks[best]:g}",
    ]  # fmt: skip
    return (
        "How much of it is limiting the rate: the highest rate that was used, and the "
        "automatic's loss minus others'. What is won over lengths within the run but "
        "not over lengths of any kind, a limit of the rate wins too.\n\n"
        + table(head, rows)
    )


def write(store: Store, tasks: Sequence[Task], seeds: Seeds, folder: Path) -> str:
    """Writes report.md and the pictures; returns the report."""
    found = [Results(task, seeds, store) for task in tasks]
    found = [results for results in found if results.arms()]
    seconds = sum(run.seconds for run in store.runs.values())
    parts = [
        INTRODUCTION.format(
            selection=", ".join(map(str, seeds.selection)),
            scoring=", ".join(map(str, seeds.scoring)),
            within=WITHIN,
        ),
        f"{len(store.runs)} runs are kept, {seconds / 3600:.1f} hours of training.\n",
    ]
    if found:
        loss_figure(found, folder / "loss.png")
        rate_figure(found, folder / "rate.png")
        parts += ["![Loss against peak rate](loss.png)\n", "![Rate](rate.png)\n"]
    for results in found:
        left = [p for p in results.task.peaks if p not in results.peaks]
        parts.append(f"## {results.task.name}\n")
        if left:
            parts.append(f"Not yet run: peaks {', '.join(f'{p:g}' for p in left)}.\n")
        sections = summary(results), by_peak(results), limiting(results), fixed(results)
        parts += [section for section in sections if section]
    text = "\n".join(parts)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.md").write_text(text, encoding="utf-8")
    return text
