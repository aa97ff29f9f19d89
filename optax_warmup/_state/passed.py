"""Refuses what is passed in place of an optimizer's state."""

from typing import Any

import jax
import optax

_PLAIN = (dict, list)


def require_state(owner: str, opt_state: Any) -> None:
    """Refuses an optimizer, and a state that has lost its types, with the way out."""
    if isinstance(opt_state, optax.GradientTransformation | optax.MultiSteps):
        raise TypeError(
            f"{owner}: opt_state must be the state of an optimizer, got the optimizer "
            "itself. Pass the state that optimizer.init(params) and optimizer.update "
            "return."
        )
    if _has_lost_its_types(opt_state):
        raise ValueError(
            f"{owner}: opt_state must be the state of an optimizer, got a "
            f"{type(opt_state).__name__} of plain containers, as checkpoints are where "
            "they are restored without a target: what each part is has been lost. "
            "Restore into the state of the same optimizer: with orbax, "
            "restore(path, args=StandardRestore(optimizer.init(params))); with flax, "
            "from_bytes(optimizer.init(params), data)."
        )


def _has_lost_its_types(opt_state: Any) -> bool:
    """Whether it is built of dictionaries and lists alone, with a state's fields."""
    if not isinstance(opt_state, _PLAIN):
        return False
    names, plain = set(), True
    waiting = [opt_state]
    while waiting and plain:
        node = waiting.pop()
        if isinstance(node, dict):
            names |= set(map(str, node))
            waiting += node.values()
        elif isinstance(node, list):
            waiting += node
        else:
            plain = node is None or jax.tree_util.all_leaves([node])
    return plain and bool(names & _FIELDS)


# Of the states that matter here: counts, moments, rates, what wraps others.
_FIELDS = {"count", "mu", "nu", "inner_state", "inner_states", "inner_opt_state"}
