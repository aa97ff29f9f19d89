"""One picture of two runs: what each did, and what Adam saw while it did it.

    python -m examples.transformer.figure runs/demo/no_warmup runs/demo/warmup out.png

A column for each run. In every panel the other run is a pale ghost, so that a column
reads alone and the two compare. A dot marks the first update at the full rate.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from .result import Result, load_result

ACCENTS = ("#c4432b", "#1f6f8b")  # one for each run
GHOST, BAND, INK, PALE = "#cfcfcf", "#f1f5f7", "#333333", "#8a8a8a"
STYLE = {
    "font.size": 9,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": PALE,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "lines.solid_capstyle": "round",
    "lines.linewidth": 2,
    "xtick.color": PALE,
    "ytick.color": PALE,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
}


def draw(runs: Sequence[Result], names: Sequence[str], path: str | Path) -> Path:
    """Writes the picture of two runs: a PNG, whole or not at all."""
    path = Path(path)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(10, 11), dpi=150, layout="constrained")
        axes = figure.subplots(5, 2, sharey="row", height_ratios=HEIGHTS)
        for column, (run, name, accent) in enumerate(
            zip(runs, names, ACCENTS, strict=True)
        ):
            axes[0, column].set_title(
                name, color=accent, fontsize=14, fontweight="bold", pad=10
            )
            for panel, ax in zip(PANELS, axes[:, column], strict=True):
                if run.config.warmup_steps:
                    # From 1, not 0, which a logarithmic axis does not have.
                    ax.axvspan(1, run.config.warmup_steps + 1, color=BAND, lw=0)
                panel(ax, run, runs[1 - column], accent)
        for panel, ax in zip(PANELS, axes[:, 0], strict=True):
            ax.set_ylabel(panel.__doc__)
        figure.align_ylabels(axes[:, 0])
        figure.suptitle(
            "Same seed, same batches, same peak rate; shaded: warmup",
            x=0.005,
            ha="left",
            color=PALE,
            fontsize=10,
        )
        partial = path.with_name(path.name + ".partial")
        figure.savefig(partial, format="png")
    return partial.replace(path)


def loss(ax: Axes, run: Result, other: Result, accent: str) -> None:
    """loss, nats per byte"""
    ax.plot(run.updates["step"], run.updates["loss"], color=accent, alpha=0.2, lw=0.5)
    ends = []
    for each, color in ((other, GHOST), (run, accent)):
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
    # From here the fall from ln 256 is over, and the runs can be told apart.
    settled = np.concatenate(
        [r.evaluations["heldout_loss"][r.evaluations["step"] > 0] for r in (run, other)]
    )
    settled = settled[np.isfinite(settled)]
    if settled.size:
        ax.set_ylim(settled.min() * 0.8, settled.max())
    say(ax, 0.97, 0.93, "held-out; pale: training", PALE, "axes fraction", ha="right")


def rate(ax: Axes, run: Result, other: Result, accent: str) -> None:
    """learning rate"""
    for each, color in ((other, GHOST), (run, accent)):
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
    """gradients behind ν̂"""
    x, y = moments(ax, run, other, accent, lambda h: h.effective_sample_size)
    ax.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g}"))
    gradients = "1 gradient" if round(y) == 1 else f"{y:.0f} gradients"
    dot(ax, x, y, f"full rate on {gradients}", accent, -11)
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
    ax.set_ylim(low / 1.4, high)  # room for what the panel shows
    ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ax.yaxis.set_minor_formatter(NullFormatter())
    ax.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:.0e}"))
    key = "line: √ν̂, what Adam expects;  dots: clipped gradients"
    say(ax, 0.03, 0.08, key, PALE, "axes fraction")
    ax.set_xlabel("updates, log scale")


PANELS = (loss, rate, step_size, samples, belief)
HEIGHTS = (2, 0.9, 1.2, 1.2, 1.2)


def moments(
    ax: Axes, run: Result, other: Result, accent: str, read: Callable
) -> tuple[float, float]:
    """Plots a statistic against the updates done, both on log axes.

    Returns the point of the first recorded update at the full rate.
    """
    ax.set_xscale("log")
    ax.set_yscale("log")
    for each, color in ((other, GHOST), (run, accent)):
        y = np.asarray(read(each.history))
        y = np.where(y > 0, y, np.nan)  # a rate of 0 has no place on a log axis
        ax.plot(each.history.steps + 1, y, color=color)
    ax.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    return run.history.steps[run.full_rate] + 1, y[run.full_rate]


def dot(ax: Axes, x: float, y: float, text: str, color: str, rise: float) -> None:
    """Marks a point and says what it is, above it or below."""
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
    """Writes beside what is meant, rather than in a legend."""
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
    parser = argparse.ArgumentParser(description="Draw two finished runs again.")
    parser.add_argument("runs", nargs=2, metavar="RUN", help="a run's folder")
    parser.add_argument("picture", help="the PNG to write")
    options = parser.parse_args(arguments)
    runs = [load_result(folder) for folder in options.runs]
    print(
        draw(runs, [run.folder.name.replace("_", " ") for run in runs], options.picture)
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
