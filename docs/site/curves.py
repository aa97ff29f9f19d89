"""Small pictures of curves, as SVG that reads well on light and dark pages."""

from collections.abc import Mapping
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

COLORS = ("#1f6f8b", "#c8442f")
Curves = Mapping[str, tuple[np.ndarray, np.ndarray]]


def draw(path: Path, curves: Curves, xlabel: str) -> None:
    """One small panel."""
    figure = Figure(figsize=(5.2, 2.4), layout="constrained")
    ax = figure.subplots()
    _panel(ax, curves, xlabel)
    ax.set_ylim(bottom=0)
    _save(figure, path)


def draw_panel(path: Path, title: str, curves: Curves, log: bool) -> None:
    """A panel over the number of updates, which may have a logarithmic y axis."""
    figure = Figure(figsize=(4.2, 2.6), layout="constrained")
    ax = figure.subplots()
    _panel(ax, curves, "updates")
    ax.set_title(title, fontsize=10, loc="left")
    ax.set_xscale("log")
    _log_labels(ax.xaxis)
    if log:
        ax.set_yscale("log")
        _log_labels(ax.yaxis)
    else:
        ax.ticklabel_format(axis="y", useOffset=False)
    ax.legend(fontsize=8, frameon=False)
    _save(figure, path)


def _log_labels(axis: Axis) -> None:
    """Plain numbers, between the powers of ten only where there is one or none."""
    shown = np.log10(axis.get_view_interval())
    decades = np.floor(shown[1]) - np.ceil(shown[0]) + 1
    if decades < 2:
        axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.5g}"))
    axis.set_minor_formatter(NullFormatter())


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
