"""Everything that a run writes: metrics, checkpoints, description and summary."""

import dataclasses
from dataclasses import dataclass
from typing import Any

import jax

import optax_warmup as ow

from ..core.optimizer import make_schedule
from ..core.train_step import TrainState
from ..core import processes
from .checkpoint import Checkpoints
from .environment import describe
from .plan import Plan
from .recorder import Recorder, Row
from .result import outcome, read_metrics
from .run_folder import RunFolder


@dataclass(frozen=True)
class Outputs:
    """Where the training loop's results go (`core.loop.Outputs`)."""

    recorder: Recorder
    checkpoints: Checkpoints
    identity: dict[str, Any]

    def update(self, step: int, metrics: dict[str, jax.Array]) -> None:
        self.recorder.update(step, metrics)

    def evaluation(self, step: int, heldout_loss: float, state: TrainState) -> None:
        row = {"heldout_loss": heldout_loss} | diagnostics(state)
        self.recorder.evaluation(step, row)

    def checkpoint(self, step: int, state: TrainState) -> None:
        self.recorder.flush()  # metrics.jsonl must never be behind a checkpoint
        self.checkpoints.save(step, state, self.identity)


def diagnostics(state: TrainState) -> Row:
    """The record of Adam's moments over all parameters, as flat numbers."""
    if not processes.is_first():
        return {}
    scalars = ow.diagnostics.to_scalars(state.opt_state)
    return {name: x for name, x in scalars.items() if name.count("/") == 1}


def write_description(
    folder: RunFolder, plan: Plan, start: int, changes: list[str]
) -> None:
    """Writes config.json and environment.json; cuts metrics.jsonl back to `start`."""
    environment = describe(plan.config, plan.corpus)
    earlier = folder.read("environment.json").get("resumed", [])
    again = [{"step": start, "accepted_changes": changes}] if start else []
    folder.write("environment.json", environment | {"resumed": earlier + again})
    folder.write("config.json", dataclasses.asdict(plan.config))
    folder.keep_metrics_before(start)


def write_summary(
    folder: RunFolder, plan: Plan, state: TrainState, seconds: float
) -> None:
    """Writes moments.npz and summary.json."""
    if not processes.is_first():
        return
    history = ow.read_moments(state.opt_state)
    history.save(folder.incomplete / "moments.npz", schedule=make_schedule(plan.config))
    costs = {
        "parameters": sum(x.size for x in jax.tree.leaves(state.params)),
        "seconds": round(seconds, 1),  # since the start, or since the resume
    }
    folder.write("summary.json", outcome(*read_metrics(folder.incomplete)) | costs)
