"""A wrapper that averages the latest of some snapshots of the parameters."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from optax_warmup import _check
from optax_warmup._state.find import bare
from optax_warmup._transforms.arguments import require_optimizer
from optax_warmup.averages._newest import Newest, init_inner, widened

_OWNER = "average_latest"


class AverageLatestState(NamedTuple):
    """The state of `average_latest`.

    Attributes:
        inner_state: the state of the wrapped optimizer.
        count: completed updates, int32, shape ().
        taken: the number of snapshots taken so far, int32, shape ().
        snapshots: the latest snapshots; a leading axis is added to each parameter.

    Example:
        >>> import jax.numpy as jnp, optax, optax_warmup as ow
        >>> optimizer = ow.averages.average_latest(optax.sgd(0.1), every=10, size=3)
        >>> optimizer.init(jnp.ones(2)).snapshots.shape
        (3, 2)
    """

    inner_state: optax.OptState
    count: jax.Array  # type: ignore[assignment]  # tuple.count, as optax has it
    taken: jax.Array
    snapshots: optax.Params


def average_latest(
    inner: optax.GradientTransformation, *, every: int, size: int
) -> optax.GradientTransformationExtraArgs:
    """Keeps snapshots of the parameters, whose mean is their average (LAWA).

    After every `every` updates a snapshot is taken, which replaces the oldest of
    `size`. `averaged_params(opt_state)` is the mean of those taken so far, or the
    initial parameters before the first. Updates are not changed.

    Args:
        inner: a complete optimizer.
        every: updates between two snapshots, >= 1.
        size: the number of snapshots, >= 1. Each takes a copy of the parameters.

    Returns:
        A transform with state `AverageLatestState`; its update needs the parameters.

    Raises:
        TypeError: `inner` is not an optimizer, or a number is not one.
        ValueError: a number is below 1 or not whole.

    Example:
        >>> import jax.numpy as jnp, optax, optax_warmup as ow
        >>> optimizer = ow.averages.average_latest(optax.sgd(1.0), every=2, size=2)
        >>> params = jnp.array(9.0)
        >>> state = optimizer.init(params)
        >>> for _ in range(7):
        ...     updates, state = optimizer.update(jnp.array(1.0), state, params)
        ...     params = optax.apply_updates(params, updates)
        >>> ow.averages.averaged_params(state).item()  # of 5 and 3
        4.0

    Source: J. Kaddour, "Stop Wasting My Time! Saving Days of ImageNet and BERT Training
    with Latest Weight Averaging", 2022, arXiv:2209.14981.
    """
    inner = require_optimizer(_OWNER, inner)
    every = _check.count(_OWNER, "every", every, minimum=1)
    size = _check.count(_OWNER, "size", size, minimum=1)

    def init_fn(params: optax.Params) -> AverageLatestState:
        inner_state = init_inner(_OWNER, inner, params)
        snapshots = jax.tree.map(lambda p: jnp.stack([widened(p)] * size), params)
        return AverageLatestState(
            inner_state,
            count=jnp.zeros((), jnp.int32),
            taken=jnp.zeros((), jnp.int32),
            snapshots=snapshots,
        )

    def update_fn(
        updates: optax.Updates,
        state: AverageLatestState,
        params: optax.Params | None = None,
        **extra: Any,
    ) -> tuple[optax.Updates, AverageLatestState]:
        new = Newest.after(_OWNER, inner, updates, state, params, extra)
        due = new.count % every == 0
        slot = state.taken % size

        def replaced(rows: jax.Array, param: Any) -> jax.Array:
            # Only one row is read and written, in place if the state is donated.
            row = jnp.where(due, jnp.asarray(param).astype(rows.dtype), rows[slot])
            return rows.at[slot].set(row)

        snapshots = jax.tree.map(replaced, state.snapshots, new.params)
        taken = state.taken + due.astype(jnp.int32)
        return new.updates, AverageLatestState(
            new.inner_state, new.count, taken, snapshots
        )

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)


def mean(state: AverageLatestState) -> optax.Params:
    """The mean of the snapshots that were taken; of an integer the newest."""
    taken = bare(state.taken)

    def of_rows(rows: jax.Array) -> jax.Array:
        size = rows.shape[0]
        if not jnp.issubdtype(rows.dtype, jnp.inexact):
            return rows[(taken - 1) % size]
        used = jnp.arange(size) < jnp.maximum(taken, 1)
        used = used.reshape(-1, *(1,) * (rows.ndim - 1))
        return jnp.sum(jnp.where(used, rows, 0), axis=0) / jnp.sum(used)

    return jax.tree.map(of_rows, state.snapshots)
