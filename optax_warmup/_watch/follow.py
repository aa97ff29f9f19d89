"""Files that another process writes: lines of a growing one, and versions of others."""

import os
from array import array
from pathlib import Path
from typing import BinaryIO, NamedTuple

_TAIL = 256  # bytes before the end that show whether a file is still the same


class News(NamedTuple):
    """What a poll found.

    Attributes:
        lines: lines that were not there before, without their ends.
        dropped: how many of the last lines so far are there no longer.
        rest: what stands behind the last whole line.
    """

    lines: list[bytes]
    dropped: int = 0
    rest: bytes = b""


class GrowingFile:
    """The lines of a file that grows, is cut, rewritten or replaced.

    A line counts once it ends.
    """

    def __init__(self) -> None:
        self._hashes = array("q")  # of the lines so far
        self._inode = (0, 0)
        self._end = 0  # of the last whole line
        self._tail = b""

    def __len__(self) -> int:
        return len(self._hashes)

    def poll(self, path: Path) -> News:
        """Reads what is new. A file that is not there at the moment has no news."""
        try:
            with path.open("rb") as file:
                status = os.fstat(file.fileno())
                grown = self._has_grown(file, status)
                file.seek(self._end if grown else 0)
                text = file.read()
        except OSError:
            return News([])
        *lines, rest = text.split(b"\n")
        whole = text[: len(text) - len(rest)]
        self._inode = (status.st_dev, status.st_ino)
        if not grown:
            self._end, self._tail = 0, b""
        self._end += len(whole)
        self._tail = (self._tail + whole[-_TAIL:])[-_TAIL:]
        kept = len(self) if grown else self._in_common(lines)
        dropped = len(self) - kept
        del self._hashes[kept:]
        new = lines if grown else lines[kept:]
        self._hashes.extend(map(hash, new))
        return News(new, dropped, rest)

    def _has_grown(self, file: BinaryIO, status: os.stat_result) -> bool:
        """Whether the file is the one of before, with nothing or something behind it.

        Its end is looked at, since it may have been cut and have grown again.
        """
        if self._inode != (status.st_dev, status.st_ino) or status.st_size < self._end:
            return False
        file.seek(self._end - len(self._tail))
        return file.read(len(self._tail)) == self._tail

    def _in_common(self, lines: list[bytes]) -> int:
        """How many of the first lines are those of before."""
        for number, (line, before) in enumerate(zip(lines, self._hashes, strict=False)):
            if hash(line) != before:
                return number
        return min(len(lines), len(self))


class ReplacedFile:
    """A file of which each version is written as a whole."""

    def __init__(self) -> None:
        self._seen: tuple[int, ...] = ()

    def is_new(self, path: Path) -> bool:
        """Whether there is a version that was not asked about before."""
        try:
            found = path.stat()
        except OSError:
            return False
        version = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)
        new, self._seen = version != self._seen, version
        return new
