"""Which folder is the one of a run, and whether the run has ended."""

import json
from pathlib import Path
from typing import NamedTuple

from optax_warmup.diagnostics._metrics_file import METRICS
from optax_warmup.diagnostics._run_folders import MOMENTS

CONFIG, SUMMARY = "config.json", "summary.json"
_INCOMPLETE = ".incomplete"


class Place(NamedTuple):
    """Where a run is found.

    Attributes:
        folder: the folder that it writes to.
        begun: whether it has written anything.
        ended: whether it has written its last file.
    """

    folder: Path
    begun: bool
    ended: bool


def run_of(path: Path) -> Path:
    """The folder of a finished run, from what the user names of the run."""
    folder = path.parent if path.is_file() and path.name in (METRICS, MOMENTS) else path
    if folder.name in ("", ".."):  # the working directory, for example
        folder = folder.resolve()
    return folder.parent / folder.name.removesuffix(_INCOMPLETE)


def find(run: Path) -> Place:
    """Looks where the run is at the moment.

    A run may write to `<run>.incomplete`, which is renamed at its end. Meanwhile
    `<run>` may be an earlier one, which it replaces.
    """
    going = run.parent / (run.name + _INCOMPLETE)
    folder = going if going.is_dir() else run
    files = (METRICS, MOMENTS, CONFIG, SUMMARY)
    return Place(
        folder,
        begun=any((folder / name).is_file() for name in files),
        ended=folder == run and (folder / SUMMARY).is_file(),
    )


def total_steps(folder: Path) -> int | None:
    """The updates that the run is to make, if its settings tell it."""
    try:
        settings = json.loads((folder / CONFIG).read_bytes())
        total = settings.get("total_steps")
    except (OSError, ValueError, AttributeError, RecursionError):
        return None
    return total if type(total) is int and total > 0 else None
