"""Checkpoints of a training state: written atomically, checked when they are read.

Orbax writes in the background, under a temporary name until everything is on disk. With
several processes each writes its own part, so all of them must see the folder.

Each checkpoint has checksums of its files and of its arrays. One that is damaged raises
`Damaged`, and a loop then takes the one before (docs/training.md has such a loop).
"""

import contextlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import jax
import orbax.checkpoint as ocp

from . import checksums, files, processes
from .checksums import Items, named
from .files import OutputError, first_line
from .stop import Stopped

T = TypeVar("T")


class Damaged(Exception):
    """A checkpoint cannot be used; the message says which, and what is wrong."""


class Checkpoints:
    """The newest checkpoints of a run, by step: the number of updates done.

    Args:
        folder: of the checkpoints alone.
        keep: how many of the newest to keep.
        keep_too: chooses more of them, such as the best one.
        read_only: changes nothing in the folder.
    """

    def __init__(
        self,
        folder: Path,
        keep: int = 1,
        *,
        keep_too: Callable[[list[int]], Iterable[int | None]] = lambda steps: (),
        read_only: bool = False,
    ):
        self.folder = folder.absolute()
        self.keep, self.keep_too = keep, keep_too
        options = ocp.CheckpointManagerOptions(
            preservation_policy=self,
            cleanup_tmp_directories=not read_only,  # left by a killed run
            read_only=read_only,
            lightweight_initialize=True,  # reads nothing that may be damaged
            async_options=ocp.AsyncOptions(post_finalization_callback=self._written),
        )
        self.manager = ocp.CheckpointManager(self.folder, options=options)
        self.damaged = {  # what is wrong, by step
            int(entry.name): "it is not a folder"
            for entry in self.folder.glob("*")
            if entry.name.isdecimal() and not entry.is_dir()
        }
        self.abouts: dict[int, dict[str, Any]] = {}  # of those whose files are whole
        self.saved = self.latest()
        self.unsealed: int | None = None

    def steps(self) -> list[int]:
        """Those that are complete and not known to be damaged, oldest first."""
        return sorted(set(self.manager.all_steps()) - self.damaged.keys())

    def latest(self) -> int | None:
        return max(self.steps(), default=None)

    def save(self, step: int, items: Items, about: dict[str, Any]) -> None:
        """Copies the arrays to the host, and returns while they are being written.

        `about` is anything that JSON can hold; it is kept with the checkpoint.
        """
        if step == self.saved:
            return
        args = {k: ocp.args.StandardSave(x) for k, x in named(items).items()}
        about = about | {"step": step} | checksums.describe(items)
        try:
            self._wait()
            self.saved = self.unsealed = step
            self.abouts.pop(step, None)
            self.manager.save(
                step,
                args=ocp.args.Composite(**args, about=ocp.args.JsonSave(about)),
                force=True,
            )
        except Exception as error:  # also one of the previous save
            raise self._failure(error) from error

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        """Waits until everything is on disk; an error of the run itself goes first."""
        try:
            self._wait()
            self.manager.close()
        except Exception as late:
            if error is None or isinstance(error, Stopped):
                raise self._failure(late) from late

    def about(self, step: int) -> dict[str, Any]:
        """What was saved about a checkpoint, once its files are found to be whole."""
        if step in self.abouts:
            return self.abouts[step]
        folder = self.folder / str(step)
        checked = processes.first_says(checksums.has_checksums(folder))
        if checked and (problem := checksums.damage(folder)):
            raise self._damaged(step, problem)
        found = self._restore(step, about=ocp.args.JsonRestore())["about"]
        if not isinstance(found, dict) or "structure" not in found:
            raise self._damaged(step, "what it says about itself is no such text")
        if found.get("step", step) != step:
            raise self._damaged(step, "it is the checkpoint of another step")
        if "checksums" in found and not checked:
            raise self._damaged(step, f"{checksums.NAME} is missing")
        self.abouts[step] = found
        return found

    def restore(self, step: int, abstract: T) -> T:
        """The items of these names, with these shardings: on any number of devices."""
        wanted = self.about(step).get("checksums", {})
        args = {k: ocp.args.StandardRestore(x) for k, x in named(abstract).items()}
        restored = self._restore(step, **args)
        for name, saved in wanted.items():
            if name in restored and checksums.checksum(restored[name]) != saved:
                raise self._damaged(step, f"{name} has other values than were saved")
        return type(abstract)(**restored)

    def delete_after(self, step: int) -> None:
        """Deletes the checkpoints of later steps."""
        self._wait()
        for later in self.steps():
            if later > step:
                self.manager.delete(later)
                self.abouts.pop(later, None)
        self.saved = step

    def whole_steps(self) -> list[int]:
        """Those whose files are as they were written, oldest first."""
        for step in self.steps():
            with contextlib.suppress(Damaged):
                self.about(step)
        return self.steps()

    def should_preserve(self, checkpoints: Sequence[Any], *, context: Any) -> list:
        """Called by Orbax, whose policy for what to keep this is."""
        steps = sorted(each.step for each in checkpoints)
        kept = {*steps[-self.keep :], *self.keep_too(steps)}
        return [each.step in kept for each in checkpoints]

    def set_aside(self) -> None:
        """Renames those that are damaged, so that they can be saved again."""
        if processes.is_first():
            for step in self.damaged:
                files.set_aside(self.folder / str(step))
        processes.wait_for_all("damaged checkpoints are set aside")
        self.damaged.clear()
        self.manager.reload()

    def _restore(self, step: int, **args: Any) -> dict[str, Any]:
        try:
            return dict(self.manager.restore(step, args=ocp.args.Composite(**args)))
        except (MemoryError, jax.errors.JaxRuntimeError):
            raise  # the checkpoint is whole, and there is no room for it
        except Exception as error:
            raise self._damaged(step, first_line(error)) from error

    def _damaged(self, step: int, problem: str) -> Damaged:
        self.damaged[step] = problem
        return Damaged(f"the checkpoint of step {step} is damaged: {problem}")

    def _written(self) -> None:
        """Called by Orbax once all items are written, before they get their name."""
        if processes.is_first():
            for folder in self.folder.glob(f"{self.saved}.orbax-checkpoint-tmp*"):
                checksums.write_checksums(folder, "*/**/*")

    def _wait(self) -> None:
        """Waits for the checkpoint that is being written."""
        self.manager.wait_until_finished()
        folder = self.folder / str(self.unsealed)
        if processes.is_first() and folder.is_dir():
            checksums.write_checksums(folder)  # of Orbax's last files, too
        self.unsealed = None

    def _failure(self, error: Exception) -> OutputError:
        step = self.latest()
        newest = (
            f"The newest complete one is of step {step}" if step else "There is none"
        )
        return OutputError(
            f"a checkpoint could not be written ({first_line(error)}). {newest} in "
            f"{self.folder}. Make room, and continue with --resume."
        )
