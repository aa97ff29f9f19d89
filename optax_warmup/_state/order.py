"""Refuses, at `init`, scales that stand where they do harm or nothing.

The transforms of a chain do not know of each other. A wrapper around the chain sees
all of their states.
"""

import re
from typing import Any

import jax
import optax

from optax_warmup._state.groups import Group
from optax_warmup._state.scales import groups_of


def require_order(owner: str, opt_state: optax.OptState) -> None:
    """Refuses two learning rates in a row, and scales in front of Adam.

    Only what states of ours (or of `optax.inject_hyperparams`) show: where optax's own
    `scale_by_schedule` stands, it may be meant as a factor.

    Raises:
        ValueError: in the owner's name, with both transforms and the order that works.
    """
    for group in groups_of(opt_state):
        if len(group.rates) > 1:
            raise ValueError(
                f"{owner}: inner has two learning rates in a row, "
                f"{_named(opt_state, list(group.rates))}. Each descends, so together "
                "they climb. Keep one. If the other is meant as a factor, make it "
                "optax_warmup.scale_by_warmup(factor)."
            )
        undone = [path for path in group.undone if path not in group.counts]
        if undone:
            behind = _behind(group, undone)
            raise ValueError(
                f"{owner}: in inner {_named(opt_state, undone)} stands in front of "
                f"{_named(opt_state, behind)}, whose updates do not depend on the size "
                "of gradients, so it has no effect. Put it behind: optax.chain("
                f"{_transform(opt_state, behind[0])}, "
                f"{_transform(opt_state, undone[0])})."
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
    """What lies at a path, as `find` writes it."""

    def here(place: Any, node: Any) -> bool:
        return jax.tree_util.keystr(place, simple=True, separator="/") == path

    nodes = jax.tree.leaves_with_path(opt_state, is_leaf=here, is_leaf_takes_path=True)
    return next(node for place, node in nodes if here(place, node))
