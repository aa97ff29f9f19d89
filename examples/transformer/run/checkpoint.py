"""Checkpoints of the whole training state, written atomically.

Orbax writes in the background, under a temporary name until everything is on disk. With
several processes each writes its own part, so all of them must see the folder.
"""

from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp

from ..core.train_step import TrainState
from .run_folder import OutputError

NAME = "checkpoints"


class Checkpoints:
    """The newest checkpoints of a run, by step: the number of updates done.

    The step is also the position of the input, since batches are a function of it.
    """

    def __init__(self, run: Path, keep: int = 1, *, read_only: bool = False):
        self.run = run.absolute()
        options = ocp.CheckpointManagerOptions(
            max_to_keep=keep,
            cleanup_tmp_directories=not read_only,  # left by a killed run
            read_only=read_only,
        )
        self.manager = ocp.CheckpointManager(self.run / NAME, options=options)
        self.saved = self.latest()

    def latest(self) -> int | None:
        """The step of the newest complete checkpoint."""
        return self.manager.latest_step()

    def save(self, step: int, state: TrainState, identity: dict[str, Any]) -> None:
        """Copies the state to the host, and returns while it is being written."""
        if step == self.saved:
            return
        about = {"identity": identity, "structure": structure(state)}
        args = ocp.args.Composite(
            params=ocp.args.StandardSave(state.params),
            opt_state=ocp.args.StandardSave(state.opt_state),
            about=ocp.args.JsonSave(about),
        )
        self.saved = step
        try:
            self.manager.save(step, args=args, force=True)
        except Exception as error:  # also one of the previous save
            raise self.failure(error) from error

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        """Waits until everything is on disk; an error of the run itself goes first."""
        try:
            self.manager.wait_until_finished()
            self.manager.close()
        except Exception as late:
            if error is None:
                raise self.failure(late) from late

    def failure(self, error: Exception) -> OutputError:
        first_line = (str(error).splitlines() or [""])[0][:300]
        step, folder = self.latest(), self.run / NAME
        newest = (
            f"The newest complete one in {folder} is of step {step}."
            if step
            else f"{folder} holds no complete one yet."
        )
        return OutputError(
            f"a checkpoint could not be written ({type(error).__name__}: "
            f"{first_line}). {newest} Make room, and continue with --resume."
        )

    def identity(self, step: int) -> dict[str, Any]:
        """The identity of the run that saved it."""
        return self.about(step)["identity"]

    def about(self, step: int) -> dict[str, Any]:
        return self.manager.restore(
            step, args=ocp.args.Composite(about=ocp.args.JsonRestore())
        ).about

    def difference(self, step: int, abstract: TrainState) -> str | None:
        """The first difference between the saved state and `abstract`, if any."""
        there, here = self.about(step)["structure"], structure(abstract)
        different = [
            f"{name} is {there.get(name, 'absent')} there and "
            f"{here.get(name, 'absent')} here"
            for name in dict.fromkeys([*there, *here])
            if there.get(name) != here.get(name)
        ]
        return different[0] if different else None

    def restore(self, step: int, abstract: TrainState) -> TrainState:
        """The state, with the shardings of `abstract`: on any number of devices."""
        items = {
            name: ocp.args.StandardRestore(item)
            for name, item in abstract._asdict().items()
        }
        restored = self.manager.restore(step, args=ocp.args.Composite(**items))
        return TrainState(restored.params, restored.opt_state)

    def restore_params(self, step: int, abstract: Any) -> Any:
        """The parameters alone."""
        args = ocp.args.Composite(params=ocp.args.StandardRestore(abstract))
        return self.manager.restore(step, args=args).params


def structure(state: Any) -> dict[str, str]:
    """Path, dtype and shape of every array in the state."""
    return {
        jax.tree_util.keystr(path): f"{x.dtype}{list(x.shape)}"
        for path, x in jax.tree_util.tree_leaves_with_path(state)
    }
