"""Which parameters a mask lets through, where the state inside of it shows them.

A moment has the parameters' tree, with an `optax.MaskedNode` in place of each that the
mask leaves out. So a masked Adam shows its parameters, and a masked factor does not.
"""

import functools
import itertools
import re
from collections.abc import Iterable
from typing import Any, TypeAlias

import jax
import optax

from optax_warmup._state.find import find
from optax_warmup._state.moments import moment_types

Path: TypeAlias = tuple[str, ...]
# The paths of the parameters on one side, and those of all others.
Sides: TypeAlias = tuple[frozenset[Path], frozenset[Path]]

# States with a tree like the parameters', and the field that holds it.
_LIKE_PARAMETERS = {
    optax.ScaleByLionState: "mu",
    optax.ScaleByAdanState: "m",
    optax.ScaleByNovogradState: "mu",
    optax.ScaleByRssState: "sum_of_squares",
    optax.ScaleByRStdDevState: "nu",
    optax.TraceState: "trace",
    optax.EmaState: "ema",
    optax.contrib.MuonState: "mu",
    optax.contrib.DAdaptAdamWState: "exp_avg",
    optax.contrib.MadgradState: "s",
    optax.contrib.MomoAdamState: "exp_avg",
    optax.contrib.ProdigyState: "exp_avg",
    optax.contrib.ScaleByAdemamixState: "nu",
    optax.MultiStepsState: "acc_grads",
}
_SHOWN = 3  # names of parameters in that of a group


def sides(inner_state: Any) -> Sides | None:
    """The paths of the parameters inside and outside of a mask, None where not shown.

    A mask may leave out a whole branch, which then has one path.
    """
    # What is in a further mask shows that mask.
    holders = (*moment_types(), *_LIKE_PARAMETERS)
    shown = find(inner_state, (*holders, optax.MaskedState, optax.PartitionState))
    for node in shown.values():
        if isinstance(node, holders):
            return _of_tree(getattr(node, _LIKE_PARAMETERS.get(type(node), "nu")))
    for node in shown.values():
        if isinstance(node, optax.PartitionState):
            return _of_parts(node)
    return None


def _of_tree(tree: Any) -> Sides | None:
    def masked(node: Any) -> bool:
        return isinstance(node, optax.MaskedNode)

    leaves = jax.tree_util.tree_leaves_with_path(tree, is_leaf=masked)
    inside = frozenset(keys(path) for path, leaf in leaves if not masked(leaf))
    outside = frozenset(keys(path) for path, leaf in leaves if masked(leaf))
    return (inside, outside) if leaves else None


def _of_parts(node: Any) -> Sides | None:
    inside, outside = frozenset[Path](), None
    for part in node.inner_states.values():
        both = sides(getattr(part, "inner_state", part))
        if both is None:
            return None
        inside |= both[0]
        outside = both[1] if outside is None else common(outside, both[1])
    return inside, outside or frozenset()


def keys(path: Any) -> Path:
    """The keys of a path, without the one that flax's variables add."""
    keys = tuple(jax.tree_util.keystr((key,), simple=True) for key in path)
    wrapped = path and path[-1] == jax.tree_util.GetAttrKey("value")
    return keys[:-1] if wrapped else keys


def all_of(several: Iterable[Sides | None]) -> Sides | None:
    """The parameters that are on all sides that are known, None if none is."""
    known = [sides for sides in several if sides is not None]
    if not known:
        return None
    inside = functools.reduce(common, (sides[0] for sides in known))
    return inside, frozenset().union(*(sides[1] for sides in known))


def common(some: frozenset[Path], others: frozenset[Path]) -> frozenset[Path]:
    """The parameters in both sets; a branch is all that is below it."""
    return frozenset(
        path
        for one, other in ((some, others), (others, some))
        for path in one
        if any(path[:end] in other for end in range(len(path) + 1))
    )


def described(paths: Iterable[Path], others: Iterable[Path]) -> str:
    """A short name for some parameters: their paths, cut where they part from others.

    Where these are many, "*" stands for whatever differs.
    """
    beginnings = {path[:end] for path in others for end in range(len(path) + 1)}
    cut = dict.fromkeys(
        next(
            (path[:end] for end in range(len(path)) if path[:end] not in beginnings),
            path,
        )
        for path in sorted(paths, key=natural)
    )
    for shorten in (lambda path: path, _without_numbers, lambda path: ("*", path[-1])):
        names = list(dict.fromkeys("/".join(shorten(path)) for path in cut if path))
        taken = {"/".join(shorten(path)) for path in beginnings if path}
        if len(names) <= _SHOWN and taken.isdisjoint(names):
            return "+".join(names)
    names = ["/".join(path) for path in cut]
    return "+".join([*names[:_SHOWN], f"{len(names) - _SHOWN} more"])


def _without_numbers(path: Path) -> Path:
    return tuple(re.sub(r"\d+", "*", key) for key in path)


def natural(path: Iterable[str]) -> list[Any]:
    """Sorts layer_10 after layer_9."""
    parts = itertools.chain.from_iterable(re.split(r"(\d+)", key) for key in path)
    return [(0, int(p), "") if p.isdigit() else (1, 0, p) for p in parts]
