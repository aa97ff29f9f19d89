"""Prepared tokens on disk: what `python -m examples.transformer.prepare` writes.

    prepared_tokens.json    the header; written last, so that it is there once all is
    tokenizer.json          of a byte-pair tokenizer
    train-00000.tokens      little-endian unsigned integers, nothing else
    train.ends              where each document ends, int64: the index after its end
    heldout-00000.tokens
    heldout.ends

The files are mapped into memory: a process reads the pages that it uses, and processes
of one machine share them.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .files import sha256_of
from .settings import InputError
from .tokenizer import Bytes, Tokenizer, load_byte_pair
from .tokens import Stream

HEADER = "prepared_tokens.json"
TOKENIZER = "tokenizer.json"
PROGRESS = "progress.json"  # of a preparation that is not finished
VERSION = 1
SPLITS = ("train", "heldout")
DTYPES = ("uint8", "uint16", "uint32")
END_TYPE = np.dtype("<i8")
AGAIN = "Prepare it again, or put it back from a copy."


@dataclass(frozen=True, eq=False)
class Prepared:
    """An opened folder of tokens."""

    folder: Path
    header: dict[str, Any]
    tokenizer: Tokenizer
    train: Stream
    heldout: Stream

    @property
    def sha256(self) -> str:
        """Names the tokens, however they are divided into files."""
        parts = ("source", "tokenizer", "heldout_fraction", "cut")
        text = json.dumps([self.header[each] for each in parts], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def ends(self, split: str) -> np.ndarray:
        """Where each document ends, int64: the index after its last token."""
        return map_file(self.folder / f"{split}.ends", END_TYPE)


def dtype_for(vocab_size: int) -> str:
    return next(x for x in DTYPES if vocab_size <= np.iinfo(x).max + 1)


def is_prepared(folder: Path) -> bool:
    return (folder / HEADER).exists()


def open_prepared(folder: Path) -> Prepared:
    """Checks the header, the tokenizer and the size of every file."""
    if not is_prepared(folder):
        raise InputError(f"data: {folder} holds no prepared tokens (no {HEADER}).")
    header = read_header(folder)
    tokenizer = open_tokenizer(folder, header["tokenizer"])
    if tokenizer.vocab_size != header["vocab_size"]:
        raise InputError(
            f"data: {folder} has vocab_size={header['vocab_size']!r}, and its "
            f"tokenizer {tokenizer.vocab_size}. {AGAIN}"
        )
    dtype = np.dtype(header["dtype"]).newbyteorder("<")
    streams = {}
    for split in SPLITS:
        arrays = []
        for file in header["splits"][split]["files"]:
            array = map_file(folder / file["name"], dtype)
            require_size(folder / file["name"], len(array), file["tokens"], "tokens")
            arrays.append(array)
        streams[split] = Stream(arrays, tokenizer.vocab_size)
        documents = len(map_file(folder / f"{split}.ends", END_TYPE))
        wanted = header["splits"][split]["documents"]
        require_size(folder / f"{split}.ends", documents, wanted, "documents")
    return Prepared(folder, header, tokenizer, **streams)


def open_tokenizer(folder: Path, fingerprint: str) -> Tokenizer:
    """The tokenizer of prepared tokens, or of a run, if it is still that one."""
    if fingerprint == Bytes.fingerprint:
        return Bytes()
    end_token = fingerprint.partition(":")[2]
    tokenizer = load_byte_pair(folder / TOKENIZER, end_token)
    if tokenizer.fingerprint != fingerprint:
        raise InputError(
            f"tokenizer: {folder / TOKENIZER} is another tokenizer than that of the "
            f"tokens: {tokenizer.fingerprint}, and not {fingerprint}. Put the right "
            f"file back from a copy."
        )
    return tokenizer


def read_header(folder: Path) -> dict[str, Any]:
    path = folder / HEADER
    try:
        header = json.loads(path.read_bytes())
        version = header["version"]
        if version == VERSION:
            check_header(header)
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(
            f"data: {path} cannot be read ({type(error).__name__}: {error}). {AGAIN}"
        ) from None
    if version != VERSION:
        raise InputError(
            f"data: {path} is of version {version!r}, and this program reads version "
            f"{VERSION}. Prepare it again."
        )
    return header


def check_header(header: dict[str, Any]) -> None:
    """Raises a `ValueError` or the like if it is not what this program wrote."""
    if header["dtype"] not in DTYPES:
        raise ValueError(f"dtype {header['dtype']!r}")
    if dtype_for(header["vocab_size"]) != header["dtype"]:
        raise ValueError(f"vocab_size={header['vocab_size']} in {header['dtype']}")
    for text in (header["tokenizer"], header["source"]["sha256"], header["cut"]):
        if not isinstance(text, str):
            raise ValueError(f"{text!r} is no text")
    if not 0 < header["heldout_fraction"] < 1:
        raise ValueError(f"heldout_fraction {header['heldout_fraction']!r}")
    for split in SPLITS:
        found = header["splits"][split]
        numbers = [found[name] for name in ("tokens", "bytes", "documents")]
        numbers += [file["tokens"] for file in found["files"]]
        if not all(type(x) is int and x >= 0 for x in numbers):
            raise ValueError(f"a number of {split} that is none")
        if sum(file["tokens"] for file in found["files"]) != found["tokens"]:
            raise ValueError(f"the files of {split} do not add up")
        for file in found["files"]:
            if Path(file["name"]).name != file["name"]:
                raise ValueError(f"file name {file['name']!r}")


def map_file(path: Path, dtype: np.dtype) -> np.ndarray:
    """A file of whole numbers, mapped read-only; [0] for an empty one."""
    try:
        size = path.stat().st_size
        if size % dtype.itemsize:
            raise InputError(
                f"data: {path} is cut off: it has {size:,} bytes, which is no multiple "
                f"of {dtype.itemsize}. {AGAIN}"
            )
        return np.memmap(path, dtype, "r") if size else np.zeros(0, dtype)
    except OSError as error:
        raise InputError(
            f"data: {path} cannot be read: {error.strerror}. {AGAIN}"
        ) from None


def require_size(path: Path, found: int, wanted: int, what: str) -> None:
    if found != wanted:
        raise InputError(
            f"data: {path} has {found:,} {what}, and {wanted:,} were written. {AGAIN}"
        )


def check_files(prepared: Prepared) -> list[str]:
    """What is wrong with the content of the files: reads all of it."""
    problems = []
    for split in SPLITS:
        about = prepared.header["splits"][split]
        wanted = {file["name"]: file["sha256"] for file in about["files"]}
        wanted[f"{split}.ends"] = about["ends_sha256"]
        for name, sha256 in wanted.items():
            if sha256_of(prepared.folder / name) != sha256:
                problems.append(f"{name} is not as it was written")
    return problems
