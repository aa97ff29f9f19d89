"""A chart as lines of text: curves over steps, in a frame with labels."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from optax_warmup._drawing import ticks as axis_ticks
from optax_warmup._drawing.canvas import Canvas, frame_of
from optax_warmup._drawing.numbers import count, number


class Scale(NamedTuple):
    """The vertical axis: its ends, and the values that are labelled."""

    low: float
    high: float
    ticks: list[float]
    log: bool

    @property
    def margin(self) -> int:
        """The columns in front of the frame."""
        return max(len(number(tick, 4)) for tick in self.ticks) + 1


def text_chart(
    curves: Sequence[tuple[np.ndarray, np.ndarray]],
    steps: int,
    scale: Scale,
    width: int,
    height: int,
    color: bool,
    braille: bool,
) -> list[str]:
    """Draws curves, each (steps, values), over the steps below `steps`.

    Returns `height` lines of at most `width` characters, and two for the step axis.
    """
    margin = scale.margin
    canvas = Canvas(max(width - margin - 1, 10), height, braille)
    for at, values in curves:
        canvas.draw(at / max(steps - 1, 1), _fraction(values, scale))
    labels = {
        canvas.row(y): number(tick, 4)
        for tick, y in zip(scale.ticks, _fraction(scale.ticks, scale), strict=True)
    }
    frame = frame_of(braille)
    lines = [
        f"{labels.get(row, ''):>{margin - 1}} {frame[row in labels]}{line}"
        for row, line in enumerate(canvas.lines(color))
    ]
    return lines + _step_axis(steps, canvas.columns, margin, frame)


def _fraction(values: np.ndarray | list[float], scale: Scale) -> np.ndarray:
    """Returns values as heights from 0 to 1, NaN if they are out of the picture."""
    low, high, _, log = scale
    values = np.asarray(values, float)
    values = np.where(np.isfinite(values), values, np.nan)
    if log:
        values = np.log10(np.where(values > 0, values, np.nan))
        low, high = np.log10(low), np.log10(high)
    heights = (values - low) / (high - low)
    # A tick at the very end may lie beyond it by a rounding error.
    return np.where(heights < -1e-9, np.nan, np.clip(heights, 0, 1))


def _step_axis(steps: int, columns: int, margin: int, frame: str) -> list[str]:
    """Returns the step axis: its line and its labels."""
    last = steps - 1
    marked = axis_ticks.linear(0, last, max(columns // 12, 2))
    ticks = [k for k in marked if k == int(k)]
    line, names = [frame[3]] * columns, [" "] * (columns + margin + 1)
    free = 0
    for tick in ticks:
        column = round(tick / max(last, 1) * (columns - 1))
        name = count(tick)
        start = min(margin + 1 + column - len(name) // 2, len(names) - len(name))
        if start >= free:
            line[column] = frame[4]
            names[start : start + len(name)] = name
            free = start + len(name) + 2
    return [" " * margin + frame[2] + "".join(line), "".join(names)]
