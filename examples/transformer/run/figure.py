"""Draws two runs side by side: their losses and rates, and the record of each.

    python -m examples.transformer.run.figure RUN RUN out.png

Each run has a column. Every panel also shows the other run, in pale grey, for
comparison. A dot marks the first update with the peak learning rate.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

import optax_warmup as ow

from ...drawing import picture
from .result import Result, load_result

ACCENTS = ("#c4432b", "#1f6f8b")  # one for each run
OTHER, BAND, INK, PALE = "#cfcfcf", "#f1f5f7", "#333333", "#8a8a8a"
STYLE = {
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": PALE,
    "lines.solid_capstyle": "round",
    "lines.linewidth": 2,
    "xtick.color": PALE,
    "ytick.color": PALE,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
}


def draw(runs: Sequence[Result], names: Sequence[str], path: str | Path) -> Path:
    """Writes the picture of two runs as a PNG."""
    path = Path(path)
    with picture(path, (10, 11), **STYLE) as figure:
        axes = figure.subplots(5, 2, sharey="row", height_ratios=HEIGHTS)
        for i, (run, name, accent) in enumerate(zip(runs, names, ACCENTS, strict=True)):
            draw_column(axes[:, i], run, runs[1 - i], name, accent)
        for panel, ax in zip(PANELS, axes[:, 0], strict=True):
            ax.set_ylabel(panel.__doc__ or "")
        figure.align_ylabels(axes[:, 0])
        figure.suptitle(
            "Same seed, batches and peak learning rate; shaded: warmup",
            x=0.005,
            ha="left",
            color=PALE,
            fontsize=10,
        )
    return path


def draw_column(
    axes: Sequence[Axes], run: Result, other: Result, name: str, accent: str
) -> None:
    axes[0].set_title(name, color=accent, fontsize=14, fontweight="bold", pad=10)
    for panel, ax in zip(PANELS, axes, strict=True):
        if run.config.warmup_steps:
            # From 1, since a logarithmic axis has no 0.
            ax.axvspan(1, run.config.warmup_steps + 1, color=BAND, lw=0)
        panel(ax, run, other, accent)


# The panels. Their docstrings are the labels of the vertical axes.


def loss(ax: Axes, run: Result, other: Result, accent: str) -> None:
    """loss, nats per byte"""
    ax.plot(run.updates["step"], run.updates["loss"], color=accent, alpha=0.2, lw=0.5)
    ends = []
    for each, color in ((other, OTHER), (run, accent)):
        x, y = each.evaluations["step"], each.evaluations["heldout_loss"]
        ax.plot(x, y, color=color)
        ends.append(y[-1])
        say(
            ax,
            x[-1],
            y[-1],
            f"{y[-1]:.2f}",
            PALE if each is other else accent,
            shift=(5, 0),
        )
    # Without the first evaluation, ln 256, which hides the differences.
    settled = np.concatenate(
        [r.evaluations["heldout_loss"][r.evaluations["step"] > 0] for r in (run, other)]
    )
    settled = settled[np.isfinite(settled)]
    if settled.size:
        ax.set_ylim(settled.min() * 0.8, settled.max())
    say(ax, 0.97, 0.93, "held-out; pale: training", PALE, "axes fraction", ha="right")


def rate(ax: Axes, run: Result, other: Result, accent: str) -> None:
    """learning rate"""
    for each, color in ((other, OTHER), (run, accent)):
        ax.plot(each.updates["step"], each.updates["learning_rate"], color=color)
    if run.config.warmup_steps:
        x, y = run.config.warmup_steps, run.config.peak_value
        say(ax, x / 2, y / 8, "warmup", accent, ha="center")
    ax.set_ylim(bottom=0)
    ax.set_xlabel("step")


def step_size(ax: Axes, run: Result, other: Result, accent: str) -> None:
    """update / weights, RMS"""
    x, y = moments(ax, run, other, accent, lambda h: h.overall["update_to_weight"])
    ax.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{100 * y:g} %"))
    dot(ax, x, y, f"{100 * y:.2g} % in one update", accent, 11)


def samples(ax: Axes, run: Result, other: Result, accent: str) -> None:
    """gradients averaged in ν̂"""
    x, y = moments(ax, run, other, accent, lambda h: h.effective_sample_size)
    ax.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g}"))
    gradients = "1 gradient" if round(y) == 1 else f"{y:.0f} gradients"
    dot(ax, x, y, f"{gradients} at the peak rate", accent, -11)
    ax.set_ylim(0.5, 2 * (1 + run.history.b2) / (1 - run.history.b2))


def belief(ax: Axes, run: Result, other: Result, accent: str) -> None:
    """gradient size, RMS"""
    moments(ax, run, other, accent, lambda h: h.overall["nu_hat_rms"])
    history = run.history
    ax.plot(
        history.steps + 1, history.overall["gradient_rms"], ".",
        color=accent, alpha=0.45, ms=4, mew=0,
    )  # fmt: skip
    low, high = ax.get_ylim()
    ax.set_ylim(low / 1.4, high)  # room for the key
    ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ax.yaxis.set_minor_formatter(NullFormatter())
    ax.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:.0e}"))
    key = "line: √ν̂, Adam's estimate;  dots: clipped gradients"
    say(ax, 0.03, 0.08, key, PALE, "axes fraction")
    ax.set_xlabel("updates, log scale")


PANELS = (loss, rate, step_size, samples, belief)
HEIGHTS = (2, 0.9, 1.2, 1.2, 1.2)


def moments(
    ax: Axes,
    run: Result,
    other: Result,
    accent: str,
    read: Callable[[ow.diagnostics.MomentHistory], np.ndarray],
) -> tuple[float, float]:
    """Plots a statistic against the number of updates, both on log axes.

    Returns the point of the first recorded update with the peak learning rate.
    """
    ax.set_xscale("log")
    ax.set_yscale("log")
    for each, color in ((other, OTHER), (run, accent)):
        y = np.asarray(read(each.history))
        y = np.where(y > 0, y, np.nan)  # a log axis has no 0
        ax.plot(each.history.steps + 1, y, color=color)
    ax.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    return run.history.steps[run.peak_row] + 1, y[run.peak_row]


def dot(ax: Axes, x: float, y: float, text: str, color: str, rise: float) -> None:
    """Marks a point, with a text `rise` points above it."""
    ax.plot([x], [y], "o", color=color, ms=6)
    at_the_left_end = x < 10
    ha, right = ("left", 5) if at_the_left_end else ("center", 0)
    say(ax, x, y, text, color, ha=ha, shift=(right, rise))


def say(
    ax: Axes,
    x: float,
    y: float,
    text: str,
    color: str,
    coords: str = "data",
    ha: str = "left",
    shift: tuple[float, float] = (0, 0),
) -> None:
    """Writes a text at a point, in place of a legend."""
    ax.annotate(
        text,
        (x, y),
        shift,
        xycoords=coords,
        textcoords="offset points",
        color=color,
        ha=ha,
        va="center",
        annotation_clip=False,
    )


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Draw two finished runs.")
    parser.add_argument("runs", nargs=2, metavar="RUN", help="folder of a run")
    parser.add_argument("picture", help="PNG to write")
    options = parser.parse_args(arguments)
    runs = [load_result(folder) for folder in options.runs]
    print(
        draw(runs, [run.folder.name.replace("_", " ") for run in runs], options.picture)
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
