"""Checks paths, and writes files completely or not at all."""

import contextlib
import errno
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


def with_ending(path: Path, ending: str) -> Path:
    """Appends an ending, unless the path has it.

    Not with_suffix, which would write lr0.01 and lr0.02 to the same file.
    """
    return path if path.suffix == ending else path.with_name(f"{path.name}{ending}")


def as_saved(path: Path, ending: str) -> Path:
    """The file that was saved as `path`, where its ending may have been appended."""
    longer = with_ending(path, ending)
    return longer if longer.is_file() and not path.exists() else path


@contextlib.contextmanager
def write_atomically(path: Path) -> Iterator[IO[bytes]]:
    """Opens a binary file that gets its name only once it is complete on disk.

    The data is written to `<name>.partial`, which is flushed to disk and then renamed.
    The folder is flushed too: otherwise a power cut could undo the rename. If writing
    fails, the partial file is removed and an existing file stays as it was. A symbolic
    link under the name of the partial file is removed, not followed.
    """
    if not path.parent.is_dir():
        reason = "The folder does not exist; create it first"
        raise FileNotFoundError(errno.ENOENT, reason, str(path.parent))
    partial = path.with_name(f"{path.name}.partial")
    partial.unlink(missing_ok=True)  # of an interrupted run
    try:
        with partial.open("xb") as file:  # "x" does not follow a link either
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            partial.unlink()
        if isinstance(error, OSError) and error.filename is None:
            error.filename = str(path)  # a full disk is reported without it
        raise
    _flush_folder(path.parent)


@contextlib.contextmanager
def lock_folder(folder: Path, in_use: Exception) -> Iterator[None]:
    """Locks a folder for this process, until it leaves or ends.

    Raises `in_use` if somebody else holds the lock. Where there are no locks (Windows,
    some network file systems) nothing is locked.
    """
    try:
        import fcntl
    except ImportError:
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise in_use from None
        except OSError:
            pass
        yield
    finally:
        os.close(descriptor)


def _flush_folder(folder: Path) -> None:
    # Windows cannot open a folder, and some network file systems cannot flush one.
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
