"""Checks paths, and writes files completely or not at all."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO


def as_path(owner: str, path: object, suffixes: tuple[str, ...] = ()) -> Path:
    """Converts a string to a path, and checks its suffix if there are `suffixes`."""
    if not isinstance(path, str | Path):
        raise TypeError(
            f"{owner}: path must be a string or a pathlib.Path, got "
            f"{type(path).__name__}."
        )
    path = Path(path)
    if not path.name:
        raise ValueError(f"{owner}: path must name a file, got {str(path)!r}.")
    if suffixes and path.suffix.lower() not in suffixes:
        raise ValueError(
            f"{owner}: path must end in {' or '.join(suffixes)}, got {str(path)!r}."
        )
    return path


@contextlib.contextmanager
def write_atomically(path: Path) -> Iterator[IO[bytes]]:
    """Opens a binary file that gets its name only once it is complete on disk.

    The data is written to `<name>.partial`, which is flushed to disk and then renamed.
    The folder is flushed too: otherwise a power cut could undo the rename. If writing
    fails, the partial file is removed and an existing file stays as it was.
    """
    partial = path.with_name(f"{path.name}.partial")
    try:
        with partial.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise
    _flush_folder(path.parent)


def _flush_folder(folder: Path) -> None:
    # Windows cannot open a folder, and some network file systems cannot flush one.
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
