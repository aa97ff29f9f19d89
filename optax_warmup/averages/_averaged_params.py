"""Reads an average of the parameters from an optimizer's state."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import optax

from optax_warmup._state.find import find
from optax_warmup.averages._average_latest import AverageLatestState, mean
from optax_warmup.averages._average_params import AverageParamsState


def averaged_params(
    opt_state: optax.OptState, like: optax.Params | None = None
) -> optax.Params:
    """Returns the average that an optimizer's state holds.

    Args:
        opt_state: the state of an optimizer with `average_params` or `average_latest`
            in it, in any nesting, or a flax `nnx.Optimizer`.
        like: parameters (or a tree of `jax.ShapeDtypeStruct`) whose structure and
            dtypes the result is to have, such as `nnx.state(model, nnx.Param)`; by
            default those of the state.

    Returns:
        A tree like the parameters. Before the first update, the initial ones.

    Raises:
        ValueError: there is no average in the state, or more than one; `like` has
            other arrays than the average.

    Example:
        >>> import jax.numpy as jnp, optax, optax_warmup as ow
        >>> params = jnp.ones(2, jnp.bfloat16)
        >>> state = ow.averages.average_params(optax.sgd(0.1), 0.01).init(params)
        >>> ow.averages.averaged_params(state, like=params).dtype
        dtype(bfloat16)
    """
    found = find(opt_state, (AverageParamsState, AverageLatestState))
    if len(found) != 1:
        places = f", at {', '.join(found)}" if found else ""
        raise ValueError(
            f"averaged_params: opt_state must hold one average, it holds {len(found)}"
            f"{places}. Wrap the optimizer in averages.average_params, and pass the "
            "part of the state with the average that you want."
        )
    (state,) = found.values()
    average = state.average if isinstance(state, AverageParamsState) else mean(state)
    if like is None:
        return average
    wanted, structure = jax.tree.flatten(like)
    held = jax.tree.leaves(average)
    if list(map(jnp.shape, held)) != list(map(jnp.shape, wanted)):
        raise ValueError(
            "averaged_params: like must be a tree like the parameters that are "
            f"averaged, got {structure}, which has other arrays."
        )
    return jax.tree.unflatten(
        structure, [a.astype(p.dtype) for a, p in zip(held, wanted, strict=True)]
    )
