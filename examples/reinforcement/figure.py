"""The picture: returns as they rise, the losses, and the return by peak rate."""

from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from ..evaluation import COLORS, STYLE, Run, draw_losses, draw_metric
from .variants import WAYS, Way


def draw(
    runs: dict[tuple[float, Way], Run], peak: float, target: float, path: Path
) -> None:
    """Writes a PNG, whole or not at all. The curves are those at one peak rate."""
    shown = [runs[peak, way] for way in WAYS]
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(12, 4.1), dpi=130, layout="constrained")
        returns, losses, rates = figure.subplots(1, 3)
        draw_metric(returns, shown, target)
        returns.set_title(f"Return of an episode, peak {peak:g}; dotted: {target:g}")
        returns.set(xlabel="updates", ylim=(0, 510))
        returns.legend(frameon=False, fontsize=8, loc="lower right")
        draw_losses(losses, shown, window=16)
        losses.set_title("Loss, median and range of the seeds")
        losses.set(xlabel="updates", yscale="symlog")
        for way, color in zip(WAYS, COLORS, strict=False):
            peaks = sorted(p for p, w in runs if w is way)
            finals = np.array([runs[p, way].final() for p in peaks])
            error = np.nanstd(finals, axis=1, ddof=min(1, finals.shape[1] - 1))
            rates.errorbar(
                peaks,
                np.nanmean(finals, axis=1),
                error / finals.shape[1] ** 0.5,
                color=color,
                marker="o",
                ms=4,
            )
        rates.set_title("Return at the end, by peak rate")
        rates.set(xlabel="peak rate", xscale="log", ylim=(0, 510))
        partial = path.with_name(path.name + ".partial")
        figure.savefig(partial, format="png")
    partial.replace(path)
