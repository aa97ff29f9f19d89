"""Panels as SVG text: small, sharp at any size, coloured by the page's style sheet."""

import math
from collections.abc import Sequence
from html import escape

import numpy as np

from optax_warmup._drawing import ticks
from optax_warmup._drawing.labels import shorten, shorten_path, spread
from optax_warmup._drawing.numbers import count, number
from optax_warmup._drawing.panel import Chart, HeatMap, Line, Mark

_WIDTH, _HEIGHT = 400, 220
_TOP, _BOTTOM = 10, 32
_LETTER = 7.0  # the width of a letter of the labels, which are bold
_LABEL = 16  # characters of a label beside its curve, at most
_ROW_NAME = 24  # characters of a row's name in a heat map, at most
_COLUMNS = 72  # of a heat map: as many as a phone can show


class _Axis:
    """A linear or logarithmic map from values in [low, high] to pixels."""

    def __init__(
        self, low: float, high: float, first: float, last: float, log: bool
    ) -> None:
        self.low, self.high, self.log = low, high, log
        self.first, self.last = first, last

    def __call__(self, value: np.ndarray | float) -> np.ndarray:
        low, high, value = self.low, self.high, np.asarray(value, np.float64)
        if self.log:
            with np.errstate(divide="ignore", invalid="ignore"):
                value = np.log(np.where(value > 0, value, np.nan))
            low, high = math.log(low), math.log(high)
        share = (value - low) / (high - low)
        return self.first + np.clip(share, -0.02, 1.02) * (self.last - self.first)

    def ticks(self, most: int) -> list[float]:
        make = ticks.log if self.log else ticks.linear
        return make(self.low, self.high, most)


def chart(panel: Chart) -> str:
    """Returns a chart as an <svg> element."""
    labels = [shorten(line.label, _LABEL) for line in panel.lines]
    right = 16 + _LETTER * max(map(len, labels), default=0)
    x = _x_axis([line.x for line in panel.lines], 46, _WIDTH - right, panel.first)
    low, high = ticks.bounds([p.y for p in panel.lines], panel.log, panel.include)
    y = _Axis(low, high, _HEIGHT - _BOTTOM, _TOP, panel.log)
    parts = [_frame(x, y, _HEIGHT)]
    parts += [_band(line, x, y) for line in panel.lines if line.band]
    parts += [
        _line(line, x, y, "expected" if line.band else "") for line in panel.lines
    ]
    parts += [_mark(mark, text, x, y) for mark, text in panel.spoken_marks()]
    parts += _labels(panel.lines, labels, x, y)
    return _svg(panel.title, _HEIGHT, parts)


def heat_map(panel: HeatMap) -> str:
    """Returns a heat map as an <svg> element."""
    names = [shorten_path(name, _ROW_NAME) for name in panel.rows]
    if names:
        height = max(90, 14 * len(names) + _TOP + _BOTTOM)
        left = 8 + 5.8 * max(map(len, names))
        # The first row is at the top.
        y = _Axis(0, len(names), _TOP, height - _BOTTOM, log=False)
    else:
        height, left = _HEIGHT, 46
        shown = np.isfinite(panel.shade)
        low, high = ticks.bounds([panel.lower[shown], panel.upper[shown]], True)
        y = _Axis(low, high, height - _BOTTOM, _TOP, log=True)
    x = _x_axis([panel.x_edges], left, _WIDTH - 12)
    parts = [*_row_names(names, y, left), *_cells(panel, x, y)]
    parts.append(_frame(x, None if names else y, height))
    parts += [_line(line, x, y, "quantile") for line in panel.lines]
    return _svg(panel.title, height, parts)


def _x_axis(
    values: list[np.ndarray], left: float, right: float, first: float = 1.0
) -> _Axis:
    last = max((float(v.max()) for v in values if len(v)), default=10.0)
    return _Axis(first, max(last, 2 * first), left, right, log=True)


def _svg(title: str, height: float, parts: list[str]) -> str:
    return (
        f'<svg viewBox="0 0 {_WIDTH} {height:g}" role="img" '
        f'aria-label="{escape(title)}">{"".join(parts)}</svg>'
    )


