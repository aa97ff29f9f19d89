"""Text or prepared tokens in, batches of tokens out.

A batch is a pure function of (seed, step): two runs with the same seed see the same
batches, and a run that resumes at step 1000 needs only that number.

A text is read whole, byte by byte. What is larger than memory, or has another
tokenizer, is prepared first (`prepare/`), and read where a batch needs it.
"""

import hashlib
import sysconfig
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .settings import InputError
from .token_file import PROGRESS, Prepared, is_prepared, open_prepared
from .tokenizer import Bytes, Tokenizer
from .tokens import Mixture, Stream, Tokens

# Tests and installed packages differ between machines far more than the library does,
# and would triple the text.
NOT_LIBRARY = {
    "test", "tests", "idlelib", "site-packages", "dist-packages", "__pycache__",
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Corpus:
    """Tokens of a training text and of a held-out text."""

    name: str
    train: np.ndarray | Tokens  # a text's bytes are an array, uint8 [N]
    heldout: np.ndarray | Tokens
    sha256: str  # of all of it; losses compare only within one corpus
    files: int
    bytes: int
    tokenizer: Tokenizer = Bytes()

    @property
    def size(self) -> int:
        """In tokens."""
        return len(self.train) + len(self.heldout)


def load_corpus(
    data: str | None = None, heldout_fraction: float = 0.05, length: int = 1
) -> Corpus:
    """Opens a text or prepared tokens.

    Args:
        data: a text file or a folder of text files; a folder of prepared tokens; or
            several of these and their weights, as FOLDER=0.7,FOLDER=0.3. None means
            the source code of this Python's standard library.
        heldout_fraction: share of a text, at its end, that is held out. Prepared
            tokens are split already.
        length: of the sequences; each part must hold at least one.
    """
    if parts := mixture_parts(data):
        corpus = load_mixture(parts, length)
    elif data is not None and is_prepared(Path(data).expanduser()):
        corpus = of_prepared(open_prepared(Path(data).expanduser()))
    else:
        corpus = load_text(data, heldout_fraction)
    require_length(corpus, length)
    return corpus


def load_text(data: str | None, heldout_fraction: float) -> Corpus:
    """Reads and splits a text."""
    name, paths = list_files(data)
    if any(path.name == PROGRESS and path.suffix for path in paths):
        raise InputError(
            f"data: {name} holds prepared tokens that are not finished. Run the same "
            f"prepare command again."
        )
    text = b"\n".join(read_text(path) for path in paths)
    if not text.strip():
        raise InputError(f"data: {name} holds no text. Name a file with text in it.")
    tokens = np.frombuffer(text, np.uint8)
    split = len(tokens) - int(len(tokens) * heldout_fraction)
    return Corpus(
        name=name,
        train=tokens[:split],
        heldout=tokens[split:],
        sha256=hashlib.sha256(text).hexdigest(),
        files=len(paths),
        bytes=len(tokens),
    )


def of_prepared(prepared: Prepared) -> Corpus:
    splits = prepared.header["splits"].values()
    return Corpus(
        name=str(prepared.folder),
        train=prepared.train,
        heldout=prepared.heldout,
        sha256=prepared.sha256,
        files=sum(len(split["files"]) for split in splits),
        bytes=sum(split["bytes"] for split in splits),
        tokenizer=prepared.tokenizer,
    )


def mixture_parts(data: str | None) -> list[tuple[str, float]]:
    """Folders and weights of FOLDER=0.7,FOLDER=0.3; [] if it is no mixture."""
    if data is None or "=" not in data or Path(data).expanduser().exists():
        return []
    parts = []
    for part in data.split(","):
        folder, _, weight = part.rpartition("=")
        try:
            parts.append((folder.strip(), float(weight)))
        except ValueError:
            folder = ""
        if not folder.strip():
            raise InputError(
                f"data={data!r}: {part!r} is not FOLDER=WEIGHT. Write a mixture as "
                f"one/folder=0.7,other/folder=0.3."
            )
    if not all(0 < weight < np.inf for _, weight in parts):
        raise InputError(f"data={data!r}: each weight must be above 0, and finite.")
    return parts


def load_mixture(parts: list[tuple[str, float]], length: int) -> Corpus:
    """Sources of the same tokenizer: each sequence is from one, chosen by weight."""
    weights = [weight / sum(w for _, w in parts) for _, weight in parts]
    corpora = [of_prepared(open_prepared(Path(x).expanduser())) for x, _ in parts]
    for corpus in corpora:
        require_length(corpus, length)
        if corpus.tokenizer.fingerprint != corpora[0].tokenizer.fingerprint:
            raise InputError(
                f"data: {corpora[0].name} and {corpus.name} have different tokenizers "
                f"({corpora[0].tokenizer.fingerprint}, {corpus.tokenizer.fingerprint}). "
                f"Prepare both with --tokenizer {corpora[0].name}/tokenizer.json."
            )
    identity = [
        f"{corpus.sha256}={weight!r}"
        for corpus, weight in zip(corpora, weights, strict=True)
    ]
    return Corpus(
        name=" + ".join(
            f"{weight:.3g} {corpus.name}"
            for corpus, weight in zip(corpora, weights, strict=True)
        ),
        train=Mixture([stream(corpus.train) for corpus in corpora], weights),
        heldout=Mixture([stream(corpus.heldout) for corpus in corpora], weights),
        sha256=hashlib.sha256(",".join(identity).encode()).hexdigest(),
        files=sum(corpus.files for corpus in corpora),
        bytes=sum(corpus.bytes for corpus in corpora),
        tokenizer=corpora[0].tokenizer,
    )


def require_length(corpus: Corpus, length: int) -> None:
    shortest = min(len(corpus.train), len(corpus.heldout))
    if shortest < length + 1:
        unit = "bytes" if corpus.bytes == corpus.size else "tokens"
        raise InputError(
            f"data: {corpus.name} is too short: its {corpus.size:,} {unit} split into "
            f"{len(corpus.train):,} for training and {len(corpus.heldout):,} held out, "
            f"and length={length} needs {length + 1:,} in each. "
            f"Give more text, a smaller length or another heldout_fraction."
        )


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
    rng, tokens = np.random.default_rng([seed, step]), stream(corpus.train)
    starts_B = tokens.random_starts(rng, batch_size, length)
    starts_R = starts_B if rows is None else starts_B[rows]
    return tokens.windows(starts_R, length + 1)


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
    count, tokens = -(-sequences // batch_size), stream(corpus.heldout)
    starts_N = tokens.even_starts(count * batch_size, length)
    starts_NxB = starts_N.reshape(count, batch_size)
    starts_NxR = starts_NxB if rows is None else starts_NxB[:, rows]
    return [tokens.windows(starts, length + 1) for starts in starts_NxR]


def stream(tokens: np.ndarray | Tokens) -> Tokens:
    return Stream([tokens]) if isinstance(tokens, np.ndarray) else tokens
