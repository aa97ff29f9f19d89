"""The file of a record: arrays in one .npz, with a JSON text that describes them.

What the arrays mean is known in _history.py alone.
"""

import importlib.metadata
import json
import math
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from optax_warmup._files import write_atomically

KIND = "optax_warmup moments"
FORMAT = 3  # 2: whether moments are corrected; versions. 3: samples and dtypes
# What arrays may hold in total, and how many there may be: a file of a few megabytes
# can claim to hold terabytes. The largest honest ones hold a tenth of it.
_MOST_BYTES = 2**30
_MOST_ARRAYS = 1000
_PACKAGES = ("optax_warmup", "jax", "optax", "numpy")


def versions() -> dict[str, str]:
    """Returns the versions of the packages that compute a record."""
    return {package: _version(package) for package in _PACKAGES}


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed: imported from the working directory"


def write(path: Path, meta: dict[str, Any], arrays: dict[str, np.ndarray]) -> Path:
    """Writes arrays and their description to one .npz file, complete or not at all."""
    text = json.dumps({"kind": KIND, "format": FORMAT} | meta)
    with write_atomically(path) as file:
        np.savez_compressed(file, allow_pickle=False, meta=np.array(text), **arrays)
    return path


def read(owner: str, path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Reads what `write` wrote: (description, arrays).

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is another kind of file, damaged, or of another format.
    """
    if path.is_dir():
        raise ValueError(f"{owner}: {path} is a folder; pass the .npz file in it.")
    refusal = f"{owner}: {path} is not a complete file written by MomentHistory.save"
    try:
        with path.open("rb") as stream:
            _require_honest_sizes(stream)
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files if name != "meta"}
            meta = json.loads(str(file["meta"])) if "meta" in file.files else {}
    except FileNotFoundError:
        raise
    except Exception as error:  # a damaged archive raises whatever it meets first
        raise ValueError(
            f"{refusal}: it is truncated or damaged ({error!r})."
        ) from error
    if not isinstance(meta, dict) or meta.get("kind") != KIND:
        raise ValueError(f"{refusal}: it holds something else.")
    if meta.get("format") != FORMAT:
        origin = meta.get("meta")
        version = origin.get("optax_warmup") if isinstance(origin, dict) else None
        raise ValueError(
            f"{owner}: {path} has format {meta.get('format')!r}, this optax_warmup "
            f"reads {FORMAT}. It was written by optax_warmup "
            f"{printable(version or 'of another version')}."
        )
    return meta, arrays


def printable(text: object) -> str:
    """A text from a file or a parameter's name, without what moves a terminal."""
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text)
    )


def _require_honest_sizes(stream: Any) -> None:
    """Refuses, before anything is unpacked, what would not fit into memory.

    Raises:
        ValueError: the arrays are too large or too many, or an array's header claims
            another size than the archive.
    """
    with zipfile.ZipFile(stream) as archive:
        members = archive.infolist()
        claimed = sum(member.file_size for member in members)
        if claimed > _MOST_BYTES or len(members) > _MOST_ARRAYS:
            raise ValueError(
                f"it claims {len(members)} arrays of {claimed:,} bytes in total, more "
                f"than the {_MOST_ARRAYS} of {_MOST_BYTES:,} that are read"
            )
        for member in members:
            with archive.open(member) as file:
                version = np.lib.format.read_magic(file)
                read = {
                    (1, 0): np.lib.format.read_array_header_1_0,
                    (2, 0): np.lib.format.read_array_header_2_0,
                }[version]
                shape, _, dtype = read(file)
                size = dtype.itemsize * math.prod(shape)
                if dtype.hasobject or file.tell() + size != member.file_size:
                    raise ValueError(f"the header of {member.filename!r} is wrong")
