"""A finished run, read from its folder.

Training returns a `Result` too, so pictures and comparisons never need a new training.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import optax_warmup as ow

from ..core.settings import InputError
from .config import Config
from .run_folder import parse

Columns = dict[str, np.ndarray]


@dataclass(frozen=True, eq=False)
class Result:
    """The loss at step n is that of the parameters after n updates.

    A NaN loss is a result, not an error: `summary["diverged_at"]` is its first step.
    """

    folder: Path
    config: Config
    updates: Columns  # step, loss, learning_rate, gradient_norm, tokens_per_second
    evaluations: Columns  # step, heldout_loss, moments/...
    history: ow.diagnostics.MomentHistory
    summary: dict[str, Any]

    @property
    def peak_row(self) -> int:
        """Row of the record with the first update at the peak learning rate.

        With an automatic warmup, the row with the highest learning rate.
        """
        if self.config.automatic_warmup:
            return int(np.argmax(self.history.learning_rate))
        steps = self.history.steps
        return min(
            int(np.searchsorted(steps, self.config.warmup_steps)), len(steps) - 1
        )


def load_result(folder: str | Path) -> Result:
    """Reads the folder of a finished run."""
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
    """The outcome of a run, for its summary."""
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
