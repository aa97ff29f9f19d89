"""From text to a folder of tokens.

The folder is called NAME.incomplete until all is written. A preparation that was
killed goes on from its last commit: it reads the text again up to there, without
encoding it, and starts anew if the text or the settings have changed.
"""

import hashlib
import json
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from ..core.files import flush_folder, free_name, write_atomically
from ..core.settings import InputError
from ..core.token_file import (
    HEADER,
    PROGRESS,
    SPLITS,
    TOKENIZER,
    VERSION,
    Prepared,
    dtype_for,
    open_prepared,
)
from ..core.tokenizer import (
    BytePair,
    Bytes,
    Tokenizer,
    load_byte_pair,
    train_byte_pair,
)
from .documents import Piece, Source, pieces, size
from .writer import SplitWriter

BATCH = 2**22  # bytes of text that are encoded together
COMMIT = 2**26  # bytes of text between two commits
BEGINNING: dict[str, Any] = {"position": (0, "", None), "splits": {}}


@dataclass(frozen=True)
class Settings:
    """What decides the tokens. `tokenizer` is "bytes", "train" or a tokenizer.json."""

    source: Source
    tokenizer: str = "bytes"
    vocab_size: int = 8192  # of a tokenizer that is trained
    train_bytes: int = 100_000_000  # of text that it is trained on
    end_token: str | None = None
    heldout_fraction: float = 0.05
    shard_tokens: int = 2**28

    def __post_init__(self) -> None:
        if not 0 < self.heldout_fraction < 1:
            raise InputError(
                f"heldout_fraction={self.heldout_fraction} is invalid: it must be "
                f"above 0 and below 1."
            )
        for name in ("shard_tokens", "train_bytes"):
            if getattr(self, name) < 1:
                raise InputError(
                    f"{name}={getattr(self, name)} is invalid: it must be 1 or more."
                )
        if self.source.separator == "":
            raise InputError("separator: it is empty. Give a text, or leave it out.")

    def describe(self) -> dict[str, Any]:
        return json.loads(json.dumps(vars(self) | {"source": self.source._asdict()}))


class Position(NamedTuple):
    """How far the source was read."""

    pieces: int
    sha256: str
    split: str | None  # of the document that is being written


def is_heldout(text: str, fraction: float) -> bool:
    """Whether the document that begins with this text is held out.

    It depends on the document alone: more data moves none from one part to the other,
    and copies of a document are in the same part.
    """
    digest = hashlib.sha256(text.encode()).digest()
    return int.from_bytes(digest[:8], "big") < fraction * 2**64


def prepare(
    settings: Settings,
    folder: Path,
    *,
    overwrite: bool = False,
    say: Callable[[str], None] = lambda line: None,
) -> Prepared:
    """Writes the tokens; returns them, opened. `InputError` if the source is bad."""
    incomplete = folder.with_name(folder.name + ".incomplete")
    if folder.exists() and not (overwrite and (folder / HEADER).exists()):
        raise InputError(
            f"{folder} exists already. Choose another --output, or replace prepared "
            f"tokens with --overwrite."
        )
    data = Path(settings.source.data or "").expanduser().resolve()
    if data.is_dir() and settings.source.data and data in folder.resolve().parents:
        raise InputError(
            f"{folder} is in the source, {data}: it would be read as a text. Choose "
            f"another --output."
        )
    incomplete.mkdir(parents=True, exist_ok=True)
    progress = read_progress(incomplete, settings)
    if progress is None:
        clear(incomplete)
        beginning = {"settings": settings.describe()} | BEGINNING
        write_atomically(incomplete / PROGRESS, json.dumps(beginning).encode())
    tokenizer = make_tokenizer(settings, incomplete, say)
    work = Work(settings, incomplete, tokenizer, say)
    try:
        work.run(progress)
    except Changed as reason:
        say(f"starting again: {reason}")
        clear(incomplete, but=(TOKENIZER, PROGRESS))
        work.run(None)
    work.finish()
    put_in_place(incomplete, folder)
    return open_prepared(folder)


