"""Files of tokens, written so that a kill at any time loses little.

`commit` flushes everything to disk and returns how far it came. A writer that is made
with that cuts the files back to it, and goes on.
"""

import os
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ..core.files import sha256_of
from ..core.token_file import END_TYPE


class SplitWriter:
    """The documents of the training text, or of the held-out text.

    Args:
        folder: of the files.
        split: their first name.
        dtype: of the tokens.
        end: the token that ends a document.
        shard_tokens: the most that a file holds; a document may go on in the next.
        so_far: what `commit` returned.
    """

    def __init__(
        self,
        folder: Path,
        split: str,
        dtype: str,
        end: int,
        shard_tokens: int,
        so_far: dict[str, Any] | None = None,
    ):
        self.folder, self.split = folder, split
        self.dtype = np.dtype(dtype).newbyteorder("<")
        self.end_token, self.shard_tokens = end, shard_tokens
        so_far = so_far or {"tokens": 0, "bytes": 0, "documents": 0, "shards": []}
        self.tokens, self.bytes = so_far["tokens"], so_far["bytes"]
        self.documents = so_far["documents"]
        self.shards: list[int] = list(so_far["shards"])  # tokens in each
        self.ends_file = open_at(
            folder / f"{split}.ends", self.documents * END_TYPE.itemsize
        )
        self.file: BinaryIO | None = None
        if self.shards:
            self.file = self.open_shard()

    def shard_name(self, index: int) -> str:
        return f"{self.split}-{index:05d}.tokens"

    def open_shard(self) -> BinaryIO:
        path = self.folder / self.shard_name(len(self.shards) - 1)
        return open_at(path, self.shards[-1] * self.dtype.itemsize)

    def write(self, tokens_N: np.ndarray, text_bytes: int) -> None:
        """Appends tokens to the document that is being written."""
        self.bytes += text_bytes
        self.tokens += len(tokens_N)
        while len(tokens_N):
            if self.file is None or self.shards[-1] >= self.shard_tokens:
                self.close_file(self.file)
                self.shards.append(0)
                self.file = self.open_shard()
            now = tokens_N[: self.shard_tokens - self.shards[-1]]
            self.file.write(now.astype(self.dtype).tobytes())
            self.shards[-1] += len(now)
            tokens_N = tokens_N[len(now) :]

    def end_document(self) -> None:
        self.write(np.array([self.end_token]), 1)
        self.documents += 1
        self.ends_file.write(np.array([self.tokens], END_TYPE).tobytes())

    def commit(self) -> dict[str, Any]:
        for file in (self.file, self.ends_file):
            if file:
                flush(file)
        return self.counts() | {"shards": self.shards}

    def counts(self) -> dict[str, int]:
        return {
            "tokens": self.tokens,
            "bytes": self.bytes,
            "documents": self.documents,
        }

    def close(self) -> None:
        for file in (self.file, self.ends_file):
            self.close_file(file)

    def close_file(self, file: BinaryIO | None) -> None:
        if file and not file.closed:
            flush(file)
            file.close()

    def about(self) -> dict[str, Any]:
        """What the header keeps of the files; reads them for their checksums."""
        names = map(self.shard_name, range(len(self.shards)))
        return self.counts() | {
            "files": [
                {"name": name, "tokens": n, "sha256": sha256_of(self.folder / name)}
                for name, n in zip(names, self.shards, strict=True)
            ],
            "ends_sha256": sha256_of(self.folder / f"{self.split}.ends"),
        }


def open_at(path: Path, size: int) -> BinaryIO:
    """A file to append to, cut back to a size; shorter ones raise a `ValueError`."""
    file = path.open("r+b" if path.exists() else "w+b")
    if path.stat().st_size < size:
        file.close()
        raise ValueError(f"{path} is shorter than {size} bytes")
    file.truncate(size)
    file.seek(size)
    return file


def flush(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())
