"""Text in, batches of bytes out.

A batch is a pure function of (seed, step): two runs with the same seed see the same
batches, and a run that resumes at step 1000 needs only that number.
"""

import hashlib
import sysconfig
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .settings import InputError

# Tests and installed packages differ between machines far more than the library does,
# and would triple the text.
NOT_LIBRARY = {
    "test", "tests", "idlelib", "site-packages", "dist-packages", "__pycache__",
}  # fmt: skip


@dataclass(frozen=True)
class Corpus:
    """Text as bytes, split into training and held-out text."""

    name: str
    train: np.ndarray  # uint8 [N]
    heldout: np.ndarray  # uint8 [M], the end of the text
    sha256: str  # of the whole text; losses compare only within one corpus
    files: int

    @property
    def size(self) -> int:
        return len(self.train) + len(self.heldout)


def load_corpus(
    data: str | None = None, heldout_fraction: float = 0.05, length: int = 1
) -> Corpus:
    """Reads and splits a text.

    Args:
        data: a text file or a folder of text files; None means the source code of
            this Python's standard library.
        heldout_fraction: share of the text, at its end, that is held out.
        length: of the sequences; each part must hold at least one.
    """
    name, text, files = read_all(data)
    tokens = np.frombuffer(text, np.uint8)
    split = len(tokens) - int(len(tokens) * heldout_fraction)
    corpus = Corpus(
        name=name,
        train=tokens[:split],
        heldout=tokens[split:],
        sha256=hashlib.sha256(text).hexdigest(),
        files=files,
    )
    shortest = min(len(corpus.train), len(corpus.heldout))
    if shortest < length + 1:
        raise InputError(
            f"data: {name} is too short: its {corpus.size:,} bytes split into "
            f"{len(corpus.train):,} for training and {len(corpus.heldout):,} held out, "
            f"and length={length} needs {length + 1:,} in each. "
            f"Give more text, a smaller length or another heldout_fraction."
        )
    return corpus


def load_heldout(data: str, length: int = 1) -> Corpus:
    """Reads a text that is for evaluation alone: all of it is held out."""
    name, text, files = read_all(data)
    tokens = np.frombuffer(text, np.uint8)
    if len(tokens) < length + 1:
        raise InputError(
            f"eval_data: {name} is too short: length={length} needs {length + 1:,} "
            f"bytes, and it has {len(tokens):,}."
        )
    return Corpus(name, tokens[:0], tokens, hashlib.sha256(text).hexdigest(), files)


def read_all(data: str | None) -> tuple[str, bytes, int]:
    """The name of a corpus, its text, and the number of its files."""
    name, paths = list_files(data)
    text = b"\n".join(read_text(path) for path in paths)
    if not text.strip():
        raise InputError(f"data: {name} holds no text. Name a file with text in it.")
    return name, text, len(paths)


def list_files(data: str | None) -> tuple[str, list[Path]]:
    """The name of the corpus, and its files in the same order on every machine."""
    if data is None:
        root = Path(sysconfig.get_path("stdlib"))
        paths = (
            p for p in root.rglob("*.py") if not NOT_LIBRARY & set(relative(p, root))
        )
        return "the Python standard library", sorted(
            paths, key=lambda p: relative(p, root)
        )
    root = Path(data).expanduser()
    if root.is_file():
        return str(data), [root]
    if root.is_dir():
        paths = (path for path in root.rglob("*") if path.is_file())
        return str(data), sorted(paths, key=lambda p: relative(p, root))
    raise InputError(
        f"data={data!r} does not exist (looked in {Path.cwd()}). "
        f"Name a text file or a folder of text files, or leave it out."
    )


def relative(path: Path, root: Path) -> tuple[str, ...]:
    return path.relative_to(root).parts


def read_text(path: Path) -> bytes:
    """The bytes of a text file. A file that is not text is an error, never skipped."""
    try:
        text = path.read_bytes()
        text.decode("utf-8")
    except OSError as error:
        raise InputError(f"data: {path} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError as error:
        raise InputError(
            f"data: {path} is not UTF-8 text (byte {error.start:,}: {error.reason}). "
            f"Convert it, or take it out of the folder."
        ) from None
    if b"\0" in text:
        raise InputError(
            f"data: {path} is not text: byte {text.index(0):,} is NUL. "
            f"Take it out of the folder."
        )
    return text


def training_batch(
    corpus: Corpus,
    seed: int,
    step: int,
    *,
    batch_size: int,
    length: int,
    rows: np.ndarray | None = None,
) -> np.ndarray:
    """Random crops [batch_size, length + 1]; the last token is only a target.

    With `rows`, only those rows of the batch: the ones that this process holds.
    """
    rng = np.random.default_rng([seed, step])
    starts_B = rng.integers(len(corpus.train) - length, size=batch_size)
    starts_R = starts_B if rows is None else starts_B[rows]
    return crops(corpus.train, starts_R, length + 1)


def heldout_batches(
    corpus: Corpus,
    sequences: int,
    *,
    batch_size: int,
    length: int,
    rows: np.ndarray | None = None,
) -> list[np.ndarray]:
    """The same crops at every evaluation, spread evenly over the held-out text.

    `sequences` is rounded up to whole batches, since each must divide over the devices.
    """
    count = -(-sequences // batch_size)
    starts_N = np.linspace(
        0, len(corpus.heldout) - length - 1, count * batch_size
    ).astype(int)
    starts_NxB = starts_N.reshape(count, batch_size)
    starts_NxR = starts_NxB if rows is None else starts_NxB[:, rows]
    return [crops(corpus.heldout, starts, length + 1) for starts in starts_NxR]


def crops(tokens_N: np.ndarray, starts_B: np.ndarray, length: int) -> np.ndarray:
    """Windows [B, length] of the text, int32."""
    return tokens_N[starts_B[:, None] + np.arange(length)].astype(np.int32)
