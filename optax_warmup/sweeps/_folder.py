"""A sweep on disk: its identity, and the results of each finished chunk."""

import hashlib
import json
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np

from optax_warmup._files import write_atomically

Leaves = list[np.ndarray]


class Folder:
    """The folder of one sweep.

    `sweep.json` holds the identity of the sweep, each `from_N.npz` a finished chunk.
    """

    def __init__(self, path: str | os.PathLike[str], identity: dict[str, Any]) -> None:
        """Opens the folder of this very sweep, or creates it."""
        self.path = Path(path).expanduser()
        description = self.path / "sweep.json"
        if description.is_file():
            self._refuse_another(_read_identity(description), identity)
            return
        if self.path.exists() and (not self.path.is_dir() or any(self.path.iterdir())):
            raise ValueError(
                f"sweep: folder={str(self.path)!r} holds something else: it has no "
                "sweep.json. Choose another folder."
            )
        self.path.mkdir(parents=True, exist_ok=True)
        with write_atomically(description) as file:
            file.write((json.dumps(identity, indent=1) + "\n").encode())

    def _refuse_another(self, found: dict[str, Any], wanted: dict[str, Any]) -> None:
        other = [name for name in wanted if found.get(name) != wanted[name]]
        if not other:
            return
        version = f" (made with jax {found.get('jax')})" if "jax" in other else ""
        raise ValueError(
            f"sweep: folder={str(self.path)!r} holds another sweep: it differs in "
            f"{', '.join(other)}{version}. Give what it was made with, or another "
            "folder."
        )

    def save(self, indices: np.ndarray, leaves: Leaves) -> None:
        """Writes the results of a chunk of configurations."""
        arrays = {f"leaf_{i}": leaf for i, leaf in enumerate(leaves)}
        path = self.path / f"from_{indices[0]:06d}.npz"
        with write_atomically(path) as file:
            np.savez(file, indices=indices, **arrays)  # type: ignore[arg-type]

    def load(self, results: Leaves) -> Iterator[tuple[np.ndarray, Leaves]]:
        """Yields the indices and the results of each finished chunk.

        `results` are the arrays of the whole sweep that they belong into.
        """
        done = np.zeros(len(results[0]) if results else 0, bool)
        for path in sorted(self.path.glob("from_*.npz")):
            try:
                indices, leaves = _read_chunk(path)
                _check_chunk(indices, leaves, results, done)
            except (ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
                raise ValueError(
                    f"sweep: {path} cannot be read ({error}). Delete it: its "
                    "configurations will be trained again."
                ) from error
            done[indices] = True
            yield indices, leaves


def _read_identity(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text())
        if not isinstance(found, dict):
            raise ValueError("it holds no JSON object")
    except ValueError as error:
        raise ValueError(
            f"sweep: {path} cannot be read ({error}). Choose another folder."
        ) from error
    return found


def _read_chunk(path: Path) -> tuple[np.ndarray, Leaves]:
    with path.open("rb") as file, np.load(file) as arrays:
        count = len(arrays.files) - 1
        return arrays["indices"], [arrays[f"leaf_{i}"] for i in range(count)]


def _check_chunk(
    indices: np.ndarray, leaves: Leaves, results: Leaves, done: np.ndarray
) -> None:
    """Raises ValueError where a chunk does not fit into the results."""
    if indices.ndim != 1 or indices.dtype.kind not in "iu":
        raise ValueError("its indices are not a list of integers")
    if np.any((indices < 0) | (indices >= len(done))):
        raise ValueError(f"its indices are not from 0 to {len(done) - 1}")
    if len(np.unique(indices)) < len(indices) or done[indices].any():
        raise ValueError("it holds results that are there already")
    if len(leaves) != len(results):
        raise ValueError(f"it holds {len(leaves)} arrays, not {len(results)}")
    for leaf, result in zip(leaves, results, strict=True):
        wanted = (len(indices), *result.shape[1:])
        if leaf.shape != wanted or leaf.dtype.itemsize != result.dtype.itemsize:
            raise ValueError(f"it holds an array of shape {leaf.shape}, not {wanted}")


def identity(
    lowered: Any, configurations: list[dict[str, Any]], shared: Any
) -> dict[str, Any]:
    """Returns what distinguishes a sweep from others.

    The program is that of one configuration, so neither the size of a chunk nor the
    number of devices is part of it.
    """
    return {
        "configurations": configurations,
        "program": hashlib.sha256(lowered.as_text().encode()).hexdigest(),
        "shared": _hash(shared),
        "jax": jax.__version__,
    }


def _hash(arrays: Any) -> str:
    digest = hashlib.sha256()
    for leaf in map(np.asarray, jax.tree.leaves(arrays)):
        digest.update(f"{leaf.dtype}{leaf.shape}".encode())
        digest.update(np.ascontiguousarray(leaf).tobytes())
    return digest.hexdigest()
