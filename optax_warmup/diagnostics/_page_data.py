"""What the script of a page reads: the numbers behind its pictures, as JSON."""

import json
import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from optax_warmup._drawing.panel import Chart, HeatMap, Line
from optax_warmup._drawing.svg import axes

_DIGITS = 5  # significant ones of a value


def page_data(names: Sequence[str], panels: Iterable[Chart | HeatMap]) -> str:
    """Returns the JSON text for a <script> element, in which nothing ends it."""
    data = {"runs": list(names), "panels": [_panel(panel) for panel in panels]}
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c")


def _panel(panel: Chart | HeatMap) -> dict[str, Any]:
    x, y = axes(panel)
    found: dict[str, Any] = {
        "title": panel.title,
        "steps": [x.low, x.high],
        "box": [x.first, x.last, y.first, y.last],
        "values": [_number(y.low), _number(y.high)],
        "log": y.log,
        "lines": [_line(line) for line in panel.lines],
        "marks": [],
    }
    if isinstance(panel, Chart):
        found["include"] = panel.include and [float(edge) for edge in panel.include]
        found["marks"] = [
            {"x": mark.x, "y": _number(mark.y), "run": mark.run, "falls": mark.falls}
            for mark in panel.marks
        ]
    elif panel.steps is not None and panel.values is not None:
        found |= {
            "run": panel.run,
            "rows": list(panel.rows),
            "x": [int(step) for step in panel.steps],
            "cells": [_numbers(row, 3) for row in panel.values.T],
        }
    return found


def _line(line: Line) -> dict[str, Any]:
    found: dict[str, Any] = {
        "run": line.run,
        "label": line.label,
        "says": line.says,
        "x": [int(x) if x == int(x) else float(x) for x in line.x],
        "y": _numbers(line.y),
    }
    if line.band is not None:
        found["band"] = [_numbers(np.asarray(edge, np.float64)) for edge in line.band]
    return found


def _numbers(values: np.ndarray, digits: int = _DIGITS) -> list[float | str]:
    return [_number(float(value), digits) for value in values]


def _number(value: float, digits: int = _DIGITS) -> float | str:
    """Rounds a number; JSON has no name for those that are not finite."""
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else "inf" if value > 0 else "-inf"
    return float(f"{value:.{digits}g}")
