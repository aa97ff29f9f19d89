"""The picture: losses, validation accuracy, and accuracy by peak rate."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from ..evaluation import COLORS, STYLE, Run, draw_losses, draw_metric


def draw(
    runs: Sequence[Run],
    large: dict[tuple[float, bool], Run],
    target: float,
    path: Path,
) -> None:
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(10, 7), dpi=150, layout="constrained")
        losses, accuracy, rates, none = figure.subplots(2, 2).flat
        none.remove()
        draw_losses(losses, runs, window=5)
        losses.set_title("Training loss (median and range of the seeds)")
        losses.set(xlabel="updates", xscale="log", ylim=(0, 2.7))
        draw_metric(accuracy, runs, target)
        accuracy.set_title("Validation accuracy")
        accuracy.set(xlabel="updates", xscale="log", ylim=(0, 1))
        for warm, color in ((False, COLORS[2]), (True, COLORS[3])):
            factors = sorted(factor for factor, w in large if w is warm)
            finals = [large[factor, warm].final() for factor in factors]
            means = [np.nanmean(final) for final in finals]
            errors = [np.nanstd(x, ddof=1) / len(x) ** 0.5 for x in finals]
            name = "gradual warmup" if warm else "no warmup"
            rates.errorbar(
                factors, means, errors, color=color, marker="o", ms=4, label=name
            )
        rates.set_title("Large batch: accuracy at the end, by rate")
        rates.set(xlabel="rate, in those of the small batch", xscale="log")
        rates.set_ylim(0, 1)
        rates.legend(frameon=False, loc="lower left")
        handles, names = losses.get_legend_handles_labels()
        figure.legend(
            handles, names, loc="center", bbox_to_anchor=(0.76, 0.25), frameon=False
        )
        partial = path.with_name(path.name + ".partial")
        figure.savefig(partial, format="png")
    partial.replace(path)
