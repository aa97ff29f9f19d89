"""The panels of a record as a figure, with matplotlib."""

from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
from jax.typing import ArrayLike

from optax_warmup.diagnostics import _heatmap, _panels as panels, _ticks as ticks
from optax_warmup.diagnostics._history import MomentHistory
from optax_warmup.diagnostics._run_folders import as_runs

# matplotlib's own; it is imported only in order to draw.
Axes: TypeAlias = Any
Figure: TypeAlias = Any

_COLORS = ("#1f6f8b", "#c8442f", "#5b8c3a", "#8a5ba6", "#d08a1d", "#4a4a4a")
_INK, _PALE = "#333333", "#8a8a8a"
_ACROSS = 2  # charts in a row


def plot_moments(
    runs: MomentHistory | Mapping[str, MomentHistory],
    *,
    losses: Mapping[str, ArrayLike | Mapping[int, float]]
    | ArrayLike
    | Mapping[int, float]
    | None = None,
) -> tuple[Figure, dict[str, Axes]]:
    """Draws how the moments of a run, or of several, warmed up.

    Panels that runs share have a curve for each, named at its end: loss, learning rate,
    effective samples, update size against that of pure noise, lag, update to weights,
    sharpness where it was measured, alignment; factor and coherence of an automatic
    warmup. Below, for each run: the distribution of
    sqrt(nu_hat) and its RMS by group. What was not recorded has no panel. All lie over
    the updates done, on a logarithmic axis.

    Args:
        runs: the history of a run, or a mapping of names to histories.
        losses: the training losses: for one history as in `advise`, for several a
            mapping of their names to such. Runs without losses may be left out.

    Returns:
        The matplotlib figure, and its axes by name: `loss`, `learning_rate`,
        `warmup_factor`, `coherence`, `effective_sample_size`, `update_rms`, `normalized_gradient_rms`,
        `update_to_weight`, `sharpness`, `alignment`, and `distribution` and `groups`,
        followed by ` <name>` where there are several runs.

    Raises:
        ImportError: matplotlib is not installed.
        TypeError: a run is no `MomentHistory`.
        ValueError: there is no run, or `losses` names one that is not there.

    Example:
        >>> import matplotlib
        >>> matplotlib.use("agg")
        >>> import jax.numpy as jnp, optax, optax_warmup as ow
        >>> state = ow.record_moments(optax.adam(1e-3)).init({"w": jnp.ones(3)})
        >>> figure, axes = ow.diagnostics.plot_moments(ow.read_moments(state))
        >>> sorted(axes)
        ['effective_sample_size', 'update_rms']
    """
    named, known = as_runs("plot_moments", runs, losses)
    try:
        from matplotlib import pyplot
    except ImportError as error:
        raise ImportError(
            "plot_moments needs matplotlib: pip install 'optax_warmup[plot]'."
        ) from error
    charts = list(panels.charts(named, known))
    maps = list(_heatmap.heats(named))
    rows = -(-len(charts) // _ACROSS) + -(-len(maps) // _ACROSS)
    figure, grid = pyplot.subplots(
        rows,
        _ACROSS,
        figsize=(10.5, 2.7 * rows),
        layout="constrained",
        squeeze=False,
    )
    places = list(grid.flat)
    first_heat = -(-len(charts) // _ACROSS) * _ACROSS
    axes = {}
    for place, chart in zip(places, charts, strict=False):
        axes[chart.key] = place
        _chart(place, chart)
    names = list(named)
    for place, heat in zip(places[first_heat:], maps, strict=False):
        key = f"{heat.key} {names[heat.run]}" if len(named) > 1 else heat.key
        axes[key] = place
        _heat(place, heat)
    for place in set(places) - set(axes.values()):
        place.remove()
    figure.supxlabel("updates done", fontsize=9, color=_INK)
    return figure, axes


def _color(run: int | None) -> str:
    return _PALE if run is None else _COLORS[run % len(_COLORS)]


def _dress(axes: Axes, panel: panels.Chart | panels.Heat, last: float) -> None:
    axes.set_title(panel.title, loc="left", fontsize=10, fontweight="bold", color=_INK)
    axes.set_xscale("log")
    axes.set_xlim(1, max(last, 2))
    axes.set_xticks(ticks.log(1, max(last, 2), 6))
    axes.xaxis.set_major_formatter(lambda x, _: ticks.label(x))
    axes.minorticks_off()
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(_PALE)
    axes.tick_params(colors=_PALE, labelcolor=_INK, labelsize=8)
    axes.set_axisbelow(True)


def _chart(axes: Axes, panel: panels.Chart) -> None:
    for line in panel.lines:
        _line(axes, line, panel.log)
    last = max((line.x[-1] for line in panel.lines if len(line.x)), default=2.0)
    low, high = ticks.bounds([p.y for p in panel.lines], panel.log, panel.bounds)
    _dress(axes, panel, last)
    if panel.log and any((line.y > 0).any() for line in panel.lines):
        axes.set_yscale("log")
    axes.set_ylim(low, high)
    axes.set_yticks((ticks.log if panel.log else ticks.linear)(low, high, 5))
    axes.yaxis.set_major_formatter(lambda y, _: ticks.label(y))
    axes.minorticks_off()
    axes.grid(axis="y", color="#ececec", linewidth=0.8)
    said = {(mark.x, mark.text): mark for mark in reversed(panel.marks)}
    for mark in panel.marks:
        _mark(axes, mark, last, mark.text if mark in said.values() else "")
    _name_ends(axes, panel, low, high)


def _line(axes: Axes, line: panels.Line, log: bool) -> None:
    color = _color(line.run)
    x, y = line.x, np.where((line.y > 0) | (not log), line.y, np.nan)
    if line.dots:
        axes.plot(x, y, ".", color=color, alpha=0.45, markersize=4, mew=0)
    elif line.run is None:
        axes.plot(x, y, "--", color=color, linewidth=1)
    else:
        axes.plot(x, y, color=color, linewidth=1.6)


def _mark(axes: Axes, mark: panels.Mark, last: float, text: str) -> None:
    color = _color(mark.run)
    axes.plot([mark.x], [mark.y], "o", color=color, markersize=5, clip_on=False)
    left = np.log(mark.x) > 0.25 * np.log(last)
    axes.annotate(
        text,
        (mark.x, mark.y),
        xytext=(-6, 5) if left else (8, -4),
        textcoords="offset points",
        ha="right" if left else "left",
        color=color,
        fontsize=8,
    )


def _name_ends(axes: Axes, panel: panels.Chart, low: float, high: float) -> None:
    """The name of each curve at its right end, moved apart where ends are close."""
    scale = np.log if panel.log else (lambda y: y)
    ends, named = [], []
    for line in panel.lines:
        fine = line.y[np.isfinite(line.y) & ((line.y > 0) | (not panel.log))]
        if line.label and len(fine):
            share = (scale(fine[-1]) - scale(low)) / (scale(high) - scale(low))
            ends.append(float(np.clip(share, 0, 1)))
            named.append(line)
    for place, line in zip(ticks.apart(ends, 0.09, 0, 1), named, strict=True):
        axes.annotate(
            line.label,
            (1.02, place),
            xycoords="axes fraction",
            color=_color(line.run),
            va="center",
            fontsize=8,
            annotation_clip=False,
        )


def _heat(axes: Axes, panel: panels.Heat) -> None:
    from matplotlib.collections import PolyCollection
    from matplotlib.colors import to_rgb

    some = np.isfinite(panel.shade)
    column, row = np.nonzero(some)
    left, right = panel.x_edges[column], panel.x_edges[column + 1]
    low, high = panel.lower[column, row], panel.upper[column, row]
    corners = [[left, low], [right, low], [right, high], [left, high]]
    cells = PolyCollection(list(np.array(corners).transpose(2, 0, 1)))
    paint = np.empty((len(row), 4))
    paint[:, :3], paint[:, 3] = to_rgb(_color(panel.run)), panel.shade[column, row]
    cells.set(facecolor=paint, edgecolor="none", antialiased=False, rasterized=True)
    axes.add_collection(cells)
    _dress(axes, panel, panel.x_edges[-1])
    if panel.rows:
        axes.set_ylim(len(panel.rows), 0)
        axes.set_yticks(np.arange(len(panel.rows)) + 0.5, panel.rows, fontsize=7)
        axes.tick_params(axis="y", length=0)
        return
    bottom, top = ticks.bounds([panel.lower[some], panel.upper[some]], True, None)
    axes.set_yscale("log")
    axes.set_ylim(bottom, top)
    axes.set_yticks(ticks.log(bottom, top, 5))
    axes.yaxis.set_major_formatter(lambda y, _: ticks.label(y))
    axes.minorticks_off()
    for line in panel.lines:
        axes.plot(line.x, line.y, color=_INK, linewidth=0.9)
