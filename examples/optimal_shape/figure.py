"""The best schedule of each task, and the families at their best peaks."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ..drawing import COLORS, picture
from .problem import Task
from .search import Found, Size

SHOWN = ("linear", "cosine", "WSD, 20 %")


def draw(path: Path, found: Mapping[Task, Found], size: Size) -> None:
    """Draws a panel for each task; the rates are shares of the largest one."""
    step = np.arange(size.steps)
    rows = -(-len(found) // 2)
    with picture(path, (9, 2.6 * rows)) as figure:
        grid = np.atleast_1d(figure.subplots(rows, 2, sharex=True)).ravel()
        for axes, (task, result) in zip(grid, found.items(), strict=False):
            for name, color in zip(SHOWN, COLORS[1:], strict=False):
                schedule, risk = result.families[name]
                label = f"{name}: {risk / result.risk - 1:+.1%}"
                rates = np.asarray(schedule(step)) / size.largest
                axes.plot(step, rates, color=color, lw=1.2, ls="--", label=label)
            rates = np.asarray(result.schedule(step)) / size.largest
            axes.plot(step, rates, color=COLORS[0], lw=2.2, label="optimised")
            axes.set_title(str(task))
            axes.set_ylim(0)
            axes.legend(frameon=False, fontsize=7)
        for axes in grid[len(found) :]:
            axes.remove()
        for axes in grid[-2:]:
            axes.set_xlabel("update")
        for axes in grid[::2]:
            axes.set_ylabel("rate / largest rate")
