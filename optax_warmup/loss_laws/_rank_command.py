"""What `optax-warmup rank` does with run folders."""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from optax_warmup._drawing.numbers import number
from optax_warmup._presets.linear_and_cosine import warmup_constant
from optax_warmup._schedules.schedule import Schedule, as_schedule
from optax_warmup.diagnostics._metrics_file import LOSSES, METRICS, column, read_rows
from optax_warmup.loss_laws._choose import RankedSchedule, best_cooldown, rank
from optax_warmup.loss_laws._fit import fit_loss_law
from optax_warmup.loss_laws._formula import rates_of

Run = tuple[Schedule, np.ndarray, np.ndarray]


def rank_command(
    folders: Sequence[str | Path],
    steps: int,
    candidates: Mapping[str, Schedule],
    loss: str | None = None,
) -> str:
    """Fits a law to the runs in some folders and returns a ranking, as text.

    Without candidates, cooldowns of different length are ranked for the peak rate and
    the warmup of the first run.

    Raises:
        OSError: a file cannot be read.
        ValueError: a folder holds no run, or a law cannot be fitted or used.
    """
    runs = [load_run(Path(folder), loss) for folder in folders]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they are in the law's text
        law = fit_loss_law(runs)
    if candidates:
        ranked = rank(law, candidates, steps)
    else:
        first = rates_of(runs[0][0], int(runs[0][1][-1]))
        base = warmup_constant(first.peak, first.warmup_end)
        ranked = best_cooldown(law, base, steps).ranked
    return "\n".join([str(law), "", *table(ranked, steps)])


def table(ranked: Sequence[RankedSchedule], steps: int) -> list[str]:
    """A ranking as lines of text."""
    head = ("schedule", f"loss after {steps:,}", "behind the best", "")
    rows = [
        (
            each.name,
            f"{each.loss:.4f}",
            f"{each.behind:.4f} +- {each.standard_error:.4f}",
            "best" if index == 0 else "cannot tell" if each.tied else "worse",
        )
        for index, each in enumerate(ranked)
    ]
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    lines = [
        "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip()
        for row in (head, *rows)
    ]
    far = max(each.extrapolation for each in ranked)
    return [*lines, f"Up to {number(far, 2)} times the sum of rates of the runs."]


def load_run(folder: Path, loss: str | None = None) -> Run:
    """Reads a run from `metrics.jsonl`: its learning rates and one kind of loss.

    Each line is a JSON object with `step`, and `learning_rate` or a loss or both. By
    default the held-out loss is read if there is one. Rates between the logged steps
    are interpolated.
    """
    path = folder / METRICS if folder.is_dir() else folder
    if not path.is_file():
        raise ValueError(f"rank: {folder} holds no run: there is no {path.name}.")
    rows = read_rows("rank", path, "learning_rate", *LOSSES, *([loss] if loss else []))
    logged = {key for row in rows for key in row}
    name = loss or next((name for name in LOSSES if name in logged), LOSSES[-1])
    for key in ("learning_rate", name):
        if key not in logged:
            raise ValueError(
                f"rank: {path} must have {key} in some lines, got "
                f"{', '.join(sorted(logged)) or 'none'}; log it with its step."
            )
    rates = column(rows, "learning_rate")
    losses = column(rows, name)
    at, values = np.array(list(rates)), np.array(list(rates.values()))

    def interpolated(step: Any) -> jax.Array:
        return jnp.interp(jnp.asarray(step, float), at, values)

    schedule = as_schedule(interpolated, "rank", str(folder))
    return schedule, np.array(list(losses)), np.array(list(losses.values()))
