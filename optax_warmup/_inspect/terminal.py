"""Schedules drawn as text with braille characters, each a grid of 2 x 4 dots."""

from collections.abc import Mapping, Sequence

import numpy as np

from optax_warmup._drawing import ticks as axis_ticks
from optax_warmup._drawing.numbers import count, number
from optax_warmup._inspect.simulate import LOG_RANGE, at_steps, sample_steps
from optax_warmup._schedules.schedule import ScheduleLike

_DOTS = np.array([[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]])
_COLORS = (34, 31, 32, 35, 36, 33)  # ANSI: blue, red, green, magenta, cyan, yellow
_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_SAMPLES = 64  # steps evaluated for each column of dots, at most
_CLEAR = 12  # dots between a letter and the next curve that suffice
_BRAILLE_FRAME, _PLAIN_FRAME = "│┤└─┴", "||+-+"


def draw(
    schedules: Mapping[str, ScheduleLike],
    steps: int,
    *,
    width: int = 80,
    height: int = 16,
    log: bool = False,
    color: bool = False,
    braille: bool = True,
) -> str:
    """Draws schedules in lines of at most `width` characters.

    Several schedules get a letter each, and a legend below.
    """
    seen = sample_steps(steps, 2 * width * _SAMPLES)
    curves = [at_steps("plot", s, seen).astype(np.float64) for s in schedules.values()]
    low, high, ticks = _scale(curves, height, log)
    margin = max(len(number(tick, 4)) for tick in ticks) + 1
    canvas = _Canvas(max(width - margin - 1, 10), height, braille)
    for curve in curves:
        canvas.draw(_fraction(curve, low, high, log))
    labels = {
        canvas.row(y): number(tick, 4)
        for tick, y in zip(ticks, _fraction(ticks, low, high, log), strict=True)
    }
    frame = _BRAILLE_FRAME if braille else _PLAIN_FRAME
    lines = [
        f"{labels.get(row, ''):>{margin - 1}} {frame[row in labels]}{line}"
        for row, line in enumerate(canvas.lines(color))
    ]
    lines += _step_axis(steps, canvas.columns, margin, frame)
    if len(curves) > 1:
        lines.append("")
        for index, name in enumerate(schedules):
            line = f"{' ' * margin}{_letter(index)}  {name}"[:width]
            lines.append(_tinted(line, index, color))
    return "\n".join(line.rstrip() for line in lines)


class _Canvas:
    """A grid of characters: the dots in each, and the curve that drew them last."""

    def __init__(self, columns: int, height: int, braille: bool) -> None:
        self.columns, self.height, self.braille = columns, height, braille
        self.dots = np.zeros((height, columns), int)
        self.owner = np.zeros((height, columns), int)
        self.paths: list[np.ndarray] = []  # the row of dots at each column of dots

    def draw(self, curve: np.ndarray) -> None:
        """Draws a curve of heights from 0 to 1 over the whole width."""
        lows, highs = self._ranges(curve)
        index = len(self.paths)
        self.paths.append((lows + highs) / 2)
        for x, (low, high) in enumerate(zip(lows, highs, strict=True)):
            if np.isnan(low):
                continue
            for y in range(int(low), int(high) + 1):
                row, column = self.height - 1 - y // 4, x // 2
                self.dots[row, column] |= _DOTS[3 - y % 4, x % 2]
                self.owner[row, column] = index

    def _ranges(self, curve: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns the lowest and highest dot of each column, NaN if it has none."""
        width, top = 2 * self.columns, 4 * self.height - 1
        places = np.linspace(0, width - 1, len(curve))
        if len(curve) < width:
            curve = np.interp(np.arange(width), places, curve)
            places = np.arange(float(width))
        dots, at = np.round(curve * top), np.round(places).astype(int)
        lows, highs = np.full(width, np.inf), np.full(width, -np.inf)
        known = ~np.isnan(dots)
        np.minimum.at(lows, at[known], dots[known])
        np.maximum.at(highs, at[known], dots[known])
        lows[np.isinf(lows)] = highs[np.isinf(highs)] = np.nan
        for x in range(1, width):  # joins each column to the one before
            if lows[x] > highs[x - 1] + 1:
                lows[x] = highs[x - 1] + 1
            elif highs[x] < lows[x - 1] - 1:
                highs[x] = lows[x - 1] - 1
        return lows, highs

    def row(self, fraction: float) -> int:
        """Returns the row of characters at a height from 0 to 1."""
        return self.height - 1 - int(np.round(fraction * (4 * self.height - 1))) // 4

    def lines(self, color: bool) -> list[str]:
        letters = self._letters() if len(self.paths) > 1 else {}
        lines = []
        for row in range(self.height):
            line = ""
            for column in range(self.columns):
                dots = int(self.dots[row, column])
                owner = int(self.owner[row, column])
                if (row, column) in letters:
                    owner = letters[row, column]
                    line += _tinted(_letter(owner), owner, color)
                elif dots:
                    sign = chr(0x2800 + dots) if self.braille else "*"
                    line += _tinted(sign, owner, color and len(self.paths) > 1)
                else:
                    line += " "
            lines.append(line)
        return lines

    def _letters(self) -> dict[tuple[int, int], int]:
        """Places a letter on each curve: clear of the others, near the middle."""
        places: dict[tuple[int, int], int] = {}
        for index, path in enumerate(self.paths):
            others = [other for i, other in enumerate(self.paths) if i != index]
            gap = np.min(np.abs(np.stack(others) - path), axis=0)
            gap = np.where(np.isnan(gap), _CLEAR, np.minimum(gap, _CLEAR))
            score = gap - _CLEAR / 2 * np.abs(np.linspace(-1, 1, len(gap)))
            for _, column in places:
                score[max(2 * column - 6, 0) : 2 * column + 7] -= _CLEAR
            score[np.isnan(path)] = -np.inf
            x = int(np.argmax(score))
            if np.isfinite(path[x]):
                places[self.height - 1 - int(path[x]) // 4, x // 2] = index
        return places


def _scale(
    curves: Sequence[np.ndarray], height: int, log: bool
) -> tuple[float, float, list[float]]:
    """Returns the range of the values, and the values that are labelled."""
    values = np.concatenate(curves)
    values = values[np.isfinite(values)]
    if log:
        values = values[values > 0]
    if values.size == 0:
        return (1.0, 10.0, [1.0, 10.0]) if log else (0.0, 1.0, [0.0, 1.0])
    high, most = float(values.max()), max(height // 3, 2)
    if log:
        low = max(float(values.min()), high * LOG_RANGE)
        ticks = axis_ticks.log(min(low, high / 10), high, most)
        return min(low, high / 10), high, ticks or [high]
    low = min(float(values.min()), 0.0)
    if low == high:
        high = low + 1.0
    return low, high, axis_ticks.linear(low, high, most)


def _fraction(
    values: np.ndarray | list[float], low: float, high: float, log: bool
) -> np.ndarray:
    """Returns values as heights from 0 to 1, NaN if they are out of the picture."""
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


def _letter(index: int) -> str:
    return _LETTERS[index % len(_LETTERS)]


def _tinted(text: str, index: int, color: bool) -> str:
    return f"\x1b[{_COLORS[index % len(_COLORS)]}m{text}\x1b[0m" if color else text
