"""Which parameters share a row: by a function of the user's, or as many as fit.

A table of one row for each of a thousand parameters would take tens of megabytes. So by
default parameters are merged, as far as they must be, along their paths: first those
under the same node, then neighbours.
"""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import jax

from optax_warmup._record.options import OWNER


def groups_of(
    tree: Any, label: Callable[[str], str] | None, most: int
) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """The names of the groups of a tree, and the index of each leaf's group."""
    paths = paths_of(tree)
    _require_different(paths)
    labels = [str(label(path)) for path in paths] if label else merged(paths, most)
    names = {name: index for index, name in enumerate(dict.fromkeys(labels))}
    return tuple(names), tuple(names[name] for name in labels)


def _require_different(paths: Sequence[str]) -> None:
    twice = next((path for path, n in Counter(paths).items() if n > 1), None)
    if twice is not None:
        raise ValueError(
            f"{OWNER}: two parameters have the path {twice!r}, as one has a key with "
            '"/" in it, so that no row can tell them apart. Rename one.'
        )


def merged(paths: Sequence[str], most: int) -> list[str]:
    """A name for each path, with at most `most` different ones.

    Paths are cut to as many parts as fit. If the next part tells many more apart,
    neighbours under one node are put together, "layers/0 to layers/2".
    """
    parts = [path.split("/") for path in paths]
    depth = max(map(len, parts), default=0)
    while depth and len({tuple(p[:depth]) for p in parts}) > most:
        depth -= 1
    if depth == max(map(len, parts), default=0):
        return list(paths)
    by_parent: dict[tuple[str, ...], set[str]] = {}
    for p in parts:
        by_parent.setdefault(tuple(p[:depth]), set()).add("/".join(p[: depth + 1]))
    if len(by_parent) > most / 2:
        return ["/".join(p[:depth]) for p in parts]
    together = 2
    while sum(-(-len(c) // together) for c in by_parent.values()) > most:
        together += 1
    names: dict[str, str] = {}
    for children in by_parent.values():
        ordered = sorted(children, key=_natural)
        for start in range(0, len(ordered), together):
            some = ordered[start : start + together]
            name = some[0] if len(some) == 1 else f"{some[0]} to {some[-1]}"
            names |= dict.fromkeys(some, name)
    return [names["/".join(p[: depth + 1])] for p in parts]


def _natural(name: str) -> list[Any]:
    """A key that sorts layer_10 after layer_9."""
    return [
        (0, int(part), "") if part.isdigit() else (1, 0, part)
        for part in re.split(r"(\d+)", name)
        if part
    ]


def paths_of(tree: Any) -> list[str]:
    """The path of each leaf; flax's variables do not show the key they add."""
    paths = [
        jax.tree_util.keystr(path, simple=True, separator="/") or "parameters"
        for path, _ in jax.tree_util.tree_leaves_with_path(tree)
    ]
    if all(path.endswith("/value") for path in paths):
        return [path.removesuffix("/value") for path in paths]
    return paths
