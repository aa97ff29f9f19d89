"""Tokenizers: text to tokens and back, without loss.

Bytes need nothing. Byte-level BPE (the kind of GPT-2, Llama 3 and Qwen) is trained or
loaded with Hugging Face's `tokenizers`, which is imported only then. Its tokens stand
for bytes as well. So a loss in nats per token has an exact value in nats per byte.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from .settings import InputError

END_NAMES = ("<|endoftext|>", "<|end_of_text|>", "<|im_end|>", "</s>", "<eos>")
PADDED_TO = 128  # matrix products are faster with rows that divide so


class Tokenizer(Protocol):
    """What data, training and sampling ask of a tokenizer."""

    fingerprint: str  # tokens compare only within one
    vocab_size: int  # tokens that it knows
    end: int  # the token at the end of a document

    @property
    def byte_lengths_V(self) -> np.ndarray:
        """How many bytes each token stands for; the end of a document counts as 1."""

    def encode(self, texts: Sequence[str]) -> list[np.ndarray]:
        """The tokens of each text, [N]. No text without NUL yields the end token."""

    def decode(self, tokens_N: np.ndarray) -> str:
        """The text of tokens; bytes that are not UTF-8 become the sign for that."""


class Bytes:
    """A token for each byte. NUL, which no text contains, ends a document."""

    fingerprint = "bytes"
    vocab_size = 256
    end = 0
    byte_lengths_V = np.ones(256, np.int32)

    def encode(self, texts: Sequence[str]) -> list[np.ndarray]:
        return [np.frombuffer(text.encode(), np.uint8) for text in texts]

    def decode(self, tokens_N: np.ndarray) -> str:
        return bytes(tokens_N.astype(np.uint8)).decode(errors="replace")


class BytePair:
    """A byte-level BPE tokenizer.

    Args:
        content: of a `tokenizer.json`, as `tokenizers` writes it.
        name: for error messages.
        end_token: the token that ends a document; by default one of the usual names.
    """

    def __init__(self, content: str, name: str, end_token: str | None = None):
        library = tokenizers()
        self.content, self.name = content, name
        try:
            self.library = library.Tokenizer.from_str(content)
        except Exception as error:  # the library raises plain Exception
            raise InputError(
                f"tokenizer: {name} cannot be read ({error}). Name a tokenizer.json "
                f"as the tokenizers library writes it."
            ) from None
        # "<|endoftext|>" in a document is text, and not the end of it.
        self.library.encode_special_tokens = True
        self.library.no_truncation()
        self.library.no_padding()
        vocabulary = self.library.get_vocab(with_added_tokens=True)
        self.vocab_size = max(vocabulary.values()) + 1
        known = [
            x for x in ([end_token] if end_token else END_NAMES) if x in vocabulary
        ]
        if not known:
            raise InputError(
                f"tokenizer: {name} has no token {end_token or ' or '.join(END_NAMES)} "
                f"for the end of a document. Name one of its tokens with --end-token."
            )
        self.end_name, self.end = known[0], vocabulary[known[0]]
        digest = hashlib.sha256(json.dumps(json.loads(content)).encode())
        self.fingerprint = f"{digest.hexdigest()}:{self.end_name}"

    @cached_property
    def pieces(self) -> list[bytes]:
        """The bytes of each token; those of special tokens are their names'."""
        added = self.library.get_added_tokens_decoder()
        to_byte = {sign: byte for byte, sign in enumerate(signs_of_bytes())}
        pieces = [b""] * self.vocab_size
        for text, token in self.library.get_vocab(with_added_tokens=True).items():
            if token in added:
                pieces[token] = text.encode()
                continue
            try:
                pieces[token] = bytes(to_byte[sign] for sign in text)
            except KeyError:
                raise InputError(
                    f"tokenizer: {self.name} is not byte-level: its token {text!r} "
                    f"stands for no bytes. Use a byte-level BPE tokenizer, such as "
                    f"GPT-2's, or train one."
                ) from None
        return pieces

    @cached_property
    def byte_lengths_V(self) -> np.ndarray:
        lengths_V = np.array([len(piece) for piece in self.pieces], np.int32)
        lengths_V[self.end] = 1
        return lengths_V

    def encode(self, texts: Sequence[str]) -> list[np.ndarray]:
        pieces, found = self.pieces, []
        encoded = self.library.encode_batch_fast(list(texts), add_special_tokens=False)
        for text, encoding in zip(texts, encoded, strict=True):
            tokens = encoding.ids
            if b"".join(map(pieces.__getitem__, tokens)) != text.encode():
                self.refuse(text, b"".join(map(pieces.__getitem__, tokens)))
            found.append(np.array(tokens, np.uint32))
        return found

    def refuse(self, text: str, encoded: bytes) -> None:
        """Says where a text and what its tokens stand for begin to differ."""
        original = text.encode()
        pairs = enumerate(zip(original, encoded, strict=False))
        shorter = min(len(original), len(encoded))
        place = next((i for i, (a, b) in pairs if a != b), shorter)
        raise InputError(
            f"tokenizer: {self.name} cannot encode the text: "
            f"{original[place : place + 20].decode(errors='replace')!r} becomes "
            f"{encoded[place : place + 20].decode(errors='replace')!r}. It normalizes, "
            f"or lacks tokens; use one that keeps every byte."
        )

    def decode(self, tokens_N: np.ndarray) -> str:
        text = b"".join(self.pieces[token] for token in tokens_N)
        return text.decode(errors="replace")


def train_byte_pair(texts: Iterable[str], vocab_size: int) -> BytePair:
    """A byte-level BPE tokenizer with GPT-2's rule for words, trained on texts."""
    if vocab_size < 257:
        raise InputError(
            f"vocab_size={vocab_size} is too small: 256 bytes and the end of a "
            f"document need 257. Give more, or choose the byte tokenizer."
        )
    library = tokenizers()
    tokenizer = library.Tokenizer(library.models.BPE())
    byte_level = library.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.pre_tokenizer = byte_level
    tokenizer.decoder = library.decoders.ByteLevel()
    trainer = library.trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[END_NAMES[0]],
        initial_alphabet=sorted(byte_level.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return BytePair(tokenizer.to_str(), "the trained tokenizer")


def load_byte_pair(path: Path, end_token: str | None = None) -> BytePair:
    try:
        content = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"tokenizer: {path} cannot be read ({error}).") from None
    return BytePair(content, str(path), end_token)


def embedding_rows(tokenizer: Tokenizer) -> int:
    """Rows for all tokens; a multiple of 128."""
    return -(-tokenizer.vocab_size // PADDED_TO) * PADDED_TO


def signs_of_bytes() -> list[str]:
    """The printable character that byte-level BPE writes for each byte.

    Source: A. Radford et al., "Language Models are Unsupervised Multitask Learners",
    2019 (`bytes_to_unicode` in its code).
    """
    printable = {*range(33, 127), *range(161, 173), *range(174, 256)}
    others = iter(range(256, 512))
    return [chr(byte if byte in printable else next(others)) for byte in range(256)]


def tokenizers() -> Any:
    try:
        import tokenizers  # optional
    except ImportError:
        raise InputError(
            "a byte-pair tokenizer needs the package tokenizers: pip install "
            "'optax_warmup[tokens]', or pip install tokenizers."
        ) from None
    return tokenizers
