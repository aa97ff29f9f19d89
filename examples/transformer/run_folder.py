"""What a run leaves behind, and how: whole, or under a name that says it is not.

A run writes into `<run>.incomplete/` and takes its name at the end, so a folder
called `<run>` is always a finished run:

    config.json       the settings
    environment.json  versions, devices, corpus, schedule
    metrics.jsonl     a line for each logged update and each evaluation
    moments.npz       the diagnostic record; optax_warmup.load_moments reads it
    summary.json      the outcome
"""

import json
import math
import shutil
from pathlib import Path
from typing import Any

from .config import InputError


class RunFolder:
    """Use as a context: leaving it normally finishes the run, an exception does not."""

    def __init__(self, path: str | Path, *, overwrite: bool = False):
        self.path = Path(path).expanduser()
        self.incomplete = self.path.with_name(self.path.name + ".incomplete")
        for folder in (self.path, self.incomplete):
            if folder.exists():
                check_replaceable(folder, overwrite)
        try:
            # The finished run that is overwritten stays until its successor is whole.
            if self.incomplete.exists():
                shutil.rmtree(self.incomplete)
            self.incomplete.mkdir(parents=True)
            self.metrics = (self.incomplete / "metrics.jsonl").open("w", buffering=1)
        except OSError as error:
            raise InputError(
                f"run_dir: {self.incomplete} cannot be written: {error.strerror}. "
                f"Choose another --run-dir."
            ) from None

    def __enter__(self) -> "RunFolder":
        return self

    def __exit__(self, kind, error, traceback) -> None:
        self.metrics.close()
        if error is None:
            if self.path.exists():
                shutil.rmtree(self.path)
            self.incomplete.rename(self.path)

    def write(self, name: str, content: dict[str, Any]) -> None:
        text = json.dumps(strict(content), indent=2, allow_nan=False)
        (self.incomplete / name).write_text(text + "\n")

    def append_metrics(self, row: dict[str, float]) -> None:
        self.metrics.write(json.dumps(strict(row), allow_nan=False) + "\n")


def check_replaceable(folder: Path, overwrite: bool) -> None:
    if not overwrite:
        what = (
            "holds a run that was interrupted or is still going"
            if folder.name.endswith(".incomplete")
            else "exists already"
        )
        raise InputError(
            f"run_dir: {folder} {what}. "
            f"Choose another --run-dir, or replace it with --overwrite."
        )
    if not (folder / "metrics.jsonl").is_file():
        raise InputError(
            f"run_dir: {folder} is not a run (it has no metrics.jsonl), so --overwrite "
            f"leaves it alone. Choose another --run-dir."
        )


# JSON has no such numbers. As text they are what protobuf writes, too.
TO_TEXT = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}
FROM_TEXT = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def strict(row: dict[str, Any]) -> dict[str, Any]:
    """Replaces numbers that JSON lacks by text."""
    return {
        name: TO_TEXT.get(str(value), value) if isinstance(value, float) else value
        for name, value in row.items()
    }


def parse(text: str) -> dict[str, Any]:
    """Reads what `strict` wrote."""
    return {
        name: FROM_TEXT.get(value, value) if isinstance(value, str) else value
        for name, value in json.loads(text).items()
    }
