"""Schedules as a picture, with matplotlib."""

from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
import optax
from jax.typing import ArrayLike

from optax_warmup._inspect.describe import warmup_end
from optax_warmup._inspect.simulate import at_steps, length, spread
from optax_warmup._inspect.ticks import LOWEST, count, number
from optax_warmup._schedules.schedule import Schedule, ScheduleLike

# matplotlib's own; it is imported only in order to draw.
Axes: TypeAlias = Any
Figure: TypeAlias = Any

_MOST = 200_000  # steps that are drawn; a picture has some thousand columns
_COLORS = ("#1f6f8b", "#c8442f", "#5b8c3a", "#8a5ba6", "#d08a1d", "#4a4a4a")
_INK, _PALE = "#333333", "#8a8a8a"
_LONGEST = 24  # characters of a name that fit beside a curve
_GAP = 0.055  # of the height, between two labels


def plot(
    schedules: Schedule | optax.Schedule | ArrayLike | Mapping[str, ScheduleLike],
    steps: int,
    *,
    log: bool = False,
    axes: Axes | None = None,
) -> tuple[Figure, Axes]:
    """Draws one schedule, or several by name, over the first `steps` updates.

    A full dot marks a curve's peak, a hollow one the end of its warmup where that is
    elsewhere. Each curve is named at its end, in its colour; long names stand above.

    Args:
        schedules: a schedule (any function of the step, or a number), or a mapping of
            names to them.
        steps: how many updates, >= 2.
        log: whether the axis of the values is logarithmic; zeros are then left out.
        axes: matplotlib axes to draw into; by default those of a new figure.

    Returns:
        The matplotlib figure and axes.

    Raises:
        ImportError: matplotlib is not installed.
        TypeError: a schedule is neither callable nor a number, or `steps` no integer.
        ValueError: there is no schedule, `steps` is below 2 or not whole, or a schedule
            does not give one number a step.

    Example:
        >>> import matplotlib
        >>> matplotlib.use("agg")
        >>> import optax_warmup as ow
        >>> figure, axes = ow.plot({"cosine": ow.warmup_cosine(3e-4, 100, 1000)}, 1001)
        >>> len(axes.lines)
        1
    """
    named = dict(schedules) if isinstance(schedules, Mapping) else {"": schedules}
    if not named:
        raise ValueError(
            "plot: schedules must hold one schedule at least, got an empty mapping; "
            'give a schedule or {"name": schedule}.'
        )
    steps = length("plot", steps, minimum=2)
    seen = spread(steps, _MOST)
    curves = {
        str(name): at_steps("plot", schedule, seen).astype(np.float64)
        for name, schedule in named.items()
    }
    axes = _new_axes() if axes is None else axes
    for curve, color in zip(curves.values(), _cycle(len(curves)), strict=True):
        axes.plot(seen, curve, color=color, linewidth=1.8, solid_capstyle="round")
        _mark(axes, seen, curve, color, alone=len(curves) == 1)
    _dress(axes, steps, log)
    if max(map(len, curves)) > _LONGEST:
        _name_above(axes, list(curves))
    else:
        _name_ends(axes, curves)
    return axes.figure, axes


def _new_axes() -> Axes:
    try:
        from matplotlib import pyplot
    except ImportError as error:
        raise ImportError(
            "plot needs matplotlib: pip install 'optax_warmup[plot]'."
        ) from error
    return pyplot.subplots(figsize=(7, 3.8), layout="constrained")[1]


def _cycle(n: int) -> list[str]:
    return [_COLORS[i % len(_COLORS)] for i in range(n)]


def _mark(
    axes: Axes, seen: np.ndarray, curve: np.ndarray, color: str, *, alone: bool
) -> None:
    """Dots at the peak and at the warmup's end; their numbers where there is room."""
    if np.isnan(curve).all() or np.nanmin(curve) == np.nanmax(curve):
        return
    peak, end = int(np.nanargmax(curve)), warmup_end(curve)
    dot = {"color": color, "s": 26, "zorder": 3, "linewidths": 1.5, "clip_on": False}
    axes.scatter(seen[peak], curve[peak], **dot)
    if end not in (0, peak):
        axes.scatter(seen[end], curve[end], **dot | {"facecolors": "white"})
    if alone:
        _say(axes, seen[peak], curve[peak], number(curve[peak]), color)
        if end not in (0, peak):
            _say(axes, seen[end], curve[end], "warmup ends", color)


