"""The curve of a range test as a matplotlib figure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from optax_warmup._drawing import figure as drawing
from optax_warmup._drawing.numbers import number
from optax_warmup._drawing.palette import INK, color
from optax_warmup.finder._curve import RateCurve
from optax_warmup.finder._suggest import require_curve, suggest

if TYPE_CHECKING:
    import matplotlib.axes
    import matplotlib.figure


def plot_curve(
    curve: RateCurve, *, axes: matplotlib.axes.Axes | None = None
) -> tuple[matplotlib.figure.Figure, matplotlib.axes.Axes]:
    """Plots the loss over the learning rate, with the suggestion of each rule.

    Args:
        curve: from `find_rate` or `load_curve`.
        axes: matplotlib axes to draw into; by default a new figure is made.

    Returns:
        The matplotlib figure and axes.

    Raises:
        ImportError: matplotlib is not installed.
        TypeError: `curve` is not a `RateCurve`, or `axes` are not matplotlib axes.

    Example:
        >>> import matplotlib, numpy as np, optax_warmup as ow
        >>> matplotlib.use("agg")
        >>> rates = np.geomspace(1e-4, 10, 100)
        >>> curve = ow.finder.RateCurve(rates, 3 - np.tanh(rates) + rates**2 / 9)
        >>> figure, axes = ow.finder.plot_curve(curve)
        >>> axes.get_xscale()
        'log'
    """
    require_curve("plot_curve", curve)
    suggestions = suggest(curve)
    if axes is not None and not hasattr(axes, "plot"):
        raise TypeError(f"plot_curve: axes must be matplotlib axes, got {axes!r}.")
    drawn: Any = axes
    if drawn is None:
        pyplot = drawing.require_pyplot("plot_curve")
        drawn = pyplot.subplots(figsize=(7, 3.8), layout="constrained")[1]
    for losses in curve.losses:
        drawn.plot(curve.rates, losses, color=INK, alpha=0.2, linewidth=0.8)
    smooth = curve.smoothed
    drawn.plot(curve.rates, smooth, color=INK, linewidth=1.8)
    drawn.set_xscale("log")
    finite = smooth[np.isfinite(smooth)]
    if len(finite):
        margin = 0.08 * (finite.max() - finite.min()) + 1e-9
        drawn.set_ylim(finite.min() - margin, finite.max() + margin)
    for index, (rule, (rate, caveat)) in enumerate(suggestions._asdict().items()):
        ink = color(index)
        known = np.isfinite(rate)
        if known:
            height = np.interp(np.log(rate), np.log(curve.rates), smooth)
            drawn.axvline(rate, color=ink, linewidth=1, alpha=0.6)
            drawn.scatter([rate], [height], color=ink, s=26, zorder=3)
        text = f"{rule} {number(rate, 3)}" if known else f"{rule}: {caveat}"
        drawn.annotate(
            text,
            (0, 1),
            xycoords="axes fraction",
            xytext=(0, 8 + 13 * (3 - index)),
            textcoords="offset points",
            color=ink,
            fontsize=9,
        )
    drawn.set_xlabel("learning rate", color=INK)
    drawn.set_ylabel("loss", color=INK)
    drawing.style_axes(drawn)
    drawing.grid_lines(drawn)
    return drawn.figure, drawn
