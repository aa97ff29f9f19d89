"""A finished run, read back from its folder.

Training returns what a later session would read, so a picture can be drawn again, and
two runs compared, without training anything.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import optax_warmup as ow

from .config import Config
from .option import InputError
from .run_folder import parse

Columns = dict[str, np.ndarray]


@dataclass(frozen=True, eq=False)
class Result:
    """The loss at step n is that of the parameters after n updates.

    A loss may be NaN, and `summary["diverged_at"]` is then the first such step: an
    outcome, and no error.
    """

    folder: Path
    config: Config
    updates: Columns  # step, loss, learning_rate, gradient_norm, tokens_per_second
    evaluations: Columns  # step, heldout_loss, moments/...
    history: ow.diagnostics.MomentHistory
    summary: dict[str, Any]

    @property
    def full_rate(self) -> int:
        """Row in the record of the first update at the full rate, or the highest."""
        if self.config.automatic_warmup:
            return int(np.argmax(self.history.learning_rate))
        steps = self.history.steps
        return min(
            int(np.searchsorted(steps, self.config.warmup_steps)), len(steps) - 1
        )


def load_result(folder: str | Path) -> Result:
    """Reads a folder that a run has written."""
    folder = Path(folder)
    if not (folder / "summary.json").is_file():
        raise InputError(f"{folder} is not a finished run: it has no summary.json.")
    updates, evaluations = read_metrics(folder)
    return Result(
        folder=folder,
        config=Config(**parse((folder / "config.json").read_text())),
        updates=updates,
        evaluations=evaluations,
        history=ow.diagnostics.load_moments(folder / "moments.npz"),
        summary=parse((folder / "summary.json").read_text()),
    )


def read_metrics(folder: Path) -> tuple[Columns, Columns]:
    """The updates and the evaluations of metrics.jsonl, as columns."""
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    rows = [parse(line) for line in lines]
    return (
        columns([row for row in rows if "loss" in row]),
        columns([row for row in rows if "heldout_loss" in row]),
    )


def columns(rows: list[dict[str, Any]]) -> Columns:
    """Arrays [rows]; NaN where a row lacks a value."""
    names = dict.fromkeys(name for row in rows for name in row)
    return {
        name: np.array([row.get(name, np.nan) for row in rows], float) for name in names
    }


def outcome(updates: Columns, evaluations: Columns) -> dict[str, Any]:
    """How a run ended, for its summary."""
    diverged = updates["step"][~np.isfinite(updates["loss"])]
    utilisation = updates.get("model_flops_utilisation")
    return {
        "heldout_loss": evaluations["heldout_loss"][-1],
        "best_heldout_loss": np.fmin.reduce(evaluations["heldout_loss"]),
        "median_tokens_per_second": np.nanmedian(updates["tokens_per_second"]),
        "median_model_flops_utilisation": (
            None if utilisation is None else np.nanmedian(utilisation)
        ),
        "diverged_at": int(diverged[0]) if diverged.size else None,
    }
