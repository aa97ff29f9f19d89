"""Finished runs: one JSON line for a method on a task, in a file that only grows.

A line is identified by task, method, lengths, seeds and a fingerprint of the task's
constants and of the method's code. So nothing runs twice, and nothing stale is read.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from .train import Outcome

RESULTS = Path(__file__).parent.parent / "results" / "warmup_quality"
Key = tuple[str, str, tuple[float, ...], tuple[int, ...], str]


class Store:
    def __init__(self, path: Path = RESULTS / "runs.jsonl"):
        self.path = path
        self.kept: dict[Key, Outcome] = dict(self._read())

    def _read(self) -> Iterator[tuple[Key, Outcome]]:
        """Reads whole lines only: a killed process may have left half a line."""
        lines = self.path.read_text("utf-8").splitlines() if self.path.exists() else []
        for line in lines:
            try:
                fields = json.loads(line)
                yield key_of(fields), outcome_of(fields)
            except (ValueError, KeyError, TypeError):
                continue

    def add(self, key: Key, outcome: Outcome) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        whole = not self.path.exists() or self.path.read_bytes()[-1:] in (b"", b"\n")
        with self.path.open("a", encoding="utf-8") as file:
            file.write("" if whole else "\n")
            file.write(json.dumps(fields_of(key, outcome)) + "\n")
        self.kept[key] = outcome


def fields_of(key: Key, outcome: Outcome) -> dict[str, Any]:
    names = "task", "arm", "lengths", "seeds", "fingerprint"
    arrays = {
        "initial": rounded(outcome.initial, 6),
        "loss": rounded(outcome.loss, 6),
        "factors": rounded(outcome.factors, 3),
    }
    if outcome.curve.size:
        arrays["curve"] = rounded(outcome.curve, 5)
    return dict(zip(names, key, strict=True)) | arrays


def key_of(fields: dict[str, Any]) -> Key:
    return (
        fields["task"],
        fields["arm"],
        tuple(fields["lengths"]),
        tuple(fields["seeds"]),
        fields["fingerprint"],
    )


def outcome_of(fields: dict[str, Any]) -> Outcome:
    def array(name: str) -> np.ndarray:
        return np.array(fields.get(name, ()), float)  # None becomes NaN

    if not {"initial", "loss"} <= fields.keys():
        raise KeyError("a line without losses")
    return Outcome(*map(array, ("initial", "loss", "factors", "curve")))


def rounded(values: np.ndarray, digits: int) -> Any:
    """Nested lists of numbers with some digits; None for what is not finite."""
    if np.ndim(values):
        return [rounded(value, digits) for value in values]
    return float(f"{values:.{digits}g}") if np.isfinite(values) else None