def _say(axes: Axes, step: float, value: float, text: str, color: str) -> None:
    text = f"{text} at step {count(step)}"
    left = step < 0.6 * axes.dataLim.x1  # of the picture: the text runs to the right
    axes.annotate(
        text,
        (step, value),
        xytext=(0, 7),
        textcoords="offset points",
        color=color,
        fontsize=9,
        ha="left" if left else "right",
    )


def _dress(axes: Axes, steps: int, log: bool) -> None:
    axes.set_xlim(0, steps - 1)
    if log:
        axes.set_yscale("log")
        positive = [y for line in axes.lines for y in line.get_ydata() if y > 0]
        axes.set_ylim(bottom=max(min(positive), max(positive) * LOWEST) / 1.5)
    else:
        axes.set_ylim(bottom=min(axes.dataLim.y0, 0))
        axes.yaxis.set_major_formatter(lambda value, _: number(value))
    axes.xaxis.set_major_formatter(lambda step, _: count(step))
    axes.locator_params(axis="x", integer=True, nbins=6)
    axes.set_xlabel("step", color=_INK)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(_PALE)
    axes.tick_params(colors=_PALE, labelcolor=_INK)
    axes.grid(axis="y", color="#ececec", linewidth=0.8)
    axes.set_axisbelow(True)


def _name_above(axes: Axes, names: list[str]) -> None:
    """Writes the names as lines above the picture, for those that are long."""
    for index, (name, color) in enumerate(zip(names, _cycle(len(names)), strict=True)):
        axes.annotate(
            name,
            (0, 1),
            xycoords="axes fraction",
            xytext=(0, 12 + 14 * (len(names) - 1 - index)),
            textcoords="offset points",
            color=color,
            fontsize=9,
            family="monospace",
        )


def _name_ends(axes: Axes, curves: Mapping[str, np.ndarray]) -> None:
    """Writes each name beside its curve's end, moved apart where ends are close."""
    colors = _cycle(len(curves))
    ends = [_height(axes, curve) for curve in curves.values()]
    places = _apart(ends, _GAP)
    for name, end, place, color in zip(curves, ends, places, colors, strict=True):
        if not name:
            continue
        axes.annotate(
            name,
            (1.0, end),
            xycoords="axes fraction",
            xytext=(1.035, place),
            textcoords="axes fraction",
            color=color,
            va="center",
            fontsize=10,
            arrowprops={
                "arrowstyle": "-",
                "color": color,
                "linewidth": 0.8,
                "relpos": (0, 0.5),
                "shrinkB": 3,
            },
        )


def _height(axes: Axes, curve: np.ndarray) -> float:
    """Where a curve ends, as a share of the axes' height."""
    point: Any = axes.transData.transform((0, curve[-1]))
    share = axes.transAxes.inverted().transform(point)[1]
    return float(np.clip(share, 0, 1)) if np.isfinite(share) else 0.0


def _apart(heights: list[float], gap: float) -> list[float]:
    """Heights moved as little as need be for all to be `gap` apart."""
    order = np.argsort(heights, kind="stable")
    places = np.array(heights, float)[order]
    for _ in range(100):
        short = gap - np.diff(places)
        push = np.maximum(short, 0) / 2
        if push.max(initial=0) < gap / 100:
            break
        places[:-1] -= push
        places[1:] += push
    # None below the axis, where the steps are written.
    floor = places[0] = max(places[0], gap / 2)
    for i in range(1, len(places)):
        floor = places[i] = max(places[i], floor + gap)
    result = np.empty_like(places)
    result[order] = places
    return result.tolist()
