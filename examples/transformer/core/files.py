"""Files that are complete or absent, whatever ends the process that writes them."""

import contextlib
import hashlib
import itertools
import os
from pathlib import Path

INCOMPLETE = ".incomplete"


class OutputError(RuntimeError):
    """An output file cannot be written; the message names the way out."""


def write_atomically(path: Path, content: bytes) -> None:
    """Writes to `<name>.partial`, flushes it to disk, and renames it.

    A partial file of a killed run is replaced; a symbolic link of that name is removed
    and not followed.
    """
    partial = path.with_name(path.name + ".partial")
    partial.unlink(missing_ok=True)
    # O_EXCL: whatever appears under that name in between is not followed either.
    with open(partial, "xb") as file:
        try:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
    partial.replace(path)
    flush_folder(path.parent)


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def flush_folder(folder: Path) -> None:
    """Without this a power cut could undo a rename."""
    # Windows cannot open a folder, and some network file systems cannot flush one.
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def free_name(path: Path, why: str) -> Path:
    """`<name>.<why>-N` beside a path, with the first number that is free."""
    names = (f"{path.name}.{why}-{n}" for n in itertools.count(1))
    return next(x for x in map(path.with_name, names) if not os.path.lexists(x))


def set_aside(path: Path) -> Path:
    """Renames a damaged file or folder to `<name>.damaged-N`; returns its new path."""
    return path.rename(free_name(path, "damaged"))


def incomplete(path: Path) -> Path:
    """Where a run or prepared tokens are while they are not complete."""
    return path.with_name(path.name + INCOMPLETE)


def first_line(error: Exception) -> str:
    """The class of an error and the beginning of its message."""
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:300]}"
