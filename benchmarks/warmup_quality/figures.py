"""Two pictures: loss against peak rate, and the applied rate against the step."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:  # matplotlib takes a second to import
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

from .protocol import mean_and_error
from .results import WITHIN, Results

STYLES: dict[str, dict[str, Any]] = {
    "automatic": {"color": "#c0392b", "linewidth": 2.4, "marker": "o", "zorder": 5},
    "linear": {"color": "black", "linewidth": 2, "marker": "s", "zorder": 4},
    WITHIN: {"color": "black", "linestyle": "--", "zorder": 3},
    "none": {"color": "#7f8c8d"},
    "untuned_linear": {"color": "#2980b9"},
    "untuned_exponential": {"color": "#5dade2"},
    "radam": {"color": "#8e44ad"},
    "gi_adam": {"color": "#27ae60"},
    "stable_adamw": {"color": "#d4ac0d"},
    "told_half": {"color": "#c0392b", "linestyle": ":"},
    "told_twice": {"color": "#c0392b", "linestyle": "--"},
    "replay": {"color": "#e67e22", "linestyle": ":"},
    "shuffled": {"color": "#e67e22", "linestyle": "-."},
}
LABELS = {"linear": "linear, tuned at each rate", WITHIN: "the same, within the run"}


def grid(
    count: int, width: float = 5.2, height: float = 4.0
) -> "tuple[Figure, list[Axes]]":
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    columns = 2 if count == 4 else min(count, 4 if count > 6 else 3)
    rows = -(-count // columns)
    figure, axes = pyplot.subplots(
        rows,
        columns,
        figsize=(width * columns, height * rows + 0.7),
        squeeze=False,
        layout="constrained",
    )
    for axis in axes.flat[count:]:
        axis.set_visible(False)
    return figure, list(axes.flat[:count])


def save(figure: "Figure", path: Path) -> None:
    from matplotlib import pyplot

    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def loss_figure(found: Sequence[Results], path: Path) -> None:
    """Draws held-out loss after training against the peak rate, a line for each arm."""
    figure, axes = grid(len(found))
    shown: dict[str, Any] = {}
    for axis, results in zip(axes, found, strict=True):
        for arm in results.arms():
            scores = results.scores(arm, results.paired(arm))
            mean, error = mean_and_error(scores)
            bars = axis.errorbar(
                results.peaks,
                mean,
                np.nan_to_num(error),
                capsize=2,
                label=LABELS.get(arm, arm),
                **STYLES[arm],
            )
            shown.setdefault(LABELS.get(arm, arm), bars)
        shown_whole = [arm for arm in ("linear", "automatic") if arm in results.arms()]
        means = [results.scores(a, results.paired(a)).mean(axis=1) for a in shown_whole]
        low, high = np.min(means), np.max(means)
        # Cuts off what diverged, since the differences that matter are small.
        top = low + 1.3 * max(high - low, 0.4)
        axis.set_ylim(low - 0.05 * (top - low), top)
        axis.set(xscale="log", xlabel="peak learning rate", title=results.task.name)
        axis.grid(alpha=0.25)
    axes[0].set_ylabel("held-out loss, nats")
    figure.legend(
        shown.values(), shown.keys(), loc="outside lower center", ncols=4, frameon=False
    )
    save(figure, path)


def rate_figure(found: Sequence[Results], path: Path) -> None:
    """Draws factor x schedule against the step at each peak, for a scored seed."""
    from matplotlib import colormaps
    from matplotlib.lines import Line2D

    figure, axes = grid(len(found))
    for axis, results in zip(axes, found, strict=True):
        colors = colormaps["viridis"](np.linspace(0, 0.9, len(results.peaks)))
        for color, peak in zip(colors, results.peaks, strict=True):
            for arm, style in (("linear", "--"), ("automatic", "-")):
                for run in results.of_peak(arm, peak)[:1]:
                    axis.plot(
                        results.kept(run),
                        np.maximum(results.rates(run), 1e-12),
                        style,
                        color=color,
                        linewidth=1.0 if arm == "linear" else 2.0,
                        label=f"{peak:g}" if arm == "automatic" else None,
                    )
        axis.set_ylim(min(results.peaks) / 100, max(results.peaks) * 1.5)
        axis.set(yscale="log", xlabel="update", title=results.task.name)
        axis.grid(alpha=0.25)
        axis.legend(title="peak", fontsize=7, title_fontsize=7, ncols=2)
    axes[0].set_ylabel("learning rate: factor times schedule")
    lines = [
        Line2D([], [], color="gray", linewidth=2, label="automatic"),
        Line2D([], [], color="gray", ls="--", label="linear, tuned at each rate"),
    ]
    figure.legend(handles=lines, loc="outside lower center", ncols=2, frameon=False)
    save(figure, path)
