"""Runs as they are given, or found on disk: histories by name, losses by step."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jax.typing import ArrayLike

from optax_warmup.diagnostics._history import MomentHistory, load_moments


def as_runs(
    owner: str, runs: Any, losses: Any
) -> tuple[dict[str, MomentHistory], dict[str, dict[int, float]]]:
    """Histories by name, and their losses by step."""
    if isinstance(runs, MomentHistory):
        return {"run": runs}, {"run": losses_by_step(owner, losses)}
    if not isinstance(runs, Mapping) or not runs:
        raise ValueError(
            f"{owner}: runs must be a MomentHistory or a mapping of names to them, "
            f"got {type(runs).__name__ if runs else 'nothing'}."
        )
    named = {str(name): history for name, history in runs.items()}
    for name, history in named.items():
        if not isinstance(history, MomentHistory):
            raise TypeError(
                f"{owner}: {name!r} must be a MomentHistory, got "
                f"{type(history).__name__}; load_moments(path) returns one."
            )
    losses = {} if losses is None else losses
    if not isinstance(losses, Mapping) or set(map(str, losses)) - set(named):
        got = sorted(losses) if isinstance(losses, Mapping) else type(losses).__name__
        raise ValueError(
            f"{owner}: losses must map names of runs ({', '.join(named)}) to their "
            f"losses, got {got}."
        )
    return named, {str(n): losses_by_step(owner, x) for n, x in losses.items()}


def losses_by_step(
    owner: str, losses: ArrayLike | Mapping[int, float] | None
) -> dict[int, float]:
    """Losses as a mapping, in the order of their steps."""
    if losses is None:
        return {}
    if isinstance(losses, Mapping):
        return {int(step): float(losses[step]) for step in sorted(losses)}
    values = np.asarray(losses, np.float64)
    if values.ndim != 1:
        raise ValueError(
            f"{owner}: losses must hold one number for each step, got an array of "
            f"shape {values.shape}; or give a mapping of steps to losses."
        )
    return dict(enumerate(values.tolist()))


def load_runs(folders: Sequence[str | Path]) -> tuple[dict, dict]:
    """The runs in some folders: (histories, losses), by the folders' shortest names.

    A folder holds `moments.npz`, of `MomentHistory.save`, and maybe `metrics.jsonl`:
    JSON objects, a line each, of which those with `step` and `loss` are read. The
    .npz file itself will do too.
    """
    paths = [Path(folder) for folder in folders]
    histories, losses = {}, {}
    for path, name in zip(paths, _names(paths), strict=True):
        file = path / "moments.npz" if path.is_dir() else path
        if not file.is_file():
            raise ValueError(
                f"report: {path} holds no run: there is no {file.name}. Save one with "
                f"read_moments(opt_state).save(folder / 'moments')."
            )
        histories[name] = load_moments(file)
        losses[name] = _logged(file.with_name("metrics.jsonl"))
    return histories, losses


def _names(paths: Sequence[Path]) -> list[str]:
    """The last parts of the paths, as many as it takes to tell them apart."""
    parts = [path.resolve().with_suffix("").parts for path in paths]
    for length in range(1, max(map(len, parts), default=1) + 1):
        names = ["/".join(part[-length:]) for part in parts]
        if len(set(names)) == len(names):
            return names
    raise ValueError("report: the same run is given twice.")


def _logged(path: Path) -> dict[int, float]:
    """Step and loss of each line that has both; a half-written last line has none."""
    losses = {}
    for line in path.read_text().splitlines() if path.is_file() else ():
        try:
            row = json.loads(line)
            losses[int(row["step"])] = float(row["loss"])
        except (ValueError, KeyError, TypeError):
            continue
    return losses
