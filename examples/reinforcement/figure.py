"""The picture: returns, losses, and the final return by peak learning rate."""

from pathlib import Path

from ..drawing import COLORS, draw_finals, draw_losses, draw_metric, picture
from ..evaluation import Run
from .variants import WAYS, Way


def draw(
    runs: dict[tuple[float, Way], Run], peak: float, target: float, path: Path
) -> None:
    """Draws the curves at one peak, and the final return at every peak."""
    shown = [runs[peak, way] for way in WAYS]
    with picture(path, (12, 4.1)) as figure:
        returns, losses, rates = figure.subplots(1, 3)
        draw_metric(returns, shown, target)
        returns.set_title(f"Return of an episode, peak {peak:g}; dotted: {target:g}")
        returns.set(xlabel="updates", ylim=(0, 510))
        returns.legend(frameon=False, fontsize=8, loc="lower right")
        draw_losses(losses, shown, window=16)
        losses.set_title("Loss, median and range of the seeds")
        losses.set(xlabel="updates", yscale="symlog")
        colors = dict(zip(WAYS, COLORS, strict=False))
        draw_finals(rates, runs, {way: (way.name, colors[way]) for way in WAYS})
        rates.set_title("Final return by peak learning rate")
        rates.set(xlabel="peak learning rate", ylim=(0, 510))
