"""The folder of a run.

A run writes to `<run>.incomplete/`, which is renamed to `<run>/` at the end. So a
folder called `<run>` is always a finished run:

    config.json       the settings
    environment.json  versions, devices, corpus, schedule, steps of resumes
    metrics.jsonl     one line for each logged update and each evaluation
    checkpoints/      the newest states (checkpoint.py)
    moments.npz       the record of Adam's moments (ow.diagnostics.load_moments)
    summary.json      the outcome

With several processes only the first one writes.
"""

import fcntl
import json
import math
import os
import shutil
from pathlib import Path
from typing import Any

from ..core.settings import InputError
from . import processes


class OutputError(RuntimeError):
    """An output file cannot be written; the message names the way out."""


class RunFolder:
    """A context manager: a normal exit finishes the run, an exception does not."""

    def __init__(
        self, path: str | Path, *, overwrite: bool = False, resume: bool = False
    ):
        self.path = Path(path).expanduser()
        self.incomplete = self.path.with_name(self.path.name + ".incomplete")
        self.writes = processes.is_first()
        self.reopened = self.created = False
        if not self.writes:
            return
        existing = [each for each in (self.path, self.incomplete) if each.exists()]
        for folder in existing:
            check_run(folder, overwrite or resume)
        if resume and len(existing) == 2:
            raise InputError(
                f"run_dir: there are both {self.path} and {self.incomplete}, and "
                f"--resume would replace the first with the second. Move one away."
            )
        try:
            self.prepare(resume)
        except OSError as error:
            raise InputError(
                f"run_dir: {self.incomplete} cannot be written: {error.strerror}. "
                f"Choose another --run-dir."
            ) from None

    def prepare(self, resume: bool) -> None:
        self.created = not (self.incomplete.exists() or resume and self.path.exists())
        if self.incomplete.exists():
            handle = lock(self.incomplete)
            if not resume:
                shutil.rmtree(self.incomplete)
            os.close(handle)
        elif resume and self.path.exists():
            self.path.rename(self.incomplete)
            self.reopened = True
        # A finished run that is overwritten stays until the new one is finished.
        self.incomplete.mkdir(parents=True, exist_ok=True)
        self.lock = lock(self.incomplete)
        self.metrics = (self.incomplete / "metrics.jsonl").open("a", buffering=1)

    def __enter__(self) -> "RunFolder":
        return self

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        # An input error comes before any training: restore the folder.
        untouched = isinstance(error, InputError)
        if error is None:
            processes.wait_for_all("all files are written")
        if self.writes:
            self.metrics.close()
            if error is None and self.path.exists():
                shutil.rmtree(self.path)
            if error is None or (untouched and self.reopened):
                self.incomplete.rename(self.path)
            elif untouched and self.created:
                shutil.rmtree(self.incomplete)
            os.close(self.lock)
        if error is None:
            processes.wait_for_all("the folder is renamed")

    def write(self, name: str, content: dict[str, Any]) -> None:
        if not self.writes:
            return
        text = json.dumps(strict(content), indent=2, allow_nan=False)
        try:
            (self.incomplete / name).write_text(text + "\n")
        except OSError as error:
            raise unwritable(self.incomplete / name, error) from None

    def read(self, name: str) -> dict[str, Any]:
        """The content of a file by `write`, or {} if there is none."""
        path = self.incomplete / name
        return parse(path.read_text()) if path.is_file() else {}

    def append_metrics(self, row: dict[str, float]) -> None:
        if not self.writes:
            return
        try:
            self.metrics.write(json.dumps(strict(row), allow_nan=False) + "\n")
        except OSError as error:
            raise unwritable(self.incomplete / "metrics.jsonl", error) from None

    def keep_metrics_before(self, step: int) -> None:
        """Drops the rows from `step` on, which are about to be written again."""
        if not self.writes:
            return
        path = self.incomplete / "metrics.jsonl"
        self.metrics.close()
        lines = path.read_text().splitlines(keepends=True)
        # A killed run may end in half a line.
        whole = [line for line in lines if line.endswith("\n")]
        kept = [line for line in whole if parse(line)["step"] < step]
        partial = path.with_suffix(".partial")
        partial.write_text("".join(kept))
        partial.replace(path)
        self.metrics = path.open("a", buffering=1)


def check_run(folder: Path, may_be_used: bool) -> None:
    if not may_be_used:
        what = (
            "holds a run that was interrupted or is still going"
            if folder.name.endswith(".incomplete")
            else "exists already"
        )
        raise InputError(
            f"run_dir: {folder} {what}. Choose another --run-dir, continue it with "
            f"--resume, or replace it with --overwrite."
        )
    if not (folder / "metrics.jsonl").is_file():
        raise InputError(
            f"run_dir: {folder} is not a run (it has no metrics.jsonl); --overwrite "
            f"and --resume leave it alone. Choose another --run-dir."
        )


def lock(folder: Path) -> int:
    """Locks the folder until the process ends, however it ends."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise InputError(
            f"run_dir: a run is still going in {folder}. Choose another --run-dir."
        ) from None
    return handle


def unwritable(path: Path, error: OSError) -> OutputError:
    return OutputError(
        f"{path} could not be written: {error.strerror}. "
        f"Make room, and continue from the newest checkpoint with --resume."
    )


# JSON lacks these numbers. Protobuf writes them as the same texts.
TO_TEXT = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}
FROM_TEXT = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def strict(row: dict[str, Any]) -> dict[str, Any]:
    """Replaces the numbers that JSON lacks with text."""
    return {
        name: TO_TEXT.get(str(value), value) if isinstance(value, float) else value
        for name, value in row.items()
    }


def parse(text: str) -> dict[str, Any]:
    """Reads JSON in which `strict` replaced numbers with text."""
    return {
        name: FROM_TEXT.get(value, value) if isinstance(value, str) else value
        for name, value in json.loads(text).items()
    }
