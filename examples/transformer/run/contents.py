"""What a run writes into its folder, and what else may be in there.

`--overwrite` deletes what a run wrote, and nothing else.
"""

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from ..core import files
from ..core.settings import InputError

NAMES = (
    "config.json", "environment.json", "metrics.jsonl", "moments.npz", "summary.json",
    "tokenizer.json",
)  # fmt: skip
SHARED = "tokenizer.json"  # prepared tokens have one, too: it makes no folder a run
CHECKPOINTS, PROFILE = "checkpoints", "profile"
TRACES = f"{PROFILE}/plugins/profile"  # as jax.profiler names them
FILE = re.compile(
    rf"({'|'.join(map(re.escape, NAMES))})(\.partial|\.damaged-\d+)?"
    r"|events\.out\.tfevents\..*"
)
CHECKPOINT = re.compile(r"\d+(\.orbax-checkpoint-tmp.*|\.damaged-\d+)?")


def run_path(path: str | Path) -> Path:
    """The folder that a name means, with links followed."""
    try:
        path = Path(path).expanduser()
        return path.resolve() if path.is_symlink() else path
    except (OSError, ValueError, RuntimeError) as error:
        raise InputError(
            f"run_dir={str(path)!r} is no path: {error}. Choose another --run-dir."
        ) from None


def check(folder: Path, *, may_be_used: bool) -> None:
    """Raises `InputError` if a run must not write here."""
    if not may_be_used:
        what = (
            "holds a run that was interrupted or is still going"
            if folder.name.endswith(files.INCOMPLETE)
            else "exists already"
        )
        raise InputError(
            f"run_dir: {folder} {what}. Choose another --run-dir, continue it with "
            f"--resume, or replace it with --overwrite."
        )
    if not folder.is_dir():
        raise InputError(
            f"run_dir: {folder} is not a folder. Choose another --run-dir."
        )
    entries = [folder / name for name in (*NAMES, CHECKPOINTS, PROFILE)]
    for entry in entries:
        if entry.is_symlink():
            raise InputError(
                f"run_dir: {entry} is a symbolic link, and a run does not write "
                f"through one. Remove the link, or choose another --run-dir."
            )
        if entry.exists() and entry.is_dir() != (entry.name in (CHECKPOINTS, PROFILE)):
            raise InputError(
                f"run_dir: {entry} is not what a run writes under that name. Move it "
                f"away, or choose another --run-dir."
            )
    of_a_run = [entry for entry in entries if entry.name not in (PROFILE, SHARED)]
    if not any(entry.exists() for entry in of_a_run) and any(folder.iterdir()):
        raise InputError(
            f"run_dir: {folder} is not a run (it has no metrics.jsonl); --overwrite "
            f"and --resume leave it alone. Choose another --run-dir."
        )


def written(folder: Path) -> Iterator[Path]:
    """The files and folders in it that a run wrote."""
    for entry in folder.iterdir():
        if entry.is_file() and FILE.fullmatch(entry.name):
            yield entry
    if (folder / CHECKPOINTS).is_dir():
        for entry in (folder / CHECKPOINTS).iterdir():
            if CHECKPOINT.fullmatch(entry.name):
                yield entry
    yield from (folder / TRACES).glob("*")


def delete(folder: Path, *, keep_folder: bool = False) -> None:
    """Deletes what a run wrote, and the folder if it is then empty."""
    for entry in list(written(folder)):
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()
    traces = folder / TRACES
    made = (folder / CHECKPOINTS, traces, traces.parent, folder / PROFILE)
    for each in (*made, *([] if keep_folder else [folder])):
        if each.is_dir() and not any(each.iterdir()):
            each.rmdir()


def replace(old: Path, new: Path) -> None:
    """Deletes an old run; what else is in its folder goes to the new one's."""
    delete(old)
    if old.exists():
        move_into(old, new)


def move_into(old: Path, new: Path) -> None:
    for entry in list(old.iterdir()):
        target = new / entry.name
        if entry.is_dir() and target.is_dir() and not entry.is_symlink():
            move_into(entry, target)
        else:
            there = os.path.lexists(target)
            entry.rename(files.free_name(target, "replaced") if there else target)
    old.rmdir()


def complete_checkpoints(folder: Path) -> list[int]:
    """The steps of the complete checkpoints of a run, without opening them."""
    there = (folder / CHECKPOINTS).glob("*")
    return sorted(int(x.name) for x in there if x.name.isdecimal() and x.is_dir())
