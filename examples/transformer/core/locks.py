"""Folders that one process uses at a time, on Linux, macOS and Windows."""

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


class InUse(Exception):
    """Another process has the lock."""


def lock(folder: Path) -> Callable[[], None]:
    """Locks a folder until the process ends, however it ends.

    Returns:
        What releases the lock.

    Raises:
        InUse: somebody else holds it, or has just renamed the folder.
    """
    return lock_itself(folder) if fcntl else lock_beside(folder)


def lock_itself(folder: Path) -> Callable[[], None]:
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not os.path.samestat(os.fstat(handle), folder.stat()):
            raise InUse
    except (BlockingIOError, FileNotFoundError):
        os.close(handle)
        raise InUse from None
    except BaseException:
        os.close(handle)
        raise
    return lambda: os.close(handle)


def lock_beside(folder: Path) -> Callable[[], None]:
    """Where no folder can be opened, and none with an open file be renamed."""
    import msvcrt

    file = folder.with_name(f"{folder.name}.lock")
    handle = os.open(file, os.O_RDWR | os.O_CREAT)
    try:
        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
    except OSError:
        os.close(handle)
        raise InUse from None

    def release() -> None:
        os.close(handle)
        with contextlib.suppress(OSError):  # another process may be waiting for it
            file.unlink()

    return release
