"""Sets the learning rate in an optimizer's state, from the host."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from optax_warmup import _check
from optax_warmup._state.declared import declared, declares
from optax_warmup._state.find import bare, find_if
from optax_warmup._state.step import is_injected

_OWNER = "set_learning_rate"


def set_learning_rate(
    opt_state: optax.OptState, learning_rate: ArrayLike | None
) -> optax.OptState:
    """Sets the learning rate of the updates to come, until it is set again.

    It works for `scale_by_learning_rate`, whose schedule rests meanwhile while its
    count goes on, and for a number in `optax.inject_hyperparams`. For a group of
    several, pass the part of the state that belongs to it.

    Args:
        opt_state: the state of an optimizer.
        learning_rate: the rate, >= 0, a number or an array of shape (); None goes back
            to the schedule of `scale_by_learning_rate`.

    Returns:
        A copy with that rate, of the same types and shapes, so that nothing is compiled
        again; `optax_warmup.learning_rate` reads it back. What is given stays as it
        is, an `nnx.Optimizer` as well: go on with the copy.

    Raises:
        TypeError: `learning_rate` is not a number.
        ValueError: it is negative or not finite; the state holds no rate that can be
            set; a schedule in `optax.inject_hyperparams` would overwrite it.

    Example:
        >>> import jax.numpy as jnp, optax, optax_warmup as ow
        >>> optimizer = optax.chain(
        ...     optax.scale_by_adam(), ow.scale_by_learning_rate(ow.warmup(0.5, 10))
        ... )
        >>> params = jnp.ones(3)
        >>> state = ow.runs.set_learning_rate(optimizer.init(params), 0.25)
        >>> for _ in range(2):
        ...     updates, state = optimizer.update(params, state, params)
        >>> ow.learning_rate(state)
        0.25
        >>> state = ow.runs.set_learning_rate(state, None)
        >>> updates, state = optimizer.update(params, state, params)
        >>> round(ow.learning_rate(state), 6)  # at step 2 of 10
        0.1
    """
    if learning_rate is not None:
        learning_rate = _check.rate(_OWNER, "learning_rate", learning_rate)
    holders = find_if(opt_state, _holds_rate)
    if not holders:
        raise ValueError(
            f"{_OWNER}: opt_state holds no learning rate that can be set. Build the "
            "optimizer with optax_warmup.scale_by_learning_rate(rate), or with "
            "optax.inject_hyperparams and a number."
        )
    return jax.tree.map(
        lambda node: _with_rate(node, learning_rate) if _holds_rate(node) else node,
        opt_state,
        is_leaf=_holds_rate,
    )


def _holds_rate(node: Any) -> bool:
    if is_injected(node):
        return "learning_rate" in node.hyperparams
    return (
        declares(node, "is_learning_rate")
        and "learning_rate" in node._fields
        and bool(declared(node, "is_learning_rate"))
    )


def _with_rate(node: Any, rate: Any) -> Any:
    if not is_injected(node):
        old = node.learning_rate
        new = jnp.nan if rate is None else rate
        return node._replace(
            learning_rate=_like(old, new),
            # So that a rate equal to the schedule's last one holds too.
            scheduled=_like(node.scheduled, 0.0 if rate is None else -1.0),
        )
    if "learning_rate" in getattr(node, "hyperparams_states", {}):
        raise ValueError(
            f"{_OWNER}: the learning rate of optax.inject_hyperparams is a schedule, "
            "which overwrites what is set. Give it a number, or use optax_warmup."
            "scale_by_learning_rate(schedule)."
        )
    if rate is None:
        raise ValueError(
            f"{_OWNER}: optax.inject_hyperparams holds a number, and no schedule to go "
            "back to."
        )
    old = node.hyperparams["learning_rate"]
    return node._replace(
        hyperparams={**node.hyperparams, "learning_rate": _like(old, rate)}
    )


def _like(old: Any, value: Any) -> Any:
    """A number in the type, the shape and the wrapper of an array."""
    array = bare(old)
    number = jnp.broadcast_to(jnp.asarray(value, array.dtype), jnp.shape(array))
    return jax.tree.unflatten(jax.tree.structure(old), [jnp.array(number, copy=True)])
