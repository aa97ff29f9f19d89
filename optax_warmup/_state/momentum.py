"""An optimizer's momentum, its moving average of gradients, found by type."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from optax_warmup._state.find import bare, find
from optax_warmup._state.moments import aligned

# Adam's relatives and Lion keep it as mu, SGD as trace, Muon as mu.
_HOLDERS = (
    optax.ScaleByAdamState,
    optax.ScaleByAmsgradState,
    optax.ScaleByBeliefState,
    optax.ScaleByLionState,
    optax.TraceState,
    optax.contrib.MuonState,
)


def momentum_of(inner_state: optax.OptState, tree: Any, owner: str) -> list[Any]:
    """The momentum in an optimizer's state for each leaf of `tree`, None without one.

    Several parts of an optimizer may hold momentum (`optax.partition`), each of its own
    parameters.
    """
    paths = [path for path, _ in jax.tree_util.tree_leaves_with_path(tree)]
    momentum: list[Any] = [None] * len(paths)
    nodes = find(inner_state, _HOLDERS)
    for node in nodes.values():
        held = node.trace if isinstance(node, optax.TraceState) else node.mu
        for leaf, m in enumerate(aligned(paths, held)):
            if isinstance(m, optax.MaskedNode):
                continue
            if momentum[leaf] is not None:
                raise ValueError(
                    f"{owner}: two parts of the optimizer ({', '.join(nodes)}) hold a "
                    "momentum of the same parameter. Wrap one of them alone."
                )
            momentum[leaf] = bare(m)
    return momentum


def momentum_decays_of(
    inner: optax.GradientTransformation, params: Any, owner: str
) -> list[float | None]:
    """The decay of each leaf's momentum, as trying the optimizer on few numbers shows.

    After a gradient of 1 and one of 0 a momentum is its decay times what it was,
    whatever became of the first gradient on its way there. Every leaf is tried with one
    number in its place, as many dimensions as it has (Muon asks for their count).
    """
    with jax.ensure_compile_time_eval():
        few = jax.tree.map(lambda p: jnp.ones((1,) * jnp.ndim(p), p.dtype), params)
        state = inner.init(few)
        seen = []
        for gradient in (1.0, 0.0):
            gradients = jax.tree.map(lambda p, g=gradient: jnp.full_like(p, g), few)
            _, state = inner.update(gradients, state, few)
            seen.append(momentum_of(state, few, owner))
        return [
            None if first is None else float(jnp.ravel(second / first)[0])
            for first, second in zip(*seen, strict=True)
        ]
