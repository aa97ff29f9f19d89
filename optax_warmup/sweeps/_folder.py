"""A sweep on disk: which one it is, and the results of each chunk that is done."""

import contextlib
import hashlib
import json
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import jax
import numpy as np

Leaves = list[np.ndarray]


class Folder:
    """`sweep.json` says which sweep it is; `from_N.npz` holds a finished chunk each.

    A chunk is written under another name and renamed, so it is whole or not there.
    """

    def __init__(self, path: str | os.PathLike[str], identity: dict[str, Any]):
        """Opens the folder of this very sweep, or makes it."""
        self.path = Path(path).expanduser()
        description = self.path / "sweep.json"
        if description.is_file():
            self._refuse_another(json.loads(description.read_text()), identity)
            return
        if self.path.exists() and (not self.path.is_dir() or any(self.path.iterdir())):
            raise ValueError(
                f"sweep: folder={str(self.path)!r} holds something else: it has no "
                "sweep.json. Choose another folder."
            )
        self.path.mkdir(parents=True, exist_ok=True)
        with _whole(description) as file:
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
        arrays = {f"leaf_{i}": leaf for i, leaf in enumerate(leaves)}
        path = self.path / f"from_{indices[0]:06d}.npz"
        with _whole(path) as file:
            np.savez(file, indices=indices, **arrays)  # type: ignore[arg-type]

    def load(self) -> Iterator[tuple[np.ndarray, Leaves]]:
        """The indices and the results of each finished chunk."""
        for path in sorted(self.path.glob("from_*.npz")):
            try:
                with path.open("rb") as file, np.load(file) as arrays:
                    count = len(arrays.files) - 1
                    leaves = [arrays[f"leaf_{i}"] for i in range(count)]
                    indices = arrays["indices"]
            except (ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
                raise ValueError(
                    f"sweep: {path} cannot be read ({error}). Delete it: its "
                    "configurations will be trained again."
                ) from error
            yield indices, leaves


def identity(
    lowered: Any, configurations: list[dict[str, Any]], shared: Any
) -> dict[str, Any]:
    """What makes a sweep this one and no other.

    The program is that of one configuration, so that neither the size of a chunk nor
    the number of devices is part of it.
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


@contextlib.contextmanager
def _whole(path: Path) -> Iterator[IO[bytes]]:
    """A file that has its name only when all of it is on the disk."""
    partial = path.with_suffix(".partial")
    with partial.open("wb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
