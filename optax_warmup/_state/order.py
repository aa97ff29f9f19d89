"""Refuses, at `init`, scales that stand where they do harm or nothing.

The transforms of a chain do not know of each other. A wrapper around the chain sees
all of their states.
"""

import re
from collections.abc import Iterator
from typing import Any

import jax
import optax

from optax_warmup._state.declared import declares
from optax_warmup._state.find import children, find
from optax_warmup._state.groups import Group
from optax_warmup._state.moments import moment_types
from optax_warmup._state.rate import flipped_sign
from optax_warmup._state.scales import groups_of


def require_order(owner: str, opt_state: optax.OptState) -> None:
    """Refuses two learning rates in a row, scales in front of Adam or around lookahead.

    Only what states of ours (or of `optax.inject_hyperparams`) show: where optax's own
    `scale_by_schedule` stands, it may be meant as a factor.

    Raises:
        ValueError: in the owner's name, with both transforms and the order that works.
    """
    if owner in _SCALING and find(opt_state, optax.LookaheadState):
        raise ValueError(
            f"{owner}: inner has optax.lookahead, whose updates set its fast and slow "
            "parameters, and must not be scaled. Put it inside: optax.lookahead("
            f"{owner}(optimizer), ...)."
        )
    for group in groups_of(opt_state):
        if len(group.rates) > 1:
            raise ValueError(
                f"{owner}: inner has two learning rates in a row, "
                f"{_named(opt_state, list(group.rates))}. Each descends, so together "
                "they climb. Keep one. If the other is meant as a factor, write "
                "optax_warmup.scale_by_warmup(factor) instead."
            )
        undone = [path for path in group.undone if path not in group.counts]
        if undone:
            behind = _behind(group, undone)
            raise ValueError(
                f"{owner}: in inner {_named(opt_state, undone)} stands in front of "
                f"{_named(opt_state, behind)}, whose updates do not depend on the size "
                "of gradients, so it has no effect. Put it behind: optax.chain("
                f"{_transform(opt_state, behind[0])}, "
                f"{_transform(opt_state, undone[0])}).{flipped_sign(group, undone)}"
            )


def require_one_clock(owner: str, opt_state: optax.OptState) -> None:
    """Refuses a guard around some of several parts with moments.

    What one part skips, or starts again, the others do not, so that their moments are
    means of different numbers of gradients.

    Raises:
        ValueError: in the owner's name, with the guard and the order that works.
    """
    gates = {frozenset(each) for each in _gates_of_moments(opt_state, "", ())}
    differing = set().union(*gates) - frozenset.intersection(*gates) if gates else ()
    if differing:
        guard = min(differing)
        raise ValueError(
            f"{owner}: in inner {_named(opt_state, [guard])} is around one part of "
            "several with moments, whose counts would part ways. Put "
            f"{_transform(opt_state, guard)} around the whole optimizer, or {owner} "
            "inside one part, around what it holds."
        )


def _gates_of_moments(
    node: Any, path: str, gates: tuple[str, ...]
) -> Iterator[tuple[str, ...]]:
    """For each state with moments, the guards that it is in."""
    if isinstance(node, moment_types()):
        yield gates
        return
    if isinstance(node, _GATES) or declares(node, "gates_updates"):
        gates = (*gates, path)
    for name, child in children(node).items():
        yield from _gates_of_moments(child, f"{path}/{name}" if path else name, gates)


_SCALING = ("automatic_warmup",)  # wrappers that scale what their optimizer gives
_GATES = (
    optax.ApplyIfFiniteState,
    optax.ConditionallyTransformState,
    optax.MultiStepsState,
)


def _behind(group: Group, undone: list[str]) -> list[str]:
    return [path for path in group.normalizers if path not in undone]


def _named(opt_state: optax.OptState, paths: list[str]) -> str:
    return " and ".join(
        f"{_transform(opt_state, path)} at {path or 'the top'} of its state"
        for path in paths
    )


def _transform(opt_state: optax.OptState, path: str) -> str:
    """The name of a transform, from that of its state: AbcState is that of abc."""
    name = type(_node(opt_state, path)).__name__
    if name.startswith("Inject"):
        return "inject_hyperparams"
    snake = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name.removesuffix("State")).lower()
    return snake.replace("reduce_lron", "reduce_on")


def _node(opt_state: optax.OptState, path: str) -> Any:
    """What lies at a path, as `find` writes it; a group of it is behind "#"."""
    path = path.partition("#")[0]

    def here(place: Any, node: Any) -> bool:
        return jax.tree_util.keystr(place, simple=True, separator="/") == path

    nodes = jax.tree.leaves_with_path(opt_state, is_leaf=here, is_leaf_takes_path=True)
    return next(node for place, node in nodes if here(place, node))
