"""A sweep on disk: its identity, and the results of each finished chunk."""

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np

from optax_warmup._files import lock_folder, write_atomically

Leaves = list[np.ndarray]


class Folder:
    """The folder of one sweep, which no other process uses at the same time.

    `sweep.json` holds the identity of the sweep, each `from_N.npz` a finished chunk. A
    context manager: the folder is locked inside.
    """

    def __init__(self, path: str | os.PathLike[str], identity: dict[str, Any]) -> None:
        self.path = Path(path).expanduser()
        self.identity = identity

    def __enter__(self) -> "Folder":
        """Opens the folder of this very sweep, or creates it."""
        if not self.path.is_dir():
            if self.path.exists():
                raise self._something_else()
            self.path.mkdir(parents=True, exist_ok=True)
        in_use = ValueError(
            f"sweep: folder={str(self.path)!r} is in use: another sweep writes to it. "
            "Wait until it has finished, or choose another folder."
        )
        with contextlib.ExitStack() as stack:
            stack.enter_context(lock_folder(self.path, in_use))
            self._open(self.identity)
            self._lock = stack.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        self._lock.close()

    def _open(self, identity: dict[str, Any]) -> None:
        description = self.path / "sweep.json"
        if description.is_file():
            self._refuse_another(_read_identity(description), identity)
            return
        # An interrupted start may have left a part of it.
        if {each.name for each in self.path.iterdir()} - {"sweep.json.partial"}:
            raise self._something_else()
        with write_atomically(description) as file:
            file.write((json.dumps(identity, indent=1) + "\n").encode())

    def _something_else(self) -> ValueError:
        return ValueError(
            f"sweep: folder={str(self.path)!r} holds something else: it has no "
            "sweep.json. Choose another folder."
        )

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
        try:
            with write_atomically(path) as file:
                np.savez(file, indices=indices, **arrays)  # type: ignore[arg-type]
        except OSError as error:
            raise OSError(
                error.errno,
                f"sweep: {path} could not be written: {error.strerror}. Make room, and "
                "call sweep again: the chunks before are kept.",
            ) from error

    def load(self, results: Leaves) -> Iterator[tuple[np.ndarray, Leaves]]:
        """Yields the indices and the results of each finished chunk.

        `results` are the arrays of the whole sweep that they belong into.
        """
        done = np.zeros(len(results[0]) if results else 0, bool)
        for path in sorted(self.path.glob("from_*.npz")):
            try:
                indices, leaves = _read_chunk(path)
                _check_chunk(indices, leaves, results, done)
            except Exception as error:  # a damaged archive may raise anything
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
    except (ValueError, RecursionError) as error:
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


def identity(lowered: Any, shared: Any) -> dict[str, Any]:
    """Returns what distinguishes trainings from others.

    The program is that of one configuration, so neither the size of a chunk nor the
    number of devices is part of it.
    """
    return {
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
