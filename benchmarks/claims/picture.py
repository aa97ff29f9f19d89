"""The picture of claims (b) and (f): what warmup gains at each peak and length."""

from pathlib import Path

import numpy as np

from benchmarks.warmup_quality.arms import LENGTHS
from benchmarks.warmup_quality.tasks import TASKS

from . import trials
from .judge import best
from .trials import Trials

THIN = {"color": "#1f6f8b", "alpha": 0.3, "linewidth": 1}
THICK = {"color": "#1f6f8b", "linewidth": 2.5, "marker": "o", "markersize": 4}


def draw(runs: Trials, path: Path) -> None:
    from matplotlib.figure import Figure  # for the page only

    figure = Figure(figsize=(9, 3.4), layout="constrained", dpi=110)
    gains, lengths = figure.subplots(1, 2)
    offsets = np.arange(-2, 3)  # rows of peaks, half a decade apart
    by_task = np.full((len(TASKS), len(offsets)), np.nan)
    for row, task in zip(by_task, TASKS, strict=True):
        none = runs.of(task, "none")
        gain = (none - runs.tuned(task)).mean(axis=1)
        where = best(none) + offsets
        inside = (where >= 0) & (where < len(gain))
        row[inside] = gain[where[inside]]
    x = 10 ** (offsets / 2)
    gains.plot(x, by_task.T, **THIN)
    gains.plot(x, np.nanmedian(by_task, axis=0), **THICK)
    gains.set(xscale="log", yscale="symlog", ylabel="gain, % of progress")
    gains.set_xlabel("peak rate / the best one without warmup")
    gains.set_title("What warmup gains, 33 tasks", loc="left", fontsize=10)

    losses = []
    for name in trials.MIXED:
        (task,) = trials.tasks([name])
        found = runs.by_length(task)[:, best(runs.of(task, "10 %"))].mean(axis=1)
        losses.append(found - found.min())
    x = 100 * np.array(LENGTHS)
    lengths.plot(x, np.transpose(losses), **THIN)
    lengths.plot(x, np.median(losses, axis=0), **THICK)
    lengths.set(xscale="log", yscale="symlog", ylabel="behind the best length, %")
    lengths.set_xlabel("length of the warmup, % of the run")
    title = f"Lengths at a usual peak, {len(trials.MIXED)} tasks"
    lengths.set_title(title, loc="left", fontsize=10)
    ticks = (0.1, 0.3, 1, 3, 10), (1, 3, 10, 30, 100, 200)
    for axes, at in zip((gains, lengths), ticks, strict=True):
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_xticks(at, [f"{x:g}" for x in at])
        axes.minorticks_off()
        axes.set_yticks([-1, 0, 1, 10, 100], ["-1", "0", "1", "10", "100"])
        axes.grid(axis="y", alpha=0.2)
    gains.set_ylim(-10, 110)
    lengths.set_ylim(-0.2, 30)
    figure.savefig(path)
