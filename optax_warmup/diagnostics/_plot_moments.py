"""A record as a matplotlib figure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from optax_warmup._drawing import figure as drawing
from optax_warmup._drawing.palette import INK
from optax_warmup.diagnostics._arguments import LossesLike, as_runs
from optax_warmup.diagnostics._charts import charts
from optax_warmup.diagnostics._heat_maps import heat_maps
from optax_warmup.diagnostics._history import MomentHistory

if TYPE_CHECKING:
    import matplotlib.axes
    import matplotlib.figure

_ACROSS = 2  # panels in a row


def plot_moments(
    runs: MomentHistory | Mapping[str, MomentHistory],
    *,
    losses: LossesLike | Mapping[str, LossesLike] | None = None,
) -> tuple[matplotlib.figure.Figure, dict[str, matplotlib.axes.Axes]]:
    """Plots how the moments of a run, or of several runs, warmed up.

    Charts have a curve for each run: loss, learning rate, effective sample size, update
    RMS beside its value in pure noise, normalized gradient RMS, update-to-weight ratio,
    sharpness if it was measured, alignment, and the factor and coherence of an
    automatic warmup. Below them are two heat maps for each run: the distribution of
    sqrt(nu_hat), and its RMS by group. Panels of what was not recorded are left out.
    The x axis is the step, on a scale that is logarithmic in step + 1.

    Args:
        runs: the history of a run, or a mapping of names to histories.
        losses: the training losses: for one history as in `advise`, for several a
            mapping of their names to such. Runs without losses may be left out.

    Returns:
        The matplotlib figure, and its axes by name: `loss`, `learning_rate`,
        `warmup_factor`, `coherence`, `effective_sample_size`, `update_rms`,
        `normalized_gradient_rms`, `update_to_weight`, `sharpness`, `alignment`,
        `noise_scale`, and `distribution` and `groups`, with the name of the run behind
        them if there are several, as in "groups short".

    Raises:
        ImportError: matplotlib is not installed.
        TypeError: a run is not a `MomentHistory`, or a loss is not a number.
        ValueError: there is no run, or `losses` names one that does not exist.

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
    pyplot = drawing.require_pyplot("plot_moments")
    shared = charts(named, known)
    maps = list(heat_maps(named))
    chart_rows = -(-len(shared) // _ACROSS)
    rows = chart_rows + -(-len(maps) // _ACROSS)
    figure, grid = pyplot.subplots(
        rows,
        _ACROSS,
        figsize=(10.5, 2.7 * rows),
        layout="constrained",
        squeeze=False,
    )
    places = list(grid.flat)
    axes = {}
    for place, chart in zip(places, shared, strict=False):
        axes[chart.key] = place
        drawing.draw_chart(place, chart)
    names = list(named)
    for place, heat in zip(places[chart_rows * _ACROSS :], maps, strict=False):
        key = f"{heat.key} {names[heat.run]}" if len(named) > 1 else heat.key
        axes[key] = place
        drawing.draw_heat_map(place, heat)
    for place in set(places) - set(axes.values()):
        place.remove()
    figure.supxlabel("step", fontsize=9, color=INK)
    return figure, axes
