"""A finished run, read from its folder.

Training returns a `Result` too, so pictures and comparisons never need a new training.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

import optax_warmup as ow

from ..core.settings import InputError
from .best import main_loss
from .config import Config
from .config_file import read_config
from .records import parse, read_rows

Columns = dict[str, np.ndarray]
T = TypeVar("T")

# Those that every run has; a run may have more.
UPDATES = ("step", "loss", "learning_rate", "gradient_norm")
NONE = np.array([])
EVALUATIONS = ("step", "heldout_loss")


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
    """Reads the folder of a finished run; a damaged file is an `InputError`."""
    folder = Path(folder)
    if not (folder / "summary.json").is_file():
        raise InputError(f"{folder} is not a finished run: it has no summary.json.")
    summary = read(folder / "summary.json", lambda path: parse(path.read_bytes()))
    updates, evaluations = read_metrics(folder, summary.get("rows"))
    return Result(
        folder=folder,
        config=read_config(folder),
        updates=updates,
        evaluations=evaluations,
        history=read(folder / "moments.npz", ow.diagnostics.load_moments),
        summary=summary,
    )


def read(path: Path, reader: Callable[[Path], T]) -> T:
    """Names the file if it cannot be read."""
    try:
        return reader(path)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise InputError(
            f"{path} cannot be read ({error}). Put it back from a copy, or repeat the "
            f"run."
        ) from None


def read_metrics(folder: Path, count: Any = None) -> tuple[Columns, Columns]:
    """The updates and the evaluations of metrics.jsonl, as columns.

    Every line must be a row, and there must be `count` of them.
    """
    path = folder / "metrics.jsonl"
    lines, problems = read_rows(path)
    if problems:
        raise InputError(
            f"{path}: {problems[0]}. Put the file back from a copy, or remove the "
            f"line and do without that row."
        )
    rows = [row for _, row in lines]
    if isinstance(count, int) and len(rows) < count:
        raise InputError(
            f"{path} has {len(rows)} rows, and the run wrote {count}. Put the file "
            f"back from a copy, or set the number of rows in summary.json."
        )
    return (
        columns([row for row in rows if "loss" in row], UPDATES),
        columns([row for row in rows if "heldout_loss" in row], EVALUATIONS),
    )


def columns(rows: list[dict[str, Any]], names: tuple[str, ...] = ()) -> Columns:
    """Arrays [rows]; NaN where a row lacks a value."""
    names_of = dict.fromkeys([*names, *(name for row in rows for name in row)])
    return {
        name: np.array([row.get(name, np.nan) for row in rows], float)
        for name in names_of
    }


def outcome(config: Config, updates: Columns, evaluations: Columns) -> dict[str, Any]:
    """The outcome of a run, for its summary."""
    steps, losses = evaluations["step"], evaluations[main_loss(config)]
    best = np.where(np.isfinite(losses), losses, np.inf).argmin()
    last = {name: x[-1] for name, x in evaluations.items() if "heldout_loss" in name}
    diverged = updates["step"][~np.isfinite(updates["loss"])]
    utilisation = updates.get("model_flops_utilisation")
    return {
        **last,
        "best_heldout_loss": np.fmin.reduce(losses),
        "best_step": int(steps[best]) if losses[best] < np.inf else None,
        "median_tokens_per_second": median(
            updates.get("tokens_per_second", np.array([]))
        ),
        "median_model_flops_utilisation": (
            None if utilisation is None else median(utilisation)
        ),
        "diverged_at": int(diverged[0]) if diverged.size else None,
    }


def median(values: np.ndarray) -> float:
    """Without those that are missing; NaN if all are, as after a single update."""
    there = values[~np.isnan(values)]
    return float(np.median(there)) if there.size else np.nan
