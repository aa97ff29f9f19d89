"""Runs found on disk: the record and the logged losses of each folder."""

from collections.abc import Sequence
from pathlib import Path

from optax_warmup.diagnostics._arguments import Losses
from optax_warmup.diagnostics._history import MomentHistory, load_moments
from optax_warmup.diagnostics._metrics_file import METRICS, column, read_rows

MOMENTS = "moments.npz"


def load_runs(
    folders: Sequence[str | Path],
) -> tuple[dict[str, MomentHistory], dict[str, Losses]]:
    """Loads the runs in some folders, by the folders' shortest distinct names.

    A folder holds `moments.npz`, written by `MomentHistory.save`, and perhaps
    `metrics.jsonl`: one JSON object a line, of which those with `step` and `loss` are
    read. The path of an .npz file works too.

    Returns:
        (histories, losses), each by name.

    Raises:
        ValueError: a folder holds no run or a damaged one, a line of `metrics.jsonl`
            cannot be read, or a run is given twice.
    """
    paths = [Path(folder) for folder in folders]
    histories, losses = {}, {}
    for path, name in zip(paths, _names(paths), strict=True):
        if not path.exists():
            raise ValueError(f"report: there is no {path}.")
        file = path / MOMENTS if path.is_dir() else path
        if not file.is_file():
            raise ValueError(
                f"report: {path} holds no run: there is no {file.name}. Save one with "
                f"read_moments(opt_state).save(folder / 'moments')."
            )
        histories[name] = load_moments(file)
        losses[name] = _logged_losses(file.with_name(METRICS))
    return histories, losses


def _names(paths: Sequence[Path]) -> list[str]:
    """Returns the last parts of each path, as many as tell the paths apart."""
    parts = [
        (path if path.is_dir() else path.with_suffix("")).resolve().parts
        for path in paths
    ]
    for length in range(1, max(map(len, parts), default=1) + 1):
        names = ["/".join(part[-length:]) for part in parts]
        if len(set(names)) == len(names):
            return names
    raise ValueError("report: the same run is given twice.")


def _logged_losses(path: Path) -> Losses:
    """Returns the loss by step. A half-written last line is skipped, no other."""
    if not path.is_file():
        return {}
    return column(read_rows("report", path, "loss"), "loss")
