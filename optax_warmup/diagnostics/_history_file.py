"""The file of a record: arrays in one .npz, with a JSON text that describes them.

What the arrays mean is known in _history.py alone.
"""

import importlib.metadata
import json
from pathlib import Path
from typing import Any

import numpy as np

from optax_warmup._files import write_atomically

KIND = "optax_warmup moments"
FORMAT = 3  # 2: whether moments are corrected; versions. 3: samples and dtypes
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
        with path.open("rb") as stream, np.load(stream) as file:
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
    if meta["format"] != FORMAT:
        raise ValueError(
            f"{owner}: {path} has format {meta['format']}, this optax_warmup reads "
            f"{FORMAT}. Read it with optax_warmup "
            f"{meta.get('meta', {}).get('optax_warmup', 'of another version')}."
        )
    return meta, arrays
