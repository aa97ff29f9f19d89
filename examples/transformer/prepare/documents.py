"""Documents of a source, in pieces of bounded size.

A source is a text file, a folder of them, or a dataset of Hugging Face's `datasets`.
Files that end in .jsonl hold a JSON object with a text on each line.
"""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from ..core.settings import InputError
from ..core.text import STANDARD_LIBRARY, list_files

PIECE = 2**16  # bytes of the pieces that a longer document is read in
REMOTE = "hf:"


class Piece(NamedTuple):
    """A part of a document."""

    text: str
    starts: bool  # whether a document starts with it


class Source(NamedTuple):
    """Where documents come from.

    Args:
        data: file, folder, or hf:NAME or hf:NAME:CONFIG.
        separator: text between the documents of a file; without one, a file in a
            folder is a document, and a single file is cut into documents of 64 KiB.
        field: of a JSON line, or of a row of a dataset, that holds the text.
        split: of a dataset.
    """

    data: str | None
    separator: str | None = None
    field: str = "text"
    split: str = "train"

    @property
    def name(self) -> str:
        return self.data or STANDARD_LIBRARY

    @property
    def cut(self) -> str:
        """How documents were told apart, as the header keeps it."""
        return f"separator {self.separator!r}, pieces of {PIECE}"


def size(source: Source) -> int | None:
    """Bytes of the source, if they are known before it is read."""
    if source.name.startswith(REMOTE):
        return None
    return sum(path.stat().st_size for path in list_files(source.data)[1])


def pieces(source: Source) -> Iterator[Piece]:
    """All pieces in order; raises `InputError` at what is no text."""
    if source.name.startswith(REMOTE):
        for text in rows(source):
            yield from document(text.encode())
        return
    _, paths = list_files(source.data)
    for path in paths:
        if path.suffix == ".jsonl":
            for text in json_lines(path, source.field):
                yield from document(text.encode())
        else:
            yield from from_file(path, source.separator, single=len(paths) == 1)


def document(text: bytes) -> Iterator[Piece]:
    """The pieces of one document; none if it is blank."""
    if text.strip():
        blocks = (text[i : i + PIECE] for i in range(0, len(text), PIECE))
        yield from in_pieces(blocks, whole=False, where="")


def from_file(path: Path, separator: str | None, single: bool) -> Iterator[Piece]:
    where = f"data: {path}"
    try:
        with path.open("rb") as file:
            blocks = iter(lambda: file.read(PIECE), b"")
            if separator:
                yield from separated(blocks, separator.encode(), where)
            else:
                yield from in_pieces(blocks, whole=single, where=where)
    except OSError as error:
        raise InputError(f"{where} cannot be read: {error.strerror}.") from None


def separated(blocks: Iterator[bytes], separator: bytes, where: str) -> Iterator[Piece]:
    """Documents between separators. A long one is read in pieces as well."""
    rest, starts, offset = b"", True, 0
    for block in blocks:
        *documents, rest = (rest + block).split(separator)
        for text in documents:
            if text.strip() or not starts:
                yield Piece(decoded(text, offset, where), starts)
            starts = True
            offset += len(text) + len(separator)
        if len(rest) >= 2 * PIECE and rest.strip():
            # Far enough from the end to leave the beginning of a separator alone.
            cut = place_to_cut(rest[: len(rest) - len(separator)])
            yield Piece(decoded(rest[:cut], offset, where), starts)
            rest, starts, offset = rest[cut:], False, offset + cut
    if rest.strip():
        yield Piece(decoded(rest, offset, where), starts)


def in_pieces(blocks: Iterator[bytes], whole: bool, where: str) -> Iterator[Piece]:
    """Text in pieces, which end where a line does; if `whole`, each is a document."""
    rest, starts, offset = b"", True, 0
    for block in blocks:
        rest += block
        while len(rest) > PIECE:
            cut = place_to_cut(rest[:PIECE])
            yield Piece(decoded(rest[:cut], offset, where), starts)
            rest, starts, offset = rest[cut:], whole, offset + cut
    if rest and (rest.strip() or not starts):
        yield Piece(decoded(rest, offset, where), starts)


def place_to_cut(text: bytes) -> int:
    """After the last line, or else after the last whole character."""
    if line := text.rfind(b"\n") + 1:
        return line
    cut = len(text)
    while cut > len(text) - 4 and text[cut - 1] & 0xC0 == 0x80:
        cut -= 1  # continues a character
    return cut - 1 if text[cut - 1] >= 0xC0 else cut


def decoded(text: bytes, offset: int, where: str) -> str:
    if (nul := text.find(b"\0")) >= 0:
        raise InputError(
            f"{where} is not text: byte {offset + nul:,} is NUL. Take it out."
        )
    try:
        return text.decode()
    except UnicodeDecodeError as error:
        raise InputError(
            f"{where} is not UTF-8 text (byte {offset + error.start:,}: "
            f"{error.reason}). Convert it, or take it out."
        ) from None


def json_lines(path: Path, field: str) -> Iterator[str]:
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            where = f"data: {path}, line {number:,}"
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise InputError(f"{where} is no JSON ({error}).") from None
            yield text_of(row, field, where)


def rows(source: Source) -> Iterator[str]:
    """The texts of a dataset, which is streamed and never held whole."""
    try:
        import datasets  # optional
    except ImportError:
        raise InputError(
            f"data={source.data!r} needs the package datasets: pip install datasets. "
            f"Or name a file or a folder."
        ) from None
    name, _, config = source.name.removeprefix(REMOTE).partition(":")
    try:
        loaded: Iterable[Any] = datasets.load_dataset(
            name, config or None, split=source.split, streaming=True
        )
    except Exception as error:  # of the network, of the hub, of the dataset
        raise InputError(
            f"data={source.data!r} cannot be loaded ({type(error).__name__}: {error})."
        ) from None
    for number, row in enumerate(loaded):
        yield text_of(row, source.field, f"data: {source.name}, row {number:,}")


def text_of(row: Any, field: str, where: str) -> str:
    text = row.get(field) if isinstance(row, dict) else None
    if not isinstance(text, str):
        fields = ", ".join(row) if isinstance(row, dict) else type(row).__name__
        raise InputError(
            f"{where} has no text in {field!r} (it has {fields}). Name the field of "
            f"the text with --field."
        )
    if "\0" in text:
        raise InputError(f"{where} is not text: it holds a NUL character.")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InputError(f"{where} is no Unicode text ({error.reason}).") from None
    return text
