"""Schedules as a matplotlib figure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import optax
from jax.typing import ArrayLike

from optax_warmup import _check
from optax_warmup._drawing import figure as drawing
from optax_warmup._drawing.figure import Axes
from optax_warmup._drawing.numbers import count, number
from optax_warmup._drawing.palette import INK, color
from optax_warmup._inspect.sampled import warmup_end
from optax_warmup._inspect.simulate import LOG_RANGE, at_steps, length_of, sample_steps
from optax_warmup._schedules.schedule import Schedule, ScheduleLike
from optax_warmup.values._checked import names_arguments

if TYPE_CHECKING:
    import matplotlib.axes
    import matplotlib.figure

_MOST = 200_000  # steps that are drawn; a picture has some thousand columns
_LONGEST = 24  # characters of a name that fit beside a curve
_GAP = 0.055  # between two names, as a fraction of the height


@names_arguments
def plot(
    schedules: Schedule | optax.Schedule | ArrayLike | Mapping[str, ScheduleLike],
    steps: int | None = None,
    *,
    log: bool = False,
    axes: matplotlib.axes.Axes | None = None,
) -> tuple[matplotlib.figure.Figure, matplotlib.axes.Axes]:
    """Plots one schedule, or several by name, over the first `steps` updates.

    A filled dot marks the peak of a curve, a hollow one the end of its warmup if that
    is elsewhere. Each curve is named at its end; long names stand above the plot.

    Args:
        schedules: a schedule (any function of the step, or a number), or a mapping of
            names to them.
        steps: the number of updates, >= 2. By default those of the longest schedule,
            if all are of this library.
        log: whether the y axis is logarithmic; zeros are then not drawn.
        axes: matplotlib axes to draw into; by default a new figure is made.

    Returns:
        The matplotlib figure and axes.

    Raises:
        ImportError: matplotlib is not installed.
        TypeError: a schedule is neither callable nor a number, a name is not a string,
            `steps` is not an integer, or is missing for what is not a schedule of this
            library; `axes` are not matplotlib axes.
        ValueError: there is no schedule, `steps` is below 2 or not whole, a schedule
            does not return one number per step, or none has a value above 0 for a
            logarithmic axis.

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
            "plot: schedules must hold at least one schedule, got an empty mapping; "
            'pass a schedule or {"name": schedule}.'
        )
    for name in named:
        if not isinstance(name, str):
            raise TypeError(
                f"plot: the names of schedules must be strings, got {name!r}."
            )
    _check.flag("plot", "log", log)
    if axes is not None and not hasattr(axes, "plot"):
        raise TypeError(f"plot: axes must be matplotlib axes, got {axes!r}.")
    steps = max(length_of("plot", s, steps, minimum=2) for s in named.values())
    seen = sample_steps(steps, _MOST)
    curves = {
        name: at_steps("plot", schedule, seen).astype(np.float64)
        for name, schedule in named.items()
    }
    if log and not any((curve > 0).any() for curve in curves.values()):
        raise ValueError(
            "plot: schedules must have a value above 0 for a logarithmic axis, got "
            f"none in {steps:,} updates; leave out log=True."
        )
    drawn: Any = axes
    if drawn is None:
        pyplot = drawing.require_pyplot("plot")
        drawn = pyplot.subplots(figsize=(7, 3.8), layout="constrained")[1]
    for index, curve in enumerate(curves.values()):
        ink = color(index)
        drawn.plot(seen, curve, color=ink, linewidth=1.8, solid_capstyle="round")
        _mark(drawn, seen, curve, ink, alone=len(curves) == 1)
    _dress(drawn, steps, log)
    if max(map(len, curves)) > _LONGEST:
        _name_above(drawn, list(curves))
    else:
        _name_ends(drawn, curves)
    return drawn.figure, drawn


def _mark(
    axes: Axes, seen: np.ndarray, curve: np.ndarray, ink: str, *, alone: bool
) -> None:
    """Draws dots at the peak and at the end of the warmup, with words for one curve."""
    if np.isnan(curve).all() or np.nanmin(curve) == np.nanmax(curve):
        return
    peak, end = int(np.nanargmax(curve)), warmup_end(curve)
    dot = {"color": ink, "s": 26, "zorder": 3, "linewidths": 1.5, "clip_on": False}
    axes.scatter(seen[peak], curve[peak], **dot)
    if end not in (0, peak):
        axes.scatter(seen[end], curve[end], **dot | {"facecolors": "white"})
    if alone:
        _say(axes, seen[peak], curve[peak], number(curve[peak], 4), ink)
        if end not in (0, peak):
            _say(axes, seen[end], curve[end], "warmup ends", ink)


def _say(axes: Axes, step: float, value: float, text: str, ink: str) -> None:
    text = f"{text} at step {count(step)}"
    left = step < 0.6 * axes.dataLim.x1  # then the text runs to the right
    axes.annotate(
        text,
        (step, value),
        xytext=(0, 7),
        textcoords="offset points",
        color=ink,
        fontsize=9,
        ha="left" if left else "right",
    )


def _dress(axes: Axes, steps: int, log: bool) -> None:
    axes.set_xlim(0, steps - 1)
    if log:
        axes.set_yscale("log")
        values = [np.asarray(line.get_ydata(), np.float64) for line in axes.lines]
        positive = np.concatenate(values)
        positive = positive[positive > 0]
        axes.set_ylim(bottom=max(positive.min(), positive.max() * LOG_RANGE) / 1.5)
    else:
        axes.set_ylim(bottom=min(axes.dataLim.y0, 0))
    axes.yaxis.set_major_formatter(lambda value, _: number(value, 4))
    axes.xaxis.set_major_formatter(lambda step, _: count(step))
    axes.locator_params(axis="x", integer=True, nbins=6)
    axes.set_xlabel("step", color=INK)
    drawing.style_axes(axes)
    drawing.grid_lines(axes)


def _name_above(axes: Axes, names: list[str]) -> None:
    """Writes the names as lines above the plot, for those that are long."""
    for index, name in enumerate(names):
        axes.annotate(
            name,
            (0, 1),
            xycoords="axes fraction",
            xytext=(0, 12 + 14 * (len(names) - 1 - index)),
            textcoords="offset points",
            color=color(index),
            fontsize=9,
            family="monospace",
        )


def _name_ends(axes: Axes, curves: Mapping[str, np.ndarray]) -> None:
    """Writes each name beside the end of its curve."""
    named = [
        (name, _height(axes, curve), color(index))
        for index, (name, curve) in enumerate(curves.items())
        if name
    ]
    names, heights, colors = zip(*named, strict=True) if named else ((), (), ())
    drawing.name_ends(axes, names, heights, colors, gap=_GAP, fontsize=10)


def _height(axes: Axes, curve: np.ndarray) -> float:
    """Returns where a curve ends, as a fraction of the axes' height."""
    point: Any = axes.transData.transform((0, curve[-1]))
    share = axes.transAxes.inverted().transform(point)[1]
    return float(np.clip(share, 0, 1)) if np.isfinite(share) else 0.0
