"""Checksums of a training state, and of the files of a checkpoint.

The checksum of the state is computed where its arrays are, before they are written and
after they were read. It does not depend on how they are split over devices. Those of
the files find a damaged file before any array is read, on all processes alike.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from . import processes
from .files import sha256_of, write_atomically

NAME = "checksums.json"
Items = Any  # a NamedTuple or a dictionary of pytrees of arrays


def named(items: Items) -> dict[str, Any]:
    return items._asdict() if hasattr(items, "_asdict") else dict(items)


def describe(items: Items) -> dict[str, Any]:
    """What a checkpoint keeps to know the arrays again."""
    sums = {name: checksum(item) for name, item in named(items).items()}
    return {"structure": structure(items), "checksums": sums}


def structure(state: Any) -> dict[str, str]:
    """Path, dtype and shape of every array in the state."""
    return {
        jax.tree_util.keystr(path): f"{x.dtype}{list(x.shape)}"
        for path, x in jax.tree_util.tree_leaves_with_path(state)
    }


def checksum(state: Any) -> str:
    """A hash of every bit of every array in the state, its dtype, shape and path.

    Waits until the state is computed. Any single flipped bit changes the hash; of
    larger changes one in 2**64 would not.
    """
    leaves = jax.tree_util.tree_leaves_with_path(state)
    sums = jax.device_get(_sums([x for _, x in leaves]))
    digest = hashlib.sha256()
    for (path, x), two in zip(leaves, sums, strict=True):
        name = f"{jax.tree_util.keystr(path)} {x.dtype}{list(x.shape)}"
        digest.update(name.encode() + np.asarray(two, "<u4").tobytes())
    return digest.hexdigest()


@jax.jit
def _sums(arrays: list[jax.Array]) -> list[jax.Array]:
    return [_sum(x) for x in arrays]


def _sum(x: jax.Array) -> jax.Array:
    """Two sums of all bits, mixed with their positions, as uint32[2].

    Integers add up to the same in any order, so in any sharding.
    """
    bits = _bits(x)
    position = jnp.zeros(bits.shape, jnp.uint32)
    stride = 1
    for axis in reversed(range(bits.ndim)):
        # No reshape to one axis, which would gather an array that is split.
        index = jax.lax.broadcasted_iota(jnp.uint32, bits.shape, axis)
        position += index * np.uint32(stride % 2**32)
        stride *= bits.shape[axis]
    mixed = [_mix(bits ^ _mix(position + np.uint32(seed))) for seed in (1, 2**31)]
    return jnp.stack([jnp.sum(each, dtype=jnp.uint32) for each in mixed])


def _bits(x: jax.Array) -> jax.Array:
    """The bits as uint32; those of 64-bit numbers as two, on a last axis."""
    if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
        x = jax.random.key_data(x)
    if jnp.iscomplexobj(x):
        x = jnp.stack([x.real, x.imag], -1)
    if x.dtype == bool:
        return x.astype(jnp.uint32)
    floating = jnp.issubdtype(x.dtype, jnp.floating)
    size = jnp.finfo(x.dtype).bits if floating else jnp.iinfo(x.dtype).bits
    if size < 8:  # no unsigned integer is so small, and float32 holds all its values
        x, size = x.astype(jnp.float32), 32
    unsigned = jnp.dtype(f"uint{min(size, 32)}")
    return jax.lax.bitcast_convert_type(x, unsigned).astype(jnp.uint32)


def _mix(x: jax.Array) -> jax.Array:
    """A permutation of the 32-bit numbers in which each bit changes about half of them.

    Source: A. Appleby, "MurmurHash3", 2011 (its finalizer, public domain).
    """
    x = (x ^ (x >> 16)) * np.uint32(0x85EBCA6B)
    x = (x ^ (x >> 13)) * np.uint32(0xC2B2AE35)
    return x ^ (x >> 16)


def write_checksums(folder: Path, pattern: str = "**/*") -> None:
    """Writes the SHA-256 of the files that match, unless it is there already."""
    known = _read(folder) if (folder / NAME).exists() else {}
    new = {
        name: sha256_of(folder / name)
        for name in _files(folder, pattern)
        if name not in known
    }
    write_atomically(folder / NAME, json.dumps(known | new).encode())


def has_checksums(folder: Path) -> bool:
    return (folder / NAME).exists()


def damage(folder: Path) -> str:
    """What is wrong with the files of a folder; "" if they are as they were written.

    Each process reads its share of the files, and all get the same answer.
    """
    return " ".join(filter(None, processes.gather(_damage(folder))))


def _damage(folder: Path) -> str:
    try:
        wanted, there = _read(folder), set(_files(folder))
    except (OSError, ValueError, RecursionError):
        return f"{NAME} cannot be read"
    if missing := sorted(wanted.keys() - there):
        return f"{missing[0]} is missing"
    for name in sorted(wanted)[jax.process_index() :: jax.process_count()]:
        try:
            if sha256_of(folder / name) != wanted[name]:
                return f"{name} is not as it was written"
        except OSError as error:
            return f"{name} cannot be read ({error.strerror})"
    return ""


def _read(folder: Path) -> dict[str, str]:
    found = json.loads((folder / NAME).read_bytes())
    if not isinstance(found, dict) or not found:
        raise ValueError("no checksums")
    return found


def _files(folder: Path, pattern: str = "**/*") -> list[str]:
    """The files below a folder that match, by their relative names."""
    return [
        path.relative_to(folder).as_posix()
        for path in folder.glob(pattern)
        if path.is_file() and not path.name.startswith(NAME)
    ]
