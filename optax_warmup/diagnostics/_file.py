"""A record's file: arrays in one .npz, and beside them a JSON text that explains them.

It knows nothing of what the arrays mean; see history.py.
"""

import importlib.metadata
import json
from pathlib import Path
from typing import Any

import numpy as np

KIND = "optax_warmup moments"
FORMAT = 3  # 2: whether moments are corrected; versions. 3: samples and dtypes
_PACKAGES = ("optax_warmup", "jax", "optax", "numpy")


def versions() -> dict[str, str]:
    """The versions of what computed a record, by package."""
    return {package: _version(package) for package in _PACKAGES}


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed: imported from the working directory"


def write(path: Path, meta: dict[str, Any], arrays: dict[str, np.ndarray]) -> Path:
    """Writes one .npz file, complete or not at all: beside its place, then moved."""
    text = json.dumps({"kind": KIND, "format": FORMAT} | meta)
    partial = path.with_name(f"{path.name}.partial")
    with partial.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, meta=np.array(text), **arrays)
    return partial.replace(path)


def read(owner: str, path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """What `write` wrote. Errors name the `owner`, the file and what is wrong."""
    refusal = f"{owner}: {path} is not a whole file written by MomentHistory.save"
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
        raise ValueError(f"{refusal}: its arrays are something else.")
    if meta["format"] != FORMAT:
        raise ValueError(
            f"{owner}: {path} has format {meta['format']}, this optax_warmup reads "
            f"{FORMAT}. Read it with optax_warmup "
            f"{meta.get('meta', {}).get('optax_warmup', 'of another version')}."
        )
    return meta, arrays
