"""Streams of tokens, read by index: arrays in memory, files on disk, and mixtures.

A stream says which windows a batch takes, as a pure function of random numbers that it
is given, and reads only those that it is asked for.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from .settings import InputError


class Tokens(Protocol):
    def __len__(self) -> int: ...

    def random_starts(
        self, rng: np.random.Generator, count: int, length: int
    ) -> np.ndarray:
        """Where `count` random windows of length + 1 tokens start, int64."""

    def even_starts(self, count: int, length: int) -> np.ndarray:
        """The same, spread evenly over the stream."""

    def windows(self, starts_B: np.ndarray, length: int) -> np.ndarray:
        """The windows [B, length] that begin there, int32."""


class Stream:
    """The tokens of one or several arrays, one after the other.

    Where one array ends and the next begins makes no difference.

    Args:
        arrays: unsigned integers [N]; memory-mapped files are read where they are used.
        vocab_size: a token beyond it is an error, as damaged files have them.
    """

    def __init__(self, arrays: Sequence[np.ndarray], vocab_size: int | None = None):
        self.arrays, self.vocab_size = list(arrays), vocab_size
        self.ends = np.cumsum([0, *map(len, arrays)])

    def __len__(self) -> int:
        return int(self.ends[-1])

    def random_starts(
        self, rng: np.random.Generator, count: int, length: int
    ) -> np.ndarray:
        return rng.integers(len(self) - length, size=count)

    def even_starts(self, count: int, length: int) -> np.ndarray:
        return np.linspace(0, len(self) - length - 1, count).astype(int)

    def windows(self, starts_B: np.ndarray, length: int) -> np.ndarray:
        if len(self.arrays) == 1:
            indices_BxL = starts_B[:, None] + np.arange(length)
            windows_BxL = self.arrays[0][indices_BxL].astype(np.int32)
        else:
            windows_BxL = np.empty((len(starts_B), length), np.int32)
            for window_L, start in zip(windows_BxL, starts_B, strict=True):
                self.read(int(start), window_L)
        if self.vocab_size and windows_BxL.max(initial=0) >= self.vocab_size:
            raise InputError(
                f"data: there is a token {windows_BxL.max()} in a file of "
                f"{self.vocab_size} tokens: it is damaged. Find the file with "
                f"`python -m examples.transformer.prepare --check FOLDER`."
            )
        return windows_BxL

    def read(self, start: int, into: np.ndarray) -> None:
        """Fills an array with the tokens from `start` on."""
        done = 0
        while done < len(into):
            part = int(np.searchsorted(self.ends, start + done, "right")) - 1
            offset = start + done - self.ends[part]
            piece = self.arrays[part][offset : offset + len(into) - done]
            into[done : done + len(piece)] = piece
            done += len(piece)


class Mixture:
    """Several streams: each window comes from one of them, chosen by weight.

    A start is that in its stream, plus the lengths of the streams before it.
    """

    def __init__(self, streams: Sequence[Tokens], weights: Sequence[float]):
        self.streams = list(streams)
        self.weights = np.array(weights) / np.sum(weights)
        self.offsets = np.cumsum([0, *map(len, streams)])

    def __len__(self) -> int:
        return int(self.offsets[-1])

    def random_starts(
        self, rng: np.random.Generator, count: int, length: int
    ) -> np.ndarray:
        chosen_B = rng.choice(len(self.streams), size=count, p=self.weights)
        windows_S = np.diff(self.offsets) - length
        return self.offsets[chosen_B] + rng.integers(windows_S[chosen_B])

    def even_starts(self, count: int, length: int) -> np.ndarray:
        """A share of the windows from each stream, to the nearest window."""
        ends = np.rint(np.cumsum(self.weights) * count).astype(int)
        counts = np.diff(ends, prepend=0)
        return np.concatenate(
            [
                offset + stream.even_starts(n, length)
                for stream, offset, n in zip(
                    self.streams, self.offsets, counts, strict=False
                )
            ]
        )

    def windows(self, starts_B: np.ndarray, length: int) -> np.ndarray:
        chosen_B = np.searchsorted(self.offsets, starts_B, "right") - 1
        windows_BxL = np.empty((len(starts_B), length), np.int32)
        for index in np.unique(chosen_B):
            rows = chosen_B == index
            windows_BxL[rows] = self.streams[index].windows(
                starts_B[rows] - self.offsets[index], length
            )
        return windows_BxL
