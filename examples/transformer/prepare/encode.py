"""The work of a preparation: reads, encodes, writes, and commits how far it came."""

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, NamedTuple

from ..core.files import write_atomically
from ..core.settings import InputError
from ..core.token_file import HEADER, PROGRESS, SPLITS, VERSION, dtype_for
from ..core.tokenizer import Tokenizer
from .documents import Piece, pieces, size
from .settings import Settings, is_heldout
from .writer import SplitWriter

BATCH = 2**22  # bytes of text that are encoded together
COMMIT = 2**26  # bytes of text between two commits
BEGINNING: dict[str, Any] = {"position": (0, "", None), "splits": {}}


class Position(NamedTuple):
    """How far the source was read."""

    pieces: int
    sha256: str
    split: str | None  # of the document that is being written


class Changed(Exception):
    """What was written before does not fit the source any more."""


class Work:
    """One preparation: reads, encodes, writes, commits."""

    def __init__(
        self,
        settings: Settings,
        folder: Path,
        tokenizer: Tokenizer,
        say: Callable[[str], None],
    ):
        self.settings, self.folder, self.say = settings, folder, say
        self.tokenizer = tokenizer
        self.dtype = dtype_for(tokenizer.vocab_size)

    def run(self, progress: dict[str, Any] | None) -> None:
        so_far = progress or BEGINNING
        with ExitStack() as stack:
            try:
                self.writers = {
                    split: stack.enter_context(closing(writer))
                    for split, writer in self.make_writers(so_far)
                }
            except (ValueError, KeyError, TypeError) as error:
                raise Changed(str(error)) from None
            self.encode_all(Position(*so_far["position"]))

    def make_writers(self, so_far: dict[str, Any]) -> Iterator[tuple[str, SplitWriter]]:
        for split in SPLITS:
            yield (
                split,
                SplitWriter(
                    self.folder,
                    split,
                    self.dtype,
                    self.tokenizer.end,
                    self.settings.shard_tokens,
                    so_far["splits"].get(split),
                ),
            )

    def encode_all(self, position: Position) -> None:
        self.sha256, self.pieces, self.read = hashlib.sha256(), 0, 0
        self.total, self.began = size(self.settings.source), time.perf_counter()
        self.encoded = self.committed = 0
        self.shown = 0.0
        source = pieces(self.settings.source)
        self.split = self.skip(source, position)
        for batch in batches(source):
            self.encode(batch)
            if self.encoded - self.committed >= COMMIT:
                self.commit()
        if self.split:
            self.writers[self.split].end_document()

    def skip(self, source: Iterator[Piece], position: Position) -> str | None:
        """Reads what was encoded before; returns the split of its last document."""
        while self.pieces < position.pieces:
            piece = next(source, None)
            if piece is None:
                raise Changed("the source is shorter than before")
            self.count(piece)
        if position.pieces:
            if self.sha256.hexdigest() != position.sha256:
                raise Changed("the source is not what it was")
            unit, scale = _unit(self.read)
            self.say(f"going on after {self.read / scale:,.0f} {unit}")
        return position.split

    def count(self, piece: Piece) -> int:
        """Adds a piece to the checksum; returns its bytes."""
        text = piece.text.encode()
        self.sha256.update(b"\1" * piece.starts + text + b"\0")
        self.pieces += 1
        self.read += len(text)
        return len(text)

    def encode(self, batch: list[Piece]) -> None:
        encoded = self.tokenizer.encode([piece.text for piece in batch])
        for piece, tokens_N in zip(batch, encoded, strict=True):
            size = self.count(piece)
            self.encoded += size
            if piece.starts:
                if self.split:
                    self.writers[self.split].end_document()
                heldout = is_heldout(piece.text, self.settings.heldout_fraction)
                self.split = SPLITS[heldout]
            assert self.split
            self.writers[self.split].write(tokens_N, size)
        if self.read >= self.shown:
            self.show()

    def show(self) -> None:
        """A line for each tenth of the source, or for each 100 MB."""
        step = max((self.total or 10**9) / 10, 2**24)
        self.shown = self.read + step
        rate = self.encoded / (time.perf_counter() - self.began) / 1e6
        unit, scale = _unit(self.total or self.read)
        of = f" of {self.total / scale:,.0f}" if self.total else ""
        self.say(f"{self.read / scale:,.0f}{of} {unit}  {rate:.1f} MB/s")

    def commit(self) -> None:
        position = Position(self.pieces, self.sha256.hexdigest(), self.split)
        progress = {
            "settings": self.settings.describe(),
            "position": position,
            "splits": {split: x.commit() for split, x in self.writers.items()},
        }
        write_atomically(self.folder / PROGRESS, json.dumps(progress).encode())
        self.committed = self.encoded

    def finish(self) -> None:
        """Checks that there is enough, and writes the header."""
        counts = {split: x.documents for split, x in self.writers.items()}
        require_documents(self.settings, counts)
        header = {
            "format": "tokens of examples/transformer",
            "version": VERSION,
            "dtype": self.dtype,
            "vocab_size": self.tokenizer.vocab_size,
            "tokenizer": self.tokenizer.fingerprint,
            "end": self.tokenizer.end,
            "source": {
                "name": self.settings.source.name,
                "sha256": self.sha256.hexdigest(),
            },
            "cut": self.settings.source.cut,
            "heldout_fraction": self.settings.heldout_fraction,
            "splits": {split: x.about() for split, x in self.writers.items()},
        }
        content = json.dumps(header, indent=2) + "\n"
        write_atomically(self.folder / HEADER, content.encode())
        (self.folder / PROGRESS).unlink(missing_ok=True)


def require_documents(settings: Settings, counts: dict[str, int]) -> None:
    total, name = sum(counts.values()), settings.source.name
    if not total:
        raise InputError(
            f"data: {name} holds no documents. Name a source with text in it."
        )
    if not all(counts.values()):
        raise InputError(
            f"data: all {total} documents of {name} are in one part: "
            f"{counts['train']} to train on, {counts['heldout']} held out. Give more "
            f"documents, say what separates those of a file with --separator, or "
            f"choose another --heldout-fraction."
        )


def batches(source: Iterable[Piece]) -> Iterator[list[Piece]]:
    batch: list[Piece] = []
    characters = 0
    for piece in source:
        batch.append(piece)
        characters += len(piece.text)
        if characters >= BATCH:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch


def _unit(size: int) -> tuple[str, float]:
    """The unit in which a number of bytes is shown, and its bytes."""
    if size >= 10**6:
        return "MB", 1e6
    return ("kB", 1e3) if size >= 10**3 else ("bytes", 1.0)
