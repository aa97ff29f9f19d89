"""Small pictures of curves, as SVG that reads well on light and dark pages."""

from collections.abc import Mapping
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure

COLORS = ("#1f6f8b", "#c8442f")
Curves = Mapping[str, tuple[np.ndarray, np.ndarray]]


def draw(path: Path, curves: Curves, xlabel: str) -> None:
    """One small panel."""
    figure = Figure(figsize=(5.2, 2.4), layout="constrained")
    ax = figure.subplots()
    _panel(ax, curves, xlabel)
    ax.set_ylim(bottom=0)
    _save(figure, path)


def draw_panels(path: Path, panels: Mapping[str, tuple[Curves, bool]]) -> None:
    """Panels side by side, over the number of updates; each may have a log y axis."""
    figure = Figure(figsize=(4.2 * len(panels), 2.6), layout="constrained")
    axes = np.atleast_1d(figure.subplots(1, len(panels)))
    for ax, (title, (curves, log)) in zip(axes, panels.items(), strict=True):
        _panel(ax, curves, "updates")
        ax.set_title(title, fontsize=10, loc="left")
        ax.set_xscale("log")
        if log:
            ax.set_yscale("log")
        ax.tick_params(which="minor", labelsize=7, labelcolor="#333333")
    axes[0].legend(fontsize=8, frameon=False)
    _save(figure, path)


def _panel(ax: "matplotlib.axes.Axes", curves: Curves, xlabel: str) -> None:
    for color, (label, (x, y)) in zip(COLORS, curves.items(), strict=False):
        ax.plot(_thinned(x), _thinned(y), color=color, linewidth=1.8, label=label)
    ax.set_xlabel(xlabel, fontsize=9)
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["left", "bottom"]].set_color("#8a8a8a")
    ax.tick_params(colors="#8a8a8a", labelcolor="#333333", labelsize=8)
    ax.grid(axis="y", color="#ececec", linewidth=0.8)
    ax.set_axisbelow(True)


def _thinned(values: np.ndarray, most: int = 1001) -> np.ndarray:
    return np.asarray(values)[:: max(1, len(values) // most)]


def _save(figure: Figure, path: Path) -> None:
    # Text stays text, and no date or random name differs from one build to the next.
    settings = {"svg.fonttype": "none", "svg.hashsalt": "optax_warmup"}
    with matplotlib.rc_context(settings):
        figure.savefig(path, metadata={"Date": None})
