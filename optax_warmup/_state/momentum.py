"""An optimizer's momentum, its moving average of gradients, found by type."""

from typing import Any

import jax
import optax

from optax_warmup._state.find import by_leaf, find

# Adam's relatives and Lion keep it as mu, SGD as trace, Muon as mu.
_HOLDERS = (
    optax.ScaleByAdamState,
    optax.ScaleByAmsgradState,
    optax.ScaleByBeliefState,
    optax.ScaleByLionState,
    optax.TraceState,
    optax.contrib.MuonState,
)


def momentum_of(
    opt_state: optax.OptState, tree: Any, owner: str
) -> list[jax.Array | None]:
    """The momentum in an optimizer's state for each leaf of `tree`, None without one.

    Raises:
        ValueError: in the owner's name: two parts of the optimizer hold a momentum of
            the same parameter.
    """
    held = {
        path: node.trace if isinstance(node, optax.TraceState) else node.mu
        for path, node in find(opt_state, _HOLDERS).items()
    }
    return by_leaf(tree, held, "a momentum", owner)
