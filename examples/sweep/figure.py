"""The heat map: the loss by peak rate and warmup length, and where it diverged."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import optax_warmup as ow

from ..evaluation import STYLE


def draw(ranked: Sequence[ow.sweeps.Ranked], title: str, path: Path) -> None:
    """Writes a PNG, whole or not at all."""
    points = [each.configuration for each in ranked]
    peaks = sorted({point["peak_value"] for point in points})
    lengths = sorted({point["warmup_steps"] for point in points})
    whole_grid = len(peaks) * len(lengths) == len(points)
    with matplotlib.rc_context(STYLE | {"axes.linewidth": 0}):
        width = 2.6 + 0.8 * len(peaks) if whole_grid else 6.4
        height = 1.8 + 0.55 * len(lengths) if whole_grid else 4.2
        figure = Figure(figsize=(width, height), dpi=150, layout="constrained")
        ax = figure.subplots()
        mapped = (heat_map if whole_grid else scatter)(ax, ranked, peaks, lengths)
        bar = figure.colorbar(mapped, ax=ax, label="validation loss", extend="max")
        bar.outline.set_visible(False)
        ax.set(xlabel="peak rate", ylabel="warmup, steps")
        ax.set_title(title)
        partial = path.with_name(path.name + ".partial")
        figure.savefig(partial, format="png")
    partial.replace(path)


def heat_map(
    ax: Axes, ranked: Sequence[ow.sweeps.Ranked], peaks: list[float], lengths: list[int]
):
    """A cell for each configuration; the ring is the best, dots are as good."""
    losses = np.full((len(lengths), len(peaks)), np.nan)
    places = {}
    for each in ranked:
        point = each.configuration
        column = peaks.index(point["peak_value"])
        row = lengths.index(point["warmup_steps"])
        places[row, column] = each
        losses[row, column] = np.nan if each.diverged else each.mean
    low, high = limits(losses)
    ax.set_facecolor("#f4f4f4")
    mapped = ax.imshow(
        losses, origin="lower", aspect="auto", cmap="viridis_r", vmin=low, vmax=high
    )
    for (row, column), each in places.items():
        text = f"{each.mean:.2f}"
        if each.diverged:
            text = f"{each.diverged} of {each.runs}\ndiverged"
        dark = not each.diverged and each.mean > (low + high) / 2
        color = "white" if dark else "#222222"
        weight = "bold" if each.tied else "normal"
        ax.text(
            column, row, text, ha="center", va="center", color=color, weight=weight,
            fontsize=6 if each.diverged else 8,
        )  # fmt: skip
        if each is ranked[0]:
            ax.add_patch(
                matplotlib.patches.Rectangle(
                    (column - 0.46, row - 0.46), 0.92, 0.92, fill=False, lw=2,
                    edgecolor="#c4432b",
                )
            )  # fmt: skip
    ax.set_xticks(range(len(peaks)), [f"{peak:.2g}" for peak in peaks])
    ax.set_yticks(range(len(lengths)), [str(length) for length in lengths])
    return mapped


def scatter(
    ax: Axes, ranked: Sequence[ow.sweeps.Ranked], peaks: list[float], lengths: list[int]
):
    """A point for each configuration of a random search; crosses diverged."""
    losses = np.array([np.nan if each.diverged else each.mean for each in ranked])
    x = np.array([each.configuration["peak_value"] for each in ranked])
    y = np.array([each.configuration["warmup_steps"] for each in ranked])
    low, high = limits(losses)
    mapped = ax.scatter(x, y, c=losses, cmap="viridis_r", vmin=low, vmax=high, s=60)
    lost = ~np.isfinite(losses)
    ax.plot(x[lost], y[lost], "x", color="#8a8a8a", ms=7)
    ax.plot(x[0], y[0], "o", mfc="none", mec="#c4432b", mew=2, ms=13)
    ax.set(xscale="log", yscale="symlog")
    return mapped


def limits(losses: np.ndarray) -> tuple[float, float]:
    """So that the good ones can be told apart: the worst share the last color."""
    finite = losses[np.isfinite(losses)]
    if not finite.size:
        return 0.0, 1.0
    low = float(finite.min())
    return low, max(float(np.quantile(finite, 0.8)), low + 1e-6)
