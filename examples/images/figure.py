"""The picture: losses, validation accuracy, and accuracy by peak learning rate."""

from collections.abc import Sequence
from pathlib import Path

from ..drawing import COLORS, draw_finals, draw_losses, draw_metric, picture
from ..evaluation import Run


def draw(
    runs: Sequence[Run],
    large: dict[tuple[float, bool], Run],
    target: float,
    path: Path,
) -> None:
    with picture(path, (12, 4.4)) as figure:
        losses, accuracy, rates = figure.subplots(1, 3)
        draw_losses(losses, runs, window=5)
        losses.set_title("Training loss, median and range of the seeds")
        losses.set(xlabel="updates", xscale="log", ylim=(0, 2.7))
        draw_metric(accuracy, runs, target)
        accuracy.set_title(f"Validation accuracy, mean; dotted: {target:g}")
        accuracy.set(xlabel="updates", xscale="log", ylim=(0, 1))
        for ax in (losses, accuracy):
            ax.xaxis.set_major_formatter("{x:g}")
        ways = {False: ("no warmup", COLORS[2]), True: ("gradual warmup", COLORS[3])}
        draw_finals(rates, large, ways)
        rates.set_title("Large batch: final accuracy by peak rate")
        rates.set(xlabel="peak rate, relative to the small batch's", ylim=(0, 1))
        factors = sorted({factor for factor, _ in large})
        rates.set_xticks(factors, [f"{factor:g}" for factor in factors])
        rates.minorticks_off()
        rates.legend(frameon=False, loc="lower right")
        handles, names = losses.get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower left", ncols=4, frameon=False)
