"""Text or prepared tokens in, batches of tokens out.

A batch is a pure function of (seed, step): two runs with the same seed see the same
batches, and a run that resumes at step 1000 needs only that number.

A text is read whole, byte by byte. What is larger than memory, or has another
tokenizer, is prepared first (`prepare/`), and read where a batch needs it.
"""

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from .settings import InputError
from .text import list_files as list_files, read_text
from .token_file import PROGRESS, Prepared, is_prepared, open_prepared
from .tokenizer import Bytes, Tokenizer
from .tokens import Mixture, Stream, Tokens

HELDOUT_FRACTION = 0.05


@dataclass(frozen=True, eq=False)
class Corpus:
    """Tokens of a training text and of a held-out text."""

    name: str
    train: Any  # Tokens; those of a text are an array, uint8 [N]
    heldout: Any
    sha256: str  # of all of it; losses compare only within one corpus
    files: int
    bytes: int
    tokenizer: Tokenizer = Bytes()
    has_ends: bool = False  # whether each document ends with the tokenizer's `end`

    @property
    def size(self) -> int:
        """In tokens."""
        return len(self.train) + len(self.heldout)


def load_corpus(
    data: str | None = None,
    heldout_fraction: float = HELDOUT_FRACTION,
    length: int = 1,
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
        corpus = load_mixture(parts, heldout_fraction, length)
    elif data is not None and is_prepared(Path(data).expanduser()):
        corpus = load_prepared(data, heldout_fraction)
    else:
        corpus = load_text(data, heldout_fraction)
    require_length(corpus, length)
    return corpus


def load_text(data: str | None, heldout_fraction: float) -> Corpus:
    """Reads and splits a text."""
    if data is not None and data.startswith("hf:"):
        raise InputError(
            f"data={data!r}: prepare the tokens of a dataset first, with python -m "
            f"examples.transformer.prepare --data {data} --output FOLDER."
        )
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


def load_prepared(data: str, heldout_fraction: float) -> Corpus:
    prepared = open_prepared(Path(data).expanduser())
    split_at = prepared.header["heldout_fraction"]
    if heldout_fraction not in (HELDOUT_FRACTION, split_at):
        raise InputError(
            f"heldout_fraction={heldout_fraction}: {data} was prepared with "
            f"{split_at}. Leave it out, or prepare the tokens again."
        )
    return of_prepared(prepared)


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
        has_ends=True,
    )


def tokenizer_of(data: str | None) -> Tokenizer:
    """The tokenizer of a corpus, without its tokens: that of a text is bytes."""
    parts = mixture_parts(data) or [(data or "", 1.0)]
    folder = Path(parts[0][0]).expanduser()
    if parts[0][0] and is_prepared(folder):
        return open_prepared(folder).tokenizer
    return Bytes()


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


def load_mixture(
    parts: list[tuple[str, float]], heldout_fraction: float, length: int
) -> Corpus:
    """Sources of the same tokenizer: each sequence is from one, chosen by weight."""
    weights = [weight / sum(w for _, w in parts) for _, weight in parts]
    corpora = [load_prepared(folder, heldout_fraction) for folder, _ in parts]
    for corpus in corpora:
        require_length(corpus, length)
        if corpus.tokenizer.fingerprint != corpora[0].tokenizer.fingerprint:
            raise InputError(
                f"data: {corpora[0].name} and {corpus.name} have different tokenizers. "
                f"Prepare both with the same one: --tokenizer FOLDER/tokenizer.json."
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
        has_ends=True,
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


def load_heldout(data: str, length: int, tokenizer: Tokenizer) -> Corpus:
    """Opens a corpus that is for evaluation alone: all of it is held out.

    A text is encoded with the tokenizer of the training data; tokens must be its own.
    """
    folder = Path(data).expanduser()
    if is_prepared(folder):
        corpus = of_prepared(open_prepared(folder))
        if corpus.tokenizer.fingerprint != tokenizer.fingerprint:
            raise InputError(
                f"eval_data: {data} has another tokenizer than the training data. "
                f"Prepare it with the same one: --tokenizer FOLDER/tokenizer.json."
            )
        arrays = [*corpus.train.arrays, *corpus.heldout.arrays]
        tokens: Any = Stream(arrays, tokenizer.vocab_size)
    else:
        corpus = load_text(data, 1.0)
        (tokens,) = tokenizer.encode([corpus.heldout.tobytes().decode()])
    if len(tokens) < length + 1:
        raise InputError(
            f"eval_data: {data} is too short: length={length} needs {length + 1:,} "
            f"tokens, and it has {len(tokens):,}."
        )
    return replace(corpus, train=Stream([]), heldout=tokens, tokenizer=tokenizer)


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
) -> list[np.ndarray]:
    """The same crops at every evaluation, spread evenly over the held-out text.

    `sequences` is rounded up to whole batches, since each must divide over the devices.
    """
    count, tokens = -(-sequences // batch_size), stream(corpus.heldout)
    starts_N = tokens.even_starts(count * batch_size, length)
    starts_NxB = starts_N.reshape(count, batch_size)
    return [tokens.windows(starts_B, length + 1) for starts_B in starts_NxB]


def stream(tokens: np.ndarray | Tokens) -> Tokens:
    return Stream([tokens]) if isinstance(tokens, np.ndarray) else tokens