def put_in_place(incomplete: Path, folder: Path) -> None:
    """Renames; what was there before is deleted after that."""
    old = free_name(folder, "replaced") if folder.exists() else None
    if old:
        folder.rename(old)
    incomplete.rename(folder)
    flush_folder(folder.parent)
    if old:
        shutil.rmtree(old)


class Changed(Exception):
    """What was written before does not fit the source any more."""


def read_progress(folder: Path, settings: Settings) -> dict[str, Any] | None:
    try:
        progress = json.loads((folder / PROGRESS).read_bytes())
        return progress if progress["settings"] == settings.describe() else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def clear(folder: Path, but: tuple[str, ...] = ()) -> None:
    """Deletes what an earlier preparation wrote."""
    ours = [HEADER, TOKENIZER, PROGRESS, *(f"{s}.ends" for s in SPLITS)]
    for path in folder.iterdir():
        if path.name in ours or path.suffix in (".tokens", ".partial"):
            if path.name not in but:
                path.unlink()
        else:
            raise InputError(
                f"{folder} holds {path.name}, which no preparation wrote. Move it "
                f"away, or choose another --output."
            )


def make_tokenizer(
    settings: Settings, folder: Path, say: Callable[[str], None]
) -> Tokenizer:
    """That of the settings; the one that was trained before the kill, if it is there.

    Held-out text is not trained on.
    """
    if settings.tokenizer == "bytes":
        return Bytes()
    kept = folder / TOKENIZER
    if kept.exists():
        return load_byte_pair(kept, settings.end_token)
    if settings.tokenizer == "train":
        began = time.perf_counter()
        tokenizer = train_byte_pair(sample(settings), settings.vocab_size)
        seconds = time.perf_counter() - began
        say(
            f"trained a tokenizer of {tokenizer.vocab_size:,} tokens in {seconds:.0f} s"
        )
    else:
        path = Path(settings.tokenizer).expanduser()
        tokenizer = load_byte_pair(path, settings.end_token)
    assert isinstance(tokenizer, BytePair)
    write_atomically(kept, tokenizer.content.encode())
    return tokenizer


def sample(settings: Settings) -> Iterator[str]:
    """Texts to train a tokenizer on: all, or about `train_bytes` from everywhere.

    Of a source of unknown size, the beginning.
    """
    total = size(settings.source)
    every = max(-(-total // settings.train_bytes), 1) if total else 1
    taken, heldout = 0, False
    for number, piece in enumerate(pieces(settings.source)):
        if piece.starts:
            heldout = is_heldout(piece.text, settings.heldout_fraction)
        if heldout or number % every:
            continue
        yield piece.text
        taken += len(piece.text)
        if total is None and taken >= settings.train_bytes:
            return


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
        try:
            self.writers = {
                split: SplitWriter(
                    self.folder,
                    split,
                    self.dtype,
                    self.tokenizer.end,
                    self.settings.shard_tokens,
                    so_far["splits"].get(split),
                )
                for split in SPLITS
            }
        except ValueError as error:
            raise Changed(str(error)) from None
        self.sha256, self.pieces, self.read = hashlib.sha256(), 0, 0
        self.total, self.began = size(self.settings.source), time.perf_counter()
        self.encoded = self.committed = 0
        self.shown = 0.0
        source = pieces(self.settings.source)
        self.split = self.skip(source, Position(*so_far["position"]))
        try:
            for batch in batches(source):
                self.encode(batch)
                if self.encoded - self.committed >= COMMIT:
                    self.commit()
            if self.split:
                self.writers[self.split].end_document()
        finally:
            for writer in self.writers.values():
                writer.close()

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
            self.say(f"going on after {self.read / 1e6:,.0f} MB")
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
        of = f" of {self.total / 1e6:,.0f}" if self.total else ""
        self.say(f"{self.read / 1e6:,.0f}{of} MB  {rate:.1f} MB/s")

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
