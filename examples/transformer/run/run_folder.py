"""The folder of a run.

A run writes to `<run>.incomplete/`, which is renamed to `<run>/` at the end. So a
folder called `<run>` is always a finished run:

    config.json       the settings
    environment.json  versions, devices, corpus, schedule, resumes, rollbacks
    metrics.jsonl     one line for each logged update and each evaluation
    checkpoints/      the newest states (core/checkpoint.py)
    moments.npz       the record of Adam's moments (ow.diagnostics.load_moments)
    summary.json      the outcome
    tokenizer.json    the tokenizer, unless tokens are bytes

With several processes only the first one writes. A damaged file is kept as
`<name>.damaged-N`.
"""

import hashlib
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..core import files, locks
from ..core.files import OutputError
from ..core.settings import InputError
from . import contents, processes
from .config import Config
from .records import parse, read_rows, to_text

METRICS = "metrics.jsonl"


class RunFolder:
    """A context manager: a normal exit finishes the run, an exception does not."""

    def __init__(
        self, path: str | Path, *, overwrite: bool = False, resume: bool = False
    ):
        self.path = contents.run_path(path)
        self.incomplete = files.incomplete(self.path)
        self.writes = processes.is_first()
        self.reopened = self.created = False
        self.problems: list[str] = []  # damaged files, to be said
        if not self.writes:
            return
        with ExitStack() as stack:
            self.release = stack.callback
            try:
                self.open(overwrite, resume)
            except OSError as error:
                raise InputError(
                    f"run_dir: {self.incomplete} cannot be written: {error.strerror}. "
                    f"Make room, or choose another --run-dir."
                ) from None
            self.unlock = stack.pop_all().close

    def open(self, overwrite: bool, resume: bool) -> None:
        going, finished = self.incomplete.exists(), self.path.exists()
        if going:
            # First of all, since another process may be about to fill it.
            self.release(lock(self.incomplete))
        for folder in [self.path] * finished + [self.incomplete] * going:
            contents.check(folder, may_be_used=overwrite or resume)
        if resume and going and finished:
            raise InputError(
                f"run_dir: there are both {self.path} and {self.incomplete}, and "
                f"--resume would replace the first with the second. Move one away."
            )
        if resume and finished:
            self.path.rename(self.incomplete)
            self.reopened = True
        if not going:
            # A finished run that is overwritten stays until the new one is finished.
            self.created = not self.reopened
            self.incomplete.mkdir(parents=True, exist_ok=True)
            self.release(lock(self.incomplete))
        elif not resume:
            contents.delete(self.incomplete, keep_folder=True)
        self.open_metrics()

    def open_metrics(self) -> None:
        path = self.incomplete / METRICS
        so_far = path.read_bytes() if path.exists() else b""
        self.rows, self.digest = so_far.count(b"\n"), hashlib.sha256(so_far)
        self.metrics = path.open("ab", buffering=0)  # all of a row, or an error

    def __enter__(self) -> "RunFolder":
        return self

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        # An input error comes before any training: restore the folder.
        untouched = isinstance(error, InputError)
        if error and untouched and self.reopened:  # its own name, in the message too
            said = str(error).replace(str(self.incomplete), str(self.path))
            error.args = (said,)
        if error is None:
            processes.wait_for_all("all files are written")
        if self.writes:
            self.metrics.close()
            if error is None and self.path.exists():
                contents.replace(self.path, self.incomplete)
            if error is None or (untouched and self.reopened):
                self.incomplete.rename(self.path)
            elif untouched and self.created:
                contents.delete(self.incomplete)
            self.unlock()
        if error is None:
            processes.wait_for_all("the folder is renamed")

    def write(self, name: str, content: dict[str, Any]) -> None:
        if not self.writes:
            return
        try:
            files.write_atomically(self.incomplete / name, to_text(content, indent=2))
        except OSError as error:
            raise unwritable(self.incomplete / name, error) from None

    def write_first_config(self, config: Config) -> None:
        """Writes the settings at once, so that `--resume RUN_DIR` always knows them."""
        if not (self.incomplete / "config.json").exists():
            self.write("config.json", asdict(config))

    def read(self, name: str) -> dict[str, Any]:
        """The content of a file by `write`; {} if there is none, or it is damaged."""
        path = self.incomplete / name
        try:
            return parse(path.read_bytes()) if path.is_file() else {}
        except ValueError as error:
            self.set_aside(path, f"it cannot be read ({error})")
            return {}

    def set_aside(self, path: Path, problem: str) -> None:
        aside = files.set_aside(path).name if path.exists() else "lost"
        self.problems.append(f"{path} is damaged: {problem}; what it was is {aside}")

    def append_metrics(self, row: dict[str, float]) -> None:
        if not self.writes:
            return
        line = to_text(row)
        try:
            written = self.metrics.write(line)
            if written < len(line):  # the next try says why
                self.metrics.write(line[written:])
        except OSError as error:
            raise unwritable(self.incomplete / METRICS, error) from None
        self.rows += 1
        self.digest.update(line)

    def about_metrics(self) -> dict[str, Any]:
        """What a checkpoint keeps of the rows before it, to know if they are whole."""
        if not self.writes:
            return {}
        return {"rows": self.rows, "sha256": self.digest.hexdigest()}

    def keep_metrics_before(
        self, step: int, wanted: dict[str, Any] | None = None
    ) -> list[dict[str, float]]:
        """Drops the rows from `step` on, which are about to be written again.

        Args:
            step: updates done.
            wanted: `about_metrics` of the checkpoint of this step. If the rows differ,
                the file is set aside and those that can be read are kept.

        Returns:
            The rows that are kept, on the first process.
        """
        if not self.writes:
            return []
        path = self.incomplete / METRICS
        rows, problems = read_rows(path)
        kept = [(line, row) for line, row in rows if row["step"] < step]
        text = b"".join(line for line, _ in kept)
        found = {"rows": len(kept), "sha256": hashlib.sha256(text).hexdigest()}
        if step and (found != wanted if wanted else problems):
            what = (problems or ["its rows are not those that were written"])[0]
            whole = f" of {wanted['rows']}" if wanted else ""
            self.set_aside(
                path,
                f"{what}; {len(kept)}{whole} rows before step {step} can be read and "
                f"are kept",
            )
        self.metrics.close()
        try:
            files.write_atomically(path, text)
        except OSError as error:
            raise unwritable(path, error) from None
        self.open_metrics()
        return [row for _, row in kept]


def lock(folder: Path) -> Callable[[], None]:
    """Locks the folder; returns what releases it."""
    try:
        return locks.lock(folder)
    except locks.InUse:
        raise InputError(
            f"run_dir: a run is still going in {folder}. Choose another --run-dir."
        ) from None


def unwritable(path: Path, error: OSError) -> OutputError:
    return OutputError(
        f"{path} could not be written: {error.strerror}. "
        f"Make room, and continue from the newest checkpoint with --resume."
    )
