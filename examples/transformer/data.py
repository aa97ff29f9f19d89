"""Text in, batches of bytes out.

A batch is a pure function of (seed, step): two runs with one seed see the same
batches, and a run that resumes at step 1000 needs nothing but that number.
"""

import hashlib
import sysconfig
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .config import Config
from .option import InputError

# Test suites and installed packages differ from machine to machine far more than the
# library itself, and would triple the text.
NOT_LIBRARY = {
    "test", "tests", "idlelib", "site-packages", "dist-packages", "__pycache__",
}  # fmt: skip


@dataclass(frozen=True)
class Corpus:
    """Text as bytes, split once: the end is held out."""

    name: str
    train: np.ndarray  # uint8 [N]
    heldout: np.ndarray  # uint8 [M]
    sha256: str  # of the whole text; numbers compare within one corpus only
    files: int

    @property
    def size(self) -> int:
        return len(self.train) + len(self.heldout)


def load_corpus(config: Config) -> Corpus:
    """Reads the text that `config.data` names and splits it."""
    name, paths = list_files(config.data)
    text = b"\n".join(read_text(path) for path in paths)
    if not text.strip():
        raise InputError(f"data: {name} holds no text. Name a file with text in it.")
    tokens = np.frombuffer(text, np.uint8)
    split = len(tokens) - int(len(tokens) * config.heldout_fraction)
    corpus = Corpus(
        name=name,
        train=tokens[:split],
        heldout=tokens[split:],
        sha256=hashlib.sha256(text).hexdigest(),
        files=len(paths),
    )
    shortest = min(len(corpus.train), len(corpus.heldout))
    if shortest < config.length + 1:
        raise InputError(
            f"data: {name} is too short: its {corpus.size:,} bytes split into "
            f"{len(corpus.train):,} to train on and {len(corpus.heldout):,} held out, "
            f"and length={config.length} needs {config.length + 1:,} in each. "
            f"Give more text, a smaller length or another heldout_fraction."
        )
    return corpus


def list_files(data: str | None) -> tuple[str, list[Path]]:
    """Name of the corpus, and its files in an order that no machine changes."""
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
    """The bytes of a text file; refuses what is not text rather than skip it."""
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
    corpus: Corpus, config: Config, step: int, rows: np.ndarray | None = None
) -> np.ndarray:
    """Random crops [batch_size, length + 1]; the last token is only a target.

    With `rows`, those rows of the batch and no others: a process's own.
    """
    rng = np.random.default_rng([config.seed, step])
    starts_B = rng.integers(len(corpus.train) - config.length, size=config.batch_size)
    starts_R = starts_B if rows is None else starts_B[rows]
    return crops(corpus.train, starts_R, config.length + 1)


def heldout_batches(
    corpus: Corpus, config: Config, rows: np.ndarray | None = None
) -> list[np.ndarray]:
    """The same sequences at every evaluation, spread evenly over the held-out text.

    Whole batches only (rounded up), since each must divide over the devices.
    """
    count = -(-config.eval_sequences // config.batch_size)
    starts_N = np.linspace(
        0, len(corpus.heldout) - config.length - 1, count * config.batch_size
    ).astype(int)
    starts_NxB = starts_N.reshape(count, config.batch_size)
    starts_NxR = starts_NxB if rows is None else starts_NxB[:, rows]
    return [crops(corpus.heldout, s, config.length + 1) for s in starts_NxR]


def crops(tokens_N: np.ndarray, starts_B: np.ndarray, length: int) -> np.ndarray:
    """Windows [B, length] of the text, int32."""
    return tokens_N[starts_B[:, None] + np.arange(length)].astype(np.int32)
