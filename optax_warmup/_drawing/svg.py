"""Panels as SVG text: small, sharp at any size, coloured by the page's style sheet."""

import math
from collections.abc import Sequence
from html import escape

import numpy as np

from optax_warmup._drawing import ticks
from optax_warmup._drawing.labels import shorten_middle, shorten_path, spread
from optax_warmup._drawing.numbers import count, number
from optax_warmup._drawing.palette import LIGHT
from optax_warmup._drawing.panel import Chart, HeatMap, Line, Mark

_WIDTH, _HEIGHT = 400, 220
_TOP, _BOTTOM = 10, 32
_LETTER = 7.0  # the width of a letter of the labels, which are bold
_LABEL = 16  # characters of a label beside its curve, at most
_ROW_NAME = 24  # characters of a row's name in a heat map, at most
_COLUMNS = 72  # of a heat map: as many as a phone can show


class Axis:
    """A linear or logarithmic map from values in [low, high] to pixels."""

    shift = 0.0  # what is added to a value before its logarithm is taken

    def __init__(
        self, low: float, high: float, first: float, last: float, log: bool
    ) -> None:
        self.low, self.high, self.log = low, high, log
        self.first, self.last = first, last

    def __call__(self, value: np.ndarray | float) -> np.ndarray:
        low, high = self.low + self.shift, self.high + self.shift
        value = np.asarray(value, np.float64) + self.shift
        if self.log:
            with np.errstate(divide="ignore", invalid="ignore"):
                value = np.log(np.where(value > 0, value, np.nan))
            low, high = math.log(low), math.log(high)
        share = (value - low) / (high - low)
        return self.first + np.clip(share, -0.02, 1.02) * (self.last - self.first)

    def ticks(self, most: int) -> list[float]:
        make = ticks.log if self.log else ticks.linear
        return make(self.low, self.high, most)


class _Steps(Axis):
    """The axis of steps; a logarithmic one, in step + 1, shows step 0 too."""

    shift = 1.0

    def ticks(self, most: int) -> list[float]:
        return ticks.steps(self.low, self.high, most, self.log)


def axes(panel: Chart | HeatMap) -> tuple[Axis, Axis]:
    """Returns the x and the y axis of a panel."""
    if isinstance(panel, Chart):
        right = 16 + _LETTER * max(map(len, _names(panel)), default=0)
        edges = 46, _WIDTH - right
        x = _x_axis([p.x for p in panel.lines], *edges, panel.first, panel.log_steps)
        low, high = ticks.bounds([p.y for p in panel.lines], panel.log, panel.include)
        return x, Axis(low, high, _HEIGHT - _BOTTOM, _TOP, panel.log)
    names = _names(panel)
    left = 8 + 5.8 * max(map(len, names)) if names else 46
    x = _x_axis([panel.x_edges], left, _WIDTH - 12)
    if names:  # the first row is at the top
        height = max(90, 14 * len(names) + _TOP + _BOTTOM)
        return x, Axis(0, len(names), _TOP, height - _BOTTOM, log=False)
    shown = np.isfinite(panel.shade)
    low, high = ticks.bounds([panel.lower[shown], panel.upper[shown]], True)
    return x, Axis(low, high, _HEIGHT - _BOTTOM, _TOP, log=True)


def chart(panel: Chart) -> str:
    """Returns a chart as an <svg> element."""
    x, y = axes(panel)
    lines = list(enumerate(panel.lines))
    parts = [_frame(x, y, _HEIGHT)]
    parts += [_band(line, x, y, f' data-band="{i}"') for i, line in lines if line.band]
    parts += [_line(ln, x, y, _kind(ln), f' data-line="{i}"') for i, ln in lines]
    for index, (mark, text) in enumerate(panel.spoken_marks()):
        parts.append(_mark(index, mark, text, x, y))
    parts += _labels(panel.lines, _names(panel), x, y)
    return _svg(panel.title, _HEIGHT, parts)


