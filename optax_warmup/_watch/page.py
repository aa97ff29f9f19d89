"""The page about a run that is watched: lines that fit a terminal of any size."""

import textwrap
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from optax_warmup._drawing import ticks as axis_ticks
from optax_warmup._drawing.text_chart import Scale, text_chart
from optax_warmup._watch import text
from optax_warmup._watch.run import SAMPLES, WatchedRun
from optax_warmup.diagnostics._advise import counted
from optax_warmup.diagnostics._metrics_file import LOSSES

_STYLES = {"problem": "bold red", "warning": "yellow", "note": "cyan"}
_CHART_LINES = 3  # of each chart: its title, the axis and the labels
_LOWEST, _HIGHEST = 3, 14  # lines of a curve
_NARROWEST = 35  # columns of a chart beside another one
_GAP = 2


class Span(NamedTuple):
    """Some text in one style, as rich names styles."""

    text: str
    style: str = ""


Line = list[Span]


class Chart(NamedTuple):
    """A curve with its title."""

    title: str
    steps: np.ndarray
    values: np.ndarray
    style: str


def page(
    run: WatchedRun, width: int, height: int | None = None, braille: bool = True
) -> list[Line]:
    """Returns what is known of a run, in at most `height` lines of `width` characters.

    Without a height it is as long as it has to be.
    """
    top = [*_wrapped(_status(run), width), *_numbers(run, width)]
    notes = [*_problems(run, width), *_advice(run, width)]
    charts = _charts(run)
    if height is None:
        height = len(top) + len(notes) + 2 * _needed(max(len(charts), 1))
    free = height - len(top)
    beside = max(1, min(len(charts), (width + _GAP) // (_NARROWEST + _GAP)))
    stacks = -(-len(charts) // beside)
    least = min(len(notes), max(free // 3, 1))
    while stacks and free - least < _needed(stacks):
        stacks -= 1
    notes = _cut(notes, max(free - 2 * _needed(stacks), least), run, width)
    free -= len(notes)
    drawn: list[Line] = []
    for index in range(stacks):
        lines = min(free // stacks - _CHART_LINES, _HIGHEST)
        group = charts[index * beside : (index + 1) * beside]
        drawn += _side_by_side(group, run, width, lines, braille)
    return [*top, *drawn, *notes][:height]


def _needed(stacks: int) -> int:
    """The lines that charts need; several on top of each other may not be too low."""
    return stacks * (_CHART_LINES + _LOWEST + 2 * (stacks > 1))


def _status(run: WatchedRun) -> Line:
    where = run.place
    head = Span(f"{run.name}  ", "bold")
    if not where.begun:
        return [head, Span(f"waiting for a run in {where.folder}", "yellow")]
    parts = [text.progress(run.step, run.total)]
    if where.ended:
        return [head, Span(f"{parts[0]}  "), Span("the run has ended", "green")]
    if run.seconds_left is not None:
        parts.append(f"about {text.duration(run.seconds_left)} left")
    if run.age is not None and run.step is not None:
        parts.append(f"last row {text.duration(run.age)} ago")
    return [head, Span("  ".join(parts))]


def _numbers(run: WatchedRun, width: int) -> list[Line]:
    """The last value of each name, as many on a line as fit."""
    cells: Line = []
    newest = {name: x.values[-1] for name, x in run.columns.items() if x.values}
    if run.history is not None and len(run.history.steps):
        newest.setdefault("learning_rate", run.rate[1][-1])
        newest[SAMPLES] = run.samples[1][-1]
    for name in text.in_order(newest):
        shown = text.named(name, newest[name])
        if name == SAMPLES and run.history is not None:
            most = (1 + run.history.b2) / (1 - run.history.b2)
            shown += f" of {most:,.0f}"
        wrong = "loss" in name and not np.isfinite(newest[name])
        cells.append(Span(shown[:width], "bold red" if wrong else ""))
    lines: list[Line] = []
    used = width
    for cell in cells:
        if used + 3 + len(cell.text) > width:
            lines.append([cell])
            used = len(cell.text)
        else:
            lines[-1] += [Span("   "), cell]
            used += 3 + len(cell.text)
    return lines


def _charts(run: WatchedRun) -> list[Chart]:
    found = [
        Chart("loss", *run.curve("loss", *LOSSES), "blue"),
        Chart("rate", *run.rate, "green"),
        Chart("effective samples", *run.samples, "magenta"),
    ]
    return [x for x in found if np.isfinite(x.values).sum() > 1]


def _side_by_side(
    charts: Sequence[Chart], run: WatchedRun, width: int, height: int, braille: bool
) -> list[Line]:
    each = (width - _GAP * (len(charts) - 1)) // len(charts)
    columns = [_drawn(chart, run, each, height, braille) for chart in charts]
    lines = []
    for row in zip(*columns, strict=True):
        line: Line = []
        for chart, cell in zip(charts, row, strict=True):
            line.append(Span(cell.ljust(each + _GAP), chart.style))
        line[-1] = Span(line[-1].text.rstrip(), line[-1].style)
        lines.append(line)
    return lines


def _drawn(
    chart: Chart, run: WatchedRun, width: int, height: int, braille: bool
) -> list[str]:
    """A title, and the curve in its frame."""
    steps, values = chart.steps, chart.values
    finite = values[np.isfinite(values)]
    low, high = float(finite.min()), float(finite.max())
    log = chart.title == "loss" and low > 0 and high > 30 * low
    if chart.title != "loss":
        low = min(low, 0.0)
    if not high > low:
        room = abs(low) / 2 or 0.5
        low, high = low - room, high + room
    most = max(height // 2, 2)
    marks = (axis_ticks.log if log else axis_ticks.linear)(low, high, most)
    end = max(run.total or 0, int(steps.max()) + 1, 2)
    order = np.argsort(steps, kind="stable")
    drawn = text_chart(
        [(steps[order], values[order])],
        end,
        Scale(low, high, marks or [high], log),
        width,
        height,
        False,
        braille,
    )
    title = chart.title + (" (logarithmic)" if log else "")
    return [title[:width], *(line[:width] for line in drawn)]


def _problems(run: WatchedRun, width: int) -> list[Line]:
    """The newest problem on one line, which must leave room for advice."""
    if not run.problems:
        return []
    more = f" (and {len(run.problems) - 1:,} before)" if run.problems[1:] else ""
    newest = " ".join(run.problems[-1].split())
    return [[Span(newest[: max(width - len(more), 0)] + more[:width], "red")]]


def _advice(run: WatchedRun, width: int) -> list[Line]:
    if run.history is None or not len(run.history.steps):
        return []
    after = f"step {run.history.steps[-1]:,}"
    if not run.advice:
        return _wrapped([Span(f"Advice after {after}: no issues found.")], width)
    lines = _wrapped([Span(f"Advice after {after}:")], width)
    for advice in run.advice:
        lines += _wrapped([Span(str(advice), _STYLES[advice.severity])], width, "  ")
    return lines


def _cut(lines: list[Line], most: int, run: WatchedRun, width: int) -> list[Line]:
    if len(lines) <= most:
        return lines
    counts = ", ".join(counted(run.advice)) or "..."
    more = f"{counts}: optax-warmup report {run.place.folder}"
    return [*lines[: max(most - 1, 0)], *[[Span(more[:width])]][: max(most, 0)]]


def _wrapped(line: Line, width: int, indent: str = "") -> list[Line]:
    """A line of several spans on one line, or else each of them wrapped."""
    if len(indent) + sum(len(span.text) for span in line) <= width:
        return [[Span(indent), *line] if indent else line]
    return [
        [Span(part, span.style)]
        for span in line
        for part in textwrap.wrap(
            span.text,
            max(width, len(indent) + 4),
            initial_indent=indent,
            subsequent_indent=indent and indent + "  ",
            break_on_hyphens=False,
        )
    ]
