"""The heat map: loss by peak learning rate and warmup length, and divergences."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.patches import Rectangle

import optax_warmup as ow

from ..drawing import picture


def draw(ranked: Sequence[ow.sweeps.Ranked], title: str, path: Path) -> None:
    """Draws a heat map of a full grid, or the points of a random search."""
    points = [each.configuration for each in ranked]
    peaks = sorted({point["peak_value"] for point in points})
    lengths = sorted({point["warmup_steps"] for point in points})
    whole_grid = len(peaks) * len(lengths) == len(points)
    width = 2.6 + 0.8 * len(peaks) if whole_grid else 6.4
    height = 1.8 + 0.55 * len(lengths) if whole_grid else 4.2
    with picture(path, (width, height), **{"axes.linewidth": 0}) as figure:
        ax = figure.subplots()
        mapped = (heat_map if whole_grid else scatter)(ax, ranked, peaks, lengths)
        bar = figure.colorbar(mapped, ax=ax, label="validation loss", extend="max")
        bar.outline.set_visible(False)  # type: ignore[operator]  # matplotlib's stub
        ax.set(xlabel="peak learning rate", ylabel="warmup steps")
        ax.set_title(title)


def heat_map(
    ax: Axes, ranked: Sequence[ow.sweeps.Ranked], peaks: list[float], lengths: list[int]
) -> ScalarMappable:
    """A cell for each configuration: the best is framed, those as good are bold."""
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
    for place, each in places.items():
        dark = not each.diverged and each.mean > (low + high) / 2
        write_cell(ax, place, each, "white" if dark else "#222222")
    frame(ax, next(place for place, each in places.items() if each is ranked[0]))
    ax.set_xticks(range(len(peaks)), [f"{peak:.2g}" for peak in peaks])
    ax.set_yticks(range(len(lengths)), [str(length) for length in lengths])
    return mapped


def write_cell(
    ax: Axes, place: tuple[int, int], each: ow.sweeps.Ranked, color: str
) -> None:
    row, column = place
    text = f"{each.mean:.2f}"
    if each.diverged:
        text = f"{each.diverged} of {each.runs}\ndiverged"
    ax.text(
        column,
        row,
        text,
        ha="center",
        va="center",
        color=color,
        weight="bold" if each.tied else "normal",
        fontsize=6 if each.diverged else 8,
    )


def frame(ax: Axes, place: tuple[int, int]) -> None:
    row, column = place
    corner = column - 0.46, row - 0.46
    ax.add_patch(Rectangle(corner, 0.92, 0.92, fill=False, lw=2, edgecolor="#c4432b"))


def scatter(
    ax: Axes, ranked: Sequence[ow.sweeps.Ranked], peaks: list[float], lengths: list[int]
) -> ScalarMappable:
    """A point for each configuration: the best has a ring, a cross marks divergence."""
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
    """Color limits that tell good ones apart: the worst fifth shares the last color."""
    finite = losses[np.isfinite(losses)]
    if not finite.size:
        return 0.0, 1.0
    low = float(finite.min())
    return low, max(float(np.quantile(finite, 0.8)), low + 1e-6)