def heat_map(panel: HeatMap) -> str:
    """Returns a heat map as an <svg> element."""
    names = _names(panel)
    x, y = axes(panel)
    parts = [*_row_names(names, y, x.first), *_cells(panel, x, y)]
    height = (y.last if names else y.first) + _BOTTOM
    parts.append(_frame(x, None if names else y, height))
    lines = enumerate(panel.lines)
    parts += [_line(ln, x, y, "quantile", f' data-line="{i}"') for i, ln in lines]
    return _svg(panel.title, height, parts)


def _names(panel: Chart | HeatMap) -> list[str]:
    """Returns the names beside curves or rows, cut to what fits."""
    if isinstance(panel, Chart):
        return [shorten_middle(line.label, _LABEL) for line in panel.lines]
    return [shorten_path(name, _ROW_NAME) for name in panel.rows]


def _x_axis(
    values: list[np.ndarray],
    left: float,
    right: float,
    first: float = 0.0,
    log: bool = True,
) -> Axis:
    last = max((float(v.max()) for v in values if len(v)), default=10.0)
    return _Steps(first, max(last, 2 * first, 1.0), left, right, log)


def _svg(title: str, height: float, parts: list[str]) -> str:
    return (
        f'<svg viewBox="0 0 {_WIDTH} {height:g}" role="img" '
        f'aria-label="{escape(title)}">{"".join(parts)}</svg>'
    )


def _text(x: float, y: float, text: str, anchor: str, kind: str, more: str = "") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" class="{kind}"{more}>'
        f"{escape(text)}</text>"
    )


def _frame(x: Axis, y: Axis | None, height: float) -> str:
    """Returns the grid and the numbers of both axes."""
    base = height - _BOTTOM
    parts = ['<g class="axes">']
    heights = {tick: float(y(tick)) for tick in y.ticks(5)} if y else {}
    for tick, at in heights.items():
        parts.append(f'<path d="M{x.first:.0f} {at:.1f}H{x.last:.0f}" class="grid"/>')
        parts.append(_text(x.first - 6, at + 4, number(tick, 4), "end", "tick"))
    for tick in x.ticks(6):
        at = float(x(tick))
        parts.append(f'<path d="M{at:.1f} {base:.0f}v4" class="axis"/>')
        parts.append(_text(at, base + 16, count(tick), "middle", "tick"))
    parts.append(f'<path d="M{x.first:.0f} {base:.0f}H{x.last:.0f}" class="axis"/>')
    parts.append(_text(x.last, height - 3, "step", "end", "tick"))
    return "".join([*parts, "</g>"])


def _kind(line: Line) -> str:
    return "expected" if line.band else "pale" if line.pale else ""


def _color(run: int | None) -> str:
    return "reference" if run is None else f"run{run % len(LIGHT)}"


def _of(run: int | None) -> str:
    """Tells a script which run an element belongs to; colours repeat."""
    return "" if run is None else f' data-run="{run}"'


def _line(line: Line, x: Axis, y: Axis, kind: str, index: str) -> str:
    """Returns a curve, broken where it has no value."""
    px, py = x(line.x), y(line.y)
    fine = np.isfinite(px) & np.isfinite(py)
    if line.dots:
        points = zip(px[fine], py[fine], strict=True)
        spots = "".join(f"M{a:.1f} {b:.1f}h0" for a, b in points)
        kind = f"dots {_color(line.run)}"
        more = f"{_of(line.run)}{index}"
        return f'<path d="{spots}" class="{kind}"{more}/>' if spots else ""
    pen, lone = "M", False
    path: list[str] = []
    for a, b, drawn in zip(px, py, fine, strict=True):
        if drawn:
            path.append(f"{pen}{a:.1f} {b:.1f}")
            lone = pen == "M"
        elif pen == "L" and lone:
            path.append("h0")  # a point between two gaps shows as a dot
        pen = "L" if drawn else "M"
    if not path:
        return ""
    if pen == "L" and lone:
        path.append("h0")
    kind = f"line {_color(line.run)} {kind}".rstrip()
    return f'<path d="{"".join(path)}" class="{kind}"{_of(line.run)}{index}/>'


