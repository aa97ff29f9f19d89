"""Panels drawn with matplotlib, which is imported only in order to draw."""

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np

from optax_warmup._drawing import ticks
from optax_warmup._drawing.labels import spread
from optax_warmup._drawing.numbers import count, number
from optax_warmup._drawing.palette import GRID, INK, PALE, color
from optax_warmup._drawing.panel import Chart, HeatMap, Line, Mark

# matplotlib's own types. Public functions name them; in here they are not checked.
Axes: TypeAlias = Any
Figure: TypeAlias = Any


def require_pyplot(owner: str) -> Any:
    """Imports pyplot, or says how to install it."""
    try:
        from matplotlib import pyplot
    except ImportError as error:
        raise ImportError(
            f"{owner} needs matplotlib: pip install 'optax_warmup[plot]'."
        ) from error
    return pyplot


def style_axes(axes: Axes) -> None:
    """Applies the common look: two spines, pale ticks."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(PALE)
    axes.tick_params(colors=PALE, labelcolor=INK)
    axes.set_axisbelow(True)


def grid_lines(axes: Axes) -> None:
    """Draws a pale line at each tick of the y axis."""
    axes.grid(axis="y", color=GRID, linewidth=0.8)


def name_ends(
    axes: Axes,
    names: Sequence[str],
    heights: Sequence[float],
    colors: Sequence[str],
    *,
    gap: float,
    fontsize: float,
) -> None:
    """Writes a name at the right end of each curve, moved apart where ends are close.

    Heights and the gap are fractions of the axes' height.
    """
    places = spread(heights, gap, gap / 2, 1.0)
    for name, end, place, ink in zip(names, heights, places, colors, strict=True):
        moved = abs(place - end) > gap / 4
        axes.annotate(
            name,
            (1.0, end),
            xycoords="axes fraction",
            xytext=(1.035, place),
            textcoords="axes fraction",
            color=ink,
            va="center",
            fontsize=fontsize,
            annotation_clip=False,
            # A line leads from the curve's end to a name that had to move.
            arrowprops={
                "arrowstyle": "-",
                "color": ink,
                "linewidth": 0.8 if moved else 0.0,
                "relpos": (0, 0.5),
                "shrinkB": 3,
            },
        )


def draw_chart(axes: Axes, chart: Chart) -> None:
    """Draws the curves of a chart, its marks, and the names of its curves."""
    for line in chart.lines:
        _line(axes, line, chart.log)
    last = max((line.x[-1] for line in chart.lines if len(line.x)), default=2.0)
    low, high = ticks.bounds([p.y for p in chart.lines], chart.log, chart.include)
    _title_and_steps(axes, chart.title, last, chart.first, chart.log_steps)
    _y_axis(axes, low, high, chart.log)
    grid_lines(axes)
    for mark, text in chart.spoken_marks():
        _mark(axes, mark, last, text)
    ends = [_end(line, low, high, chart.log) for line in chart.lines]
    named = [
        (line, end)
        for line, end in zip(chart.lines, ends, strict=True)
        if line.label and end is not None
    ]
    name_ends(
        axes,
        [line.label for line, _ in named],
        [end for _, end in named],
        [color(line.run) for line, _ in named],
        gap=0.09,
        fontsize=8,
    )


def draw_heat_map(axes: Axes, heat: HeatMap) -> None:
    """Draws the cells of a heat map and the curves on top of them."""
    from matplotlib.collections import PolyCollection
    from matplotlib.colors import to_rgb

    shown = np.isfinite(heat.shade)
    column, row = np.nonzero(shown)
    left, right = heat.x_edges[column], heat.x_edges[column + 1]
    low, high = heat.lower[column, row], heat.upper[column, row]
    corners = [[left, low], [right, low], [right, high], [left, high]]
    cells = PolyCollection(list(np.array(corners).transpose(2, 0, 1)))
    paint = np.empty((len(row), 4))
    paint[:, :3], paint[:, 3] = to_rgb(color(heat.run)), heat.shade[column, row]
    cells.set(facecolor=paint, edgecolor="none", antialiased=False, rasterized=True)
    axes.add_collection(cells)
    _title_and_steps(axes, heat.title, heat.x_edges[-1])
    if heat.rows:
        axes.set_ylim(len(heat.rows), 0)
        axes.set_yticks(np.arange(len(heat.rows)) + 0.5, heat.rows, fontsize=7)
        axes.tick_params(axis="y", length=0)
        return
    _y_axis(axes, *ticks.bounds([heat.lower[shown], heat.upper[shown]], True), True)
    for line in heat.lines:
        axes.plot(line.x, line.y, color=INK, linewidth=0.9)


def _title_and_steps(
    axes: Axes, title: str, last: float, first: float = 0.0, log: bool = True
) -> None:
    axes.set_title(title, loc="left", fontsize=10, fontweight="bold", color=INK)
    if log:
        axes.set_xscale("function", functions=(np.log1p, np.expm1))
    last = max(last, 2 * first, 1.0)
    axes.set_xlim(first, last)
    axes.set_xticks(ticks.steps(first, last, logarithmic=log))
    axes.xaxis.set_major_formatter(lambda x, _: count(x))
    axes.minorticks_off()
    style_axes(axes)
    axes.tick_params(labelsize=8)


def _y_axis(axes: Axes, low: float, high: float, log: bool) -> None:
    if log:
        axes.set_yscale("log")
    axes.set_ylim(low, high)
    axes.set_yticks((ticks.log if log else ticks.linear)(low, high, 5))
    axes.yaxis.set_major_formatter(lambda y, _: number(y, 4))
    axes.minorticks_off()


def _line(axes: Axes, line: Line, log: bool) -> None:
    x, y = line.x, np.where((line.y > 0) | (not log), line.y, np.nan)
    if line.dots:
        style: dict[str, Any] = {"marker": ".", "markersize": 4, "mew": 0}
        axes.plot(x, y, linestyle="", color=color(line.run), alpha=0.45, **style)
    elif line.run is None:
        axes.plot(x, y, "--", color=color(None), linewidth=1)
    elif line.pale:
        axes.plot(x, y, color=color(line.run), linewidth=0.8, alpha=0.4)
    elif line.band is not None:
        axes.fill_between(x, *line.band, color=color(line.run), alpha=0.16, linewidth=0)
        axes.plot(x, y, "--", color=color(line.run), linewidth=1.3)
    else:
        axes.plot(x, y, color=color(line.run), linewidth=1.6)


def _mark(axes: Axes, mark: Mark, last: float, text: str) -> None:
    ink = color(mark.run)
    axes.plot([mark.x], [mark.y], "o", color=ink, markersize=5, clip_on=False)
    left = np.log1p(mark.x) > 0.25 * np.log1p(last)
    axes.annotate(
        text,
        (mark.x, mark.y),
        xytext=(-6, 5) if left else (7, 4) if mark.falls else (12, -4),
        textcoords="offset points",
        ha="right" if left else "left",
        color=ink,
        fontsize=8,
    )


def _end(line: Line, low: float, high: float, log: bool) -> float | None:
    """Returns where a curve ends, as a fraction of the axis; None without values."""
    values = line.y[np.isfinite(line.y) & ((line.y > 0) | (not log))]
    if not len(values):
        return None
    last = float(values[-1])
    if log:
        last, low, high = np.log(last), np.log(low), np.log(high)
    return float(np.clip((last - low) / (high - low), 0, 1))
