"""metrics.jsonl: one JSON object a line, with a step and numbers by name."""

import json
import math
from pathlib import Path
from typing import Any

METRICS = "metrics.jsonl"
Row = dict[str, Any]
# The names under which training loops log a loss: the held-out ones first.
LOSSES = ("heldout_loss", "validation_loss", "eval_loss", "val_loss", "loss")


def parse_row(line: bytes | str) -> Row:
    """Reads one line; its step, if it has one, is an int.

    Raises ValueError if it is no JSON object, or its step is no step.
    """
    try:
        row = json.loads(line, parse_float=_finite)
        if not isinstance(row, dict):
            raise ValueError(f"it holds a {type(row).__name__}, not an object")
        if row.get("step") is not None:
            row["step"] = _step(row["step"])
    except (TypeError, OverflowError, RecursionError) as error:
        raise ValueError(str(error)) from None
    return row


def number_of(row: Row, name: str) -> float | None:
    """The number under a name, also one written as text, such as "NaN".

    None if there is none. Raises ValueError if something else is there.
    """
    value = row.get(name)
    try:
        return None if value is None else float(value)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"its {name} is {value!r:.40}") from None


def read_rows(owner: str, path: Path, *names: str) -> list[Row]:
    """Reads a whole file; under `names` each row has a float, or nothing.

    A half-written last line is skipped.

    Raises:
        ValueError: another line cannot be read.
    """
    rows = []
    *lines, last = path.read_bytes().split(b"\n")
    for number, line in enumerate([*lines, last], start=1):
        try:
            row = parse_row(line)
            numbers = {name: number_of(row, name) for name in names}
        except ValueError as error:
            if number > len(lines):  # it does not end: it is still being written
                continue
            raise ValueError(
                f"{owner}: {path}: line {number} cannot be read ({error}). Remove the "
                f"line to do without it."
            ) from None
        rows.append(row | {n: x for n, x in numbers.items() if x is not None})
    return rows


def column(rows: list[Row], name: str) -> dict[int, Any]:
    """What rows have under a name, by step in the order of steps; the last counts."""
    found = {
        row["step"]: row[name]
        for row in rows
        if row.get("step") is not None and row.get(name) is not None
    }
    return dict(sorted(found.items()))


def _step(value: Any) -> int:
    step = int(value)
    if step < 0 or step != float(value) or isinstance(value, bool):
        raise ValueError(f"its step is {value!r:.40}")
    return step


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text:.40} is too large")
    return number
