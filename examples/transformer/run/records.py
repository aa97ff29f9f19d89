"""JSON files of a run, and the rows of metrics.jsonl: strictly written, and checked.

JSON lacks NaN and the infinities; they are written as the texts that protobuf uses.
"""

import json
import math
from pathlib import Path
from typing import Any, NoReturn

TO_TEXT = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}
FROM_TEXT = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
DIGITS = 18  # of a whole number; they fit into 64 bits


def to_text(row: dict[str, Any], indent: int | None = None) -> bytes:
    """JSON on one line, or indented; ends in a newline."""
    strict = {
        name: TO_TEXT.get(str(value), value) if isinstance(value, float) else value
        for name, value in row.items()
    }
    return (json.dumps(strict, indent=indent, allow_nan=False) + "\n").encode()


def parse(text: str | bytes) -> dict[str, Any]:
    """Reads what `to_text` wrote; the message of its `ValueError` says what it is not.

    Numbers beyond 64 bits and bare NaNs are no such text, nor is any nesting that
    Python cannot read.
    """
    try:
        found = json.loads(
            text,
            parse_float=_float,
            parse_int=_int,
            parse_constant=_constant,
            object_pairs_hook=_object,
        )
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if not isinstance(found, dict):
        raise ValueError(f"it holds no JSON object, but a {type(found).__name__}")
    return {
        name: FROM_TEXT.get(value, value) if isinstance(value, str) else value
        for name, value in found.items()
    }


def parse_row(line: bytes) -> dict[str, float]:
    """Reads one row of metrics: a step, and numbers by name."""
    if not line.strip():
        raise ValueError("it is blank")
    if not line.endswith(b"\n"):
        raise ValueError("it is cut off")
    row = parse(line)
    step = row.get("step")
    if type(step) is not int or step < 0:
        raise ValueError(f"its step is {step!r:.40}")
    for name, value in row.items():
        if type(value) not in (int, float):
            raise ValueError(f"its {name!r:.40} is no number")
    return row


def read_rows(path: Path) -> tuple[list[tuple[bytes, dict[str, float]]], list[str]]:
    """The lines of a file with their rows, and what is wrong with the other lines."""
    rows, problems = [], []
    # Not splitlines, which takes more for the end of a line.
    lines = path.read_bytes().split(b"\n") if path.is_file() else [b""]
    whole = [line + b"\n" for line in lines[:-1]]
    for number, line in enumerate(whole + [x for x in lines[-1:] if x], start=1):
        try:
            rows.append((line, parse_row(line)))
        except ValueError as error:
            problems.append(f"line {number} cannot be read: {error}")
    return rows, problems


def _float(text: str) -> float:
    if not math.isfinite(number := float(text)):
        raise ValueError(f"{text:.40} is too large")
    return number


def _int(text: str) -> int:
    if len(text.lstrip("-")) > DIGITS:
        raise ValueError(f"a whole number of {len(text)} digits is too large")
    return int(text)


def _constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not JSON")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{twice!r:.40} is there twice")
    return found
