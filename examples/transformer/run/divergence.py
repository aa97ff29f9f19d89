"""What a run does when it diverges: stop, go back, or go on."""

import math
from typing import Any

import optax_warmup as ow

from ..core.optimizer import make_schedule
from . import processes
from .config import Config
from .recorder import Row


class Divergence(Exception):
    """Raised in the training loop where a run that goes back has diverged."""


class Watch:
    """Reads the losses on every process, and acts as `config.on_divergence` says.

    The policy sees all of the losses that are logged, one update late, so all processes
    decide alike and the device never waits. It also says which checkpoint must be kept,
    because it is from before the first bad loss.
    """

    def __init__(self, config: Config, events: list[dict[str, Any]]):
        self.config = config
        self.goes_back = config.on_divergence == "rollback"
        self.policy = ow.runs.Rollback(
            # Only a run that can go back may take a spike for a divergence.
            patience=5 if self.goes_back else 2**31 - 1,
            rewarm_steps=config.rollback_rewarm,
            rate_factor=config.rollback_rate_factor,
            skip_batches=config.rollback_skip,
            max_rollbacks=config.max_rollbacks,
            events=events,
        )
        self.diverged = False

    def __call__(self, row: Row) -> None:
        """Takes a row of metrics (it is a sink of the recorder)."""
        if (reason := self.observe(row)) and self.config.on_divergence != "continue":
            raise Divergence(reason)

    def replay(self, rows: list[Row]) -> None:
        """Takes the rows that a resumed run wrote earlier, as the first process has."""
        latest = [
            {"step": row["step"], "loss": repr(row["loss"])}  # JSON lacks NaN
            for row in rows
            if "loss" in row
        ][-2 * self.policy.window :]
        for row in processes.first_says(latest):
            self({"step": row["step"], "loss": float(row["loss"])})

    def observe(self, row: Row) -> str | None:
        if self.diverged:  # and goes on: the checkpoint of before remains kept
            return None
        loss = row.get("loss", row.get("heldout_loss", 0.0))
        if "loss" not in row and math.isfinite(loss):
            return None  # a held-out loss counts only if it is none
        reason = self.policy.observe(int(row["step"]), loss)
        self.diverged = reason is not None
        return reason

    def roll_back(self, checkpoints: list[int]) -> int:
        """The step to go on from; raises `optax_warmup.runs.Diverged` if none helps."""
        event = self.policy.roll_back(checkpoints)
        self.diverged = False
        return event.begin

    def schedule(self) -> ow.Schedule | None:
        """The schedule of the settings as the rollbacks changed it, if they did."""
        before = make_schedule(self.config)
        after = self.policy.schedule(before)
        return None if after == before else after

    def events(self) -> list[dict[str, Any]]:
        """The rollbacks so far, ready for JSON."""
        return [event._asdict() for event in self.policy.events]