def _band(line: Line, x: Axis, y: Axis, index: str) -> str:
    """Returns the area that a line is expected in."""
    assert line.band is not None
    low, high = (np.asarray(edge, np.float64) for edge in line.band)
    px, py = x(np.concatenate([line.x, line.x[::-1]])), y(np.r_[high, low[::-1]])
    fine = np.isfinite(px) & np.isfinite(py)
    points = " ".join(
        f"{a:.1f},{b:.1f}" for a, b in zip(px[fine], py[fine], strict=True)
    )
    kind = f"band {_color(line.run)}"
    return f'<polygon points="{points}" class="{kind}"{_of(line.run)}{index}/>'


def _mark(index: int, mark: Mark, text: str, x: Axis, y: Axis) -> str:
    a, b = float(x(mark.x)), float(y(mark.y))
    if not (math.isfinite(a) and math.isfinite(b)):
        return ""
    kind = _color(mark.run)
    of = f'{_of(mark.run)} data-mark="{index}"'
    dot = f'<circle cx="{a:.1f}" cy="{b:.1f}" r="4" class="{kind}"{of}/>'
    if not text:
        return dot
    # Above to the left, as most curves rise to the mark; to the right where there is no
    # room, clear of the curve after it.
    left = a - x.first > _LETTER * len(text) + 10
    anchor, across, down = ("end", -7, -6) if left else ("start", 14, 5)
    if mark.falls and not left:
        across, down = 8, -5
    at = a + across, max(b + down, 10)
    return dot + _text(*at, text, anchor, f"mark {kind}", of)


def _labels(
    lines: Sequence[Line], labels: Sequence[str], x: Axis, y: Axis
) -> list[str]:
    """Returns the name of each curve at its end, moved apart where ends are close."""
    ends = []
    for index, (line, label) in enumerate(zip(lines, labels, strict=True)):
        heights = y(line.y)
        fine = np.flatnonzero(np.isfinite(heights))
        if label and len(fine):
            of = f'{_of(line.run)} data-label="{index}"'
            ends.append((float(heights[fine[-1]]), label, _color(line.run), of))
    places = spread([end[0] for end in ends], 13, _TOP, _HEIGHT - _BOTTOM)
    return [
        _text(x.last + 5, at + 4, label, "start", f"mark {color}", of)
        for at, (_, label, color, of) in zip(places, ends, strict=True)
    ]


def _row_names(names: Sequence[str], y: Axis, left: float) -> list[str]:
    return [
        _text(left - 5, float(y(index + 0.5)) + 4, name, "end", "tick")
        for index, name in enumerate(names)
    ]


def _cells(panel: HeatMap, x: Axis, y: Axis) -> list[str]:
    """Returns a rectangle a cell; columns that are too thin to see are averaged."""
    places = np.round(x(panel.x_edges), 1)  # so that no gaps show between columns
    width = (x.last - x.first) / _COLUMNS
    starts = [0]
    for column in range(1, len(places) - 1):
        if places[column] - places[starts[-1]] >= width:
            starts.append(column)
    parts = []
    for index, column in enumerate(starts):
        end = starts[index + 1] if index + 1 < len(starts) else len(places) - 1
        block = panel.shade[column:end]
        seen = np.isfinite(block)
        count = np.maximum(seen.sum(axis=0), 1)
        shade = np.where(seen, block, 0).sum(axis=0) / count
        tops, bases = y(panel.upper[column]), y(panel.lower[column])
        for row in np.flatnonzero(seen.any(axis=0) & (shade > 0.02)):
            top, base = sorted((float(tops[row]), float(bases[row])))
            parts.append(
                f'<rect x="{places[column]:.1f}" y="{top:.1f}" '
                f'width="{places[end] - places[column]:.1f}" '
                f'height="{base - top:.1f}" fill-opacity="{shade[row]:.2f}"/>'
            )
    return [f'<g class="cells {_color(panel.run)}">', *parts, "</g>"]
