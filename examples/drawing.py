"""Drawing shared by the examples: style, losses, metrics, and the final metric by rate.

picture        a figure that is written as a PNG at the end
draw_losses    loss curves
draw_metric    metric curves, and the target
draw_finals    the final metric against the peak learning rate
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar, cast

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .evaluation import Run, standard_error

Way = TypeVar("Way")

STYLE: dict[str, Any] = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "axes.linewidth": 0.6,
    "lines.linewidth": 1.8,
}
COLORS = ("#c4432b", "#d08a1d", "#1f6f8b", "#4c7f2e", "#8a5ba6", "#4a4a4a")


@contextmanager
def picture(path: Path, size: tuple[float, float], **style: Any) -> Iterator[Figure]:
    """A figure of `size` inches. Leaving the context writes it, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with matplotlib.rc_context(cast(Any, STYLE | style)):
        figure = Figure(figsize=size, dpi=150, layout="constrained")
        yield figure
        partial = path.with_name(path.name + ".partial")
        partial.unlink(missing_ok=True)  # it could be a link to somewhere else
        figure.savefig(partial, format="png")
    partial.replace(path)


def draw_losses(ax: Axes, runs: Sequence[Run], window: int = 1) -> None:
    """Median and range of the losses, as moving averages; a cross marks divergence."""
    for run, color in zip(runs, COLORS, strict=False):
        kernel = np.ones(window) / window
        loss = np.array([np.convolve(x, kernel, "valid") for x in run.loss])
        x = np.arange(loss.shape[1]) + window
        finite = np.where(np.isfinite(loss), loss, np.nan)
        shown = np.isfinite(finite).any(axis=0)
        finite, x = finite[:, shown], x[shown]
        low, high = np.nanmin(finite, axis=0), np.nanmax(finite, axis=0)
        ax.fill_between(x, low, high, color=color, alpha=0.15, lw=0)
        ax.plot(x, np.nanmedian(finite, axis=0), color=color, label=run.name)
        if len(x) and not shown.all():
            ax.plot(x[-1], np.nanmedian(finite[:, -1]), "x", color=color, ms=8)


def draw_metric(ax: Axes, runs: Sequence[Run], target: float) -> None:
    """The mean metric of the seeds at each evaluation; the target as a dotted line."""
    for run, color in zip(runs, COLORS, strict=False):
        ax.plot(run.steps, np.nanmean(run.metric, 0), color=color, label=run.name)
    ax.axhline(target, color="#8a8a8a", lw=0.8, ls=":")


def draw_finals(
    ax: Axes,
    runs: Mapping[tuple[float, Way], Run],
    ways: Mapping[Way, tuple[str, str]],
) -> None:
    """Mean and standard error of the final metric against the peak learning rate.

    Args:
        runs: by (peak, way of training).
        ways: the label and the color of each way of training.
    """
    for way, (label, color) in ways.items():
        peaks = sorted(peak for peak, other in runs if other == way)
        finals = [runs[peak, way].final() for peak in peaks]
        ax.errorbar(
            peaks,
            [np.nanmean(final) for final in finals],
            [standard_error(final) for final in finals],
            color=color,
            marker="o",
            ms=4,
            label=label,
        )
    ax.set_xscale("log")
