"""Everything that a run writes: metrics, checkpoints, description and summary."""

import dataclasses
import json
from dataclasses import dataclass
from typing import Any

import jax

import optax_warmup as ow

from ..core.checkpoint import Checkpoints
from ..core.loop import Losses
from ..core.token_file import TOKENIZER
from ..core.tokenizer import BytePair
from ..core.update import TrainState
from . import processes
from .best import Best
from .divergence import Watch
from .environment import describe
from .plan import Plan
from .recorder import Recorder, Row
from .result import outcome, read_metrics
from .run_folder import RunFolder, unwritable
from .start import Start


@dataclass(frozen=True)
class Outputs:
    """Where the training loop's results go (`core.loop.Outputs`)."""

    recorder: Recorder
    checkpoints: Checkpoints
    identity: dict[str, Any]
    folder: RunFolder
    watch: Watch
    best: Best
    schedule: ow.Schedule

    def update(self, step: int, metrics: dict[str, jax.Array]) -> None:
        self.recorder.update(step, metrics)

    def evaluation(self, step: int, losses: Losses, state: TrainState) -> None:
        self.recorder.flush()
        before = self.folder.about_metrics()  # a resumed run evaluates again
        self.recorder.evaluation(step, losses | self.write_moments(state))
        if self.best.is_new(step, losses):
            self.save(step, state, before)

    def checkpoint(self, step: int, state: TrainState) -> None:
        self.recorder.flush()  # metrics.jsonl must never be behind a checkpoint
        self.save(step, state, self.folder.about_metrics())

    def save(self, step: int, state: TrainState, metrics: dict[str, Any]) -> None:
        about = {
            "identity": self.identity,
            "rollbacks": self.watch.events(),
            "metrics": metrics,
        }
        self.checkpoints.save(step, state, about)

    def write_moments(self, state: TrainState) -> Row:
        """Writes moments.npz; returns its last row over all parameters."""
        if not processes.is_first():
            return {}
        history = ow.read_moments(state.opt_state)
        save_moments(self.folder, history, self.watch.schedule() or self.schedule)
        scalars = ow.diagnostics.to_scalars(history)
        return {name: x for name, x in scalars.items() if name.count("/") == 1}

    def undo_after(self, step: int) -> None:
        """Removes what was written of the updates after `step`."""
        self.recorder.drop_pending()
        self.checkpoints.set_aside()
        self.checkpoints.delete_after(step)
        self.best.forget_after(step)
        self.folder.keep_metrics_before(step)
        if self.folder.writes:
            environment = self.folder.read("environment.json")
            rollbacks = {"rollbacks": self.watch.events()}
            self.folder.write("environment.json", environment | rollbacks)


def save_moments(
    folder: RunFolder, history: ow.diagnostics.MomentHistory, schedule: ow.Schedule
) -> None:
    path = folder.incomplete / "moments.npz"
    try:
        history.save(path, schedule=schedule)
    except OSError as error:
        raise unwritable(path, error) from None


def write_description(
    folder: RunFolder, plan: Plan, start: Start, events: list[dict[str, Any]]
) -> list[Row]:
    """Writes config.json and environment.json; cuts metrics.jsonl back to the start.

    Returns the rows before the start, on the first process.
    """
    environment = describe(plan.config, plan.corpus)
    earlier = folder.read("environment.json").get("resumed", [])
    again = {"step": start.step, "accepted_changes": start.changes}
    resumed = [*(earlier if isinstance(earlier, list) else []), *[again][: start.step]]
    more = {"resumed": resumed, "rollbacks": events}
    folder.write("environment.json", environment | more)
    if isinstance(plan.corpus.tokenizer, BytePair):
        folder.write(TOKENIZER, json.loads(plan.corpus.tokenizer.content))
    folder.write("config.json", dataclasses.asdict(plan.config))
    return folder.keep_metrics_before(start.step, start.about.get("metrics"))


def write_summary(
    folder: RunFolder, plan: Plan, state: TrainState, seconds: float
) -> None:
    """Writes moments.npz and summary.json."""
    if not processes.is_first():
        return
    save_moments(folder, ow.read_moments(state.opt_state), plan.schedule)
    costs = {
        "parameters": sum(x.size for x in jax.tree.leaves(state.params)),
        "seconds": round(seconds, 1),  # since the start, or since the resume
        "rows": folder.rows,  # of metrics.jsonl
    }
    found = outcome(plan.config, *read_metrics(folder.incomplete))
    folder.write("summary.json", found | costs)
