"""What a chart of several runs is made of, and how it is filled."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from optax_warmup._drawing.panel import Chart, Line, Mark
from optax_warmup.diagnostics._evidence import Evidence

Curve: TypeAlias = tuple[np.ndarray, np.ndarray]  # step, value


def _no_references(runs: Sequence[Evidence], last: float) -> list[Line]:
    return []


@dataclass(frozen=True)
class ChartSpec:
    """One chart: where its curves come from.

    Attributes:
        key, title, caption, include: as in `Chart`.
        curve: the curve of a run.
        references: the reference lines, given the runs and the largest x.
        dots: more values of a run, drawn as dots; None where there are none.
        pale: another curve of a run, behind the first.
        says: what tells apart the curve of a run, and its dots, when they are read out.
        note: a sentence about a run that its curve cannot show, or "".
        mark: what to write at the first record at the peak rate; None for no mark.
        log: whether the y axis is logarithmic, given the curves' values.
        always: whether the chart is there even with nothing to draw.
    """

    key: str
    title: str
    caption: str
    curve: Callable[[Evidence], Curve]
    references: Callable[[Sequence[Evidence], float], list[Line]] = _no_references
    dots: Callable[[Evidence], np.ndarray | None] = lambda e: None
    pale: Callable[[Evidence], Curve] | None = None
    says: tuple[str, str] = ("", "")
    note: Callable[[Evidence], str] = lambda e: ""
    mark: Callable[[Evidence, int], str] | None = None
    log: Callable[[Sequence[np.ndarray]], bool] = lambda values: True
    include: Callable[[bool], tuple[float, float] | None] = lambda log: None
    always: bool = False


def steps(e: Evidence) -> np.ndarray:
    """Returns the step of each recorded row: the x axis."""
    return e.history.steps.astype(np.float64)


def build(
    spec: ChartSpec, names: Sequence[str], runs: Sequence[Evidence]
) -> Chart | None:
    """Fills one chart; None where no run has anything to show in it."""
    curves = [
        Line(*spec.curve(e), run, name, says=spec.says[0])
        for run, (e, name) in enumerate(zip(runs, names, strict=True))
    ]
    pale = [
        Line(*spec.pale(e), run, pale=True, says=spec.says[1])
        for run, e in enumerate(runs)
        if spec.pale
    ]
    log = spec.log([line.y for line in [*pale, *curves]])
    shown = any(np.any(line.y > 0 if log else np.isfinite(line.y)) for line in curves)
    if not (shown or spec.always):
        return None
    last = max((line.x[-1] for line in curves if len(line.x)), default=1.0)
    return Chart(
        spec.key,
        spec.title,
        " ".join([spec.caption, *_notes(spec, names, runs)]),
        [*spec.references(runs, last), *_dots(spec, runs), *pale, *curves],
        _marks(spec, runs, curves),
        log=log,
        include=spec.include(log),
    )


def _dots(spec: ChartSpec, runs: Sequence[Evidence]) -> list[Line]:
    found = [(run, steps(e), spec.dots(e)) for run, e in enumerate(runs)]
    return [
        Line(x, y, run, dots=True, says=spec.says[1])
        for run, x, y in found
        if y is not None
    ]


def _notes(
    spec: ChartSpec, names: Sequence[str], runs: Sequence[Evidence]
) -> list[str]:
    notes = [(name, spec.note(e)) for name, e in zip(names, runs, strict=True)]
    return [f"{name}: {note}" if name else note for name, note in notes if note]


def _marks(
    spec: ChartSpec, runs: Sequence[Evidence], curves: Sequence[Line]
) -> list[Mark]:
    """Returns a dot on each curve where the rate first reaches its peak."""
    if spec.mark is None:
        return []
    marks = []
    for run, (e, line) in enumerate(zip(runs, curves, strict=True)):
        row = e.peak_row
        if row is not None and np.isfinite(line.y[row]):
            falls = bool((line.y[row + 1 : row + 2] <= line.y[row]).any())
            words = spec.mark(e, row)
            marks.append(Mark(line.x[row], line.y[row], run, words, falls))
    return marks
