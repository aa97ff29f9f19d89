"""The picture: losses, validation accuracy, and accuracy by peak rate."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..evaluation import COLORS, STYLE, Run, draw_losses, draw_metric


def draw(
    runs: Sequence[Run],
    large: dict[tuple[float, bool], Run],
    target: float,
    path: Path,
) -> None:
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(12, 4.4), dpi=130, layout="constrained")
        losses, accuracy, rates = figure.subplots(1, 3)
        draw_losses(losses, runs, window=5)
        losses.set_title("Training loss, median and range of the seeds")
        losses.set(xlabel="updates", xscale="log", ylim=(0, 2.7))
        draw_metric(accuracy, runs, target)
        accuracy.set_title(f"Validation accuracy, mean; dotted: {target:g}")
        accuracy.set(xlabel="updates", xscale="log", ylim=(0, 1))
        for ax in (losses, accuracy):
            ax.xaxis.set_major_formatter("{x:g}")
        draw_rates(rates, large)
        handles, names = losses.get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower left", ncols=4, frameon=False)
        partial = path.with_name(path.name + ".partial")
        figure.savefig(partial, format="png")
    partial.replace(path)


def draw_rates(ax: Axes, large: dict[tuple[float, bool], Run]) -> None:
    """Mean accuracy at the end and its standard error, by factor on the base rate."""
    for warm, color in ((False, COLORS[2]), (True, COLORS[3])):
        factors = sorted(factor for factor, w in large if w is warm)
        finals = [large[factor, warm].final() for factor in factors]
        means = [np.nanmean(final) for final in finals]
        errors = [np.nanstd(x, ddof=min(1, len(x) - 1)) / len(x) ** 0.5 for x in finals]
        name = "gradual warmup" if warm else "no warmup"
        ax.errorbar(factors, means, errors, color=color, marker="o", ms=4, label=name)
    ax.set_title("Large batch: accuracy at the end, by peak rate")
    ax.set(xlabel="peak rate, times that of the small batch", xscale="log", ylim=(0, 1))
    ax.set_xticks(factors, [f"{factor:g}" for factor in factors])
    ax.minorticks_off()
    ax.legend(frameon=False, loc="lower right")