def _text(x: float, y: float, text: str, anchor: str, kind: str) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" class="{kind}">'
        f"{escape(text)}</text>"
    )


def _frame(x: _Axis, y: _Axis | None, height: float) -> str:
    """Returns the grid and the numbers of both axes."""
    base = height - _BOTTOM
    parts: list[str] = []
    heights = {tick: float(y(tick)) for tick in y.ticks(5)} if y else {}
    for tick, at in heights.items():
        parts.append(f'<path d="M{x.first:.0f} {at:.1f}H{x.last:.0f}" class="grid"/>')
        parts.append(_text(x.first - 6, at + 4, number(tick, 4), "end", "tick"))
    for tick in x.ticks(6):
        at = float(x(tick))
        parts.append(f'<path d="M{at:.1f} {base:.0f}v4" class="axis"/>')
        parts.append(_text(at, base + 16, count(tick), "middle", "tick"))
    parts.append(f'<path d="M{x.first:.0f} {base:.0f}H{x.last:.0f}" class="axis"/>')
    parts.append(_text(x.last, height - 3, "updates", "end", "tick"))
    return "".join(parts)


def _color(run: int | None) -> str:
    return "reference" if run is None else f"run{run % 6}"


def _line(line: Line, x: _Axis, y: _Axis, kind: str = "") -> str:
    """Returns a curve, broken where it has no value."""
    px, py = x(line.x), y(line.y)
    fine = np.isfinite(px) & np.isfinite(py)
    if line.dots:
        points = zip(px[fine], py[fine], strict=True)
        spots = "".join(f"M{a:.1f} {b:.1f}h0" for a, b in points)
        return f'<path d="{spots}" class="dots {_color(line.run)}"/>' if spots else ""
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
    return f'<path d="{"".join(path)}" class="line {_color(line.run)} {kind}"/>'


def _band(line: Line, x: _Axis, y: _Axis) -> str:
    """Returns the area that a line is expected in."""
    assert line.band is not None
    low, high = (np.asarray(edge, np.float64) for edge in line.band)
    px, py = x(np.concatenate([line.x, line.x[::-1]])), y(np.r_[high, low[::-1]])
    fine = np.isfinite(px) & np.isfinite(py)
    points = " ".join(
        f"{a:.1f},{b:.1f}" for a, b in zip(px[fine], py[fine], strict=True)
    )
    return f'<polygon points="{points}" class="band {_color(line.run)}"/>'


def _mark(mark: Mark, text: str, x: _Axis, y: _Axis) -> str:
    a, b = float(x(mark.x)), float(y(mark.y))
    if not (math.isfinite(a) and math.isfinite(b)):
        return ""
    dot = f'<circle cx="{a:.1f}" cy="{b:.1f}" r="4" class="{_color(mark.run)}"/>'
    if not text:
        return dot
    # Above to the left, as most curves rise to the mark; to the right where there is no
    # room, clear of the curve after it.
    left = a - x.first > _LETTER * len(text) + 10
    anchor, across, down = ("end", -7, -6) if left else ("start", 14, 5)
    if mark.falls and not left:
        across, down = 8, -5
    kind = f"mark {_color(mark.run)}"
    return dot + _text(a + across, max(b + down, 10), text, anchor, kind)


def _labels(
    lines: Sequence[Line], labels: Sequence[str], x: _Axis, y: _Axis
) -> list[str]:
    """Returns the name of each curve at its end, moved apart where ends are close."""
    ends = []
    for line, label in zip(lines, labels, strict=True):
        heights = y(line.y)
        fine = np.flatnonzero(np.isfinite(heights))
        if label and len(fine):
            ends.append((float(heights[fine[-1]]), label, line.run))
    places = spread([end[0] for end in ends], 13, _TOP, _HEIGHT - _BOTTOM)
    return [
        _text(x.last + 5, at + 4, label, "start", f"mark {_color(run)}")
        for at, (_, label, run) in zip(places, ends, strict=True)
    ]


def _row_names(names: Sequence[str], y: _Axis, left: float) -> list[str]:
    return [
        _text(left - 5, float(y(index + 0.5)) + 4, name, "end", "tick")
        for index, name in enumerate(names)
    ]


def _cells(panel: HeatMap, x: _Axis, y: _Axis) -> list[str]:
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
