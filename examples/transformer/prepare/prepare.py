"""From text to a folder of tokens.

The folder is called NAME.incomplete until all is written. A preparation that was
killed goes on from its last commit: it reads the text again up to there, without
encoding it, and starts anew if the text or the settings have changed.
"""

import json
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ..core import files
from ..core.files import flush_folder, free_name, write_atomically
from ..core.locks import InUse, lock
from ..core.settings import InputError
from ..core.token_file import (
    HEADER,
    PROGRESS,
    SPLITS,
    TOKENIZER,
    Prepared,
    open_prepared,
)
from ..core.tokenizer import (
    BytePair,
    Bytes,
    Tokenizer,
    load_byte_pair,
    train_byte_pair,
)
from .documents import pieces, size
from .encode import BEGINNING, Changed, Work
from .settings import Settings, is_heldout


def prepare(
    settings: Settings,
    folder: Path,
    *,
    overwrite: bool = False,
    say: Callable[[str], None] = lambda line: None,
) -> Prepared:
    """Writes the tokens; returns them, opened. `InputError` if the source is bad."""
    incomplete = files.incomplete(folder)
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
    try:
        release = lock(incomplete)
    except InUse:
        raise InputError(
            f"{incomplete} is being written by another process. Choose another "
            f"--output, or wait for it."
        ) from None
    try:
        write(settings, incomplete, say)
        # Before the lock is released: who got it would clear the finished tokens.
        put_in_place(incomplete, folder)
    finally:
        release()
    return open_prepared(folder)


def write(settings: Settings, incomplete: Path, say: Callable[[str], None]) -> None:
    """All files, from where an earlier preparation came to."""
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


def put_in_place(incomplete: Path, folder: Path) -> None:
    """Renames; what was there before is deleted after that."""
    old = free_name(folder, "replaced") if folder.exists() else None
    if old:
        folder.rename(old)
    incomplete.rename(folder)
    flush_folder(folder.parent)
    if old:
        shutil.rmtree(old)


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
