"""Merges saved checkpoints into one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from optax_warmup import _check
from optax_warmup._schedules.schedule import ScheduleLike, known_values


def merge_weights(decay: ScheduleLike, *, every: int, checkpoints: int) -> np.ndarray:
    """Weights with which merged checkpoints imitate a decay of the learning rate.

    weights[j] = d[j] - d[j + 1],   d[0] = 1, d[checkpoints] = 0,
    d[j] = mean of decay(step) over the updates from checkpoint j - 1 to j

    The checkpoints come from a run at a constant rate. Their merge is the first one
    plus d[j] times what the parameters moved from checkpoint j - 1 to j: what a run
    whose rate had fallen would have moved, had it met the same gradients.

    Args:
        decay: the learning rate relative to the constant one, from 1 down, as a
            schedule whose step 0 is the first checkpoint.
        every: updates between two checkpoints, >= 1.
        checkpoints: their number, >= 1.

    Returns:
        Weights of the checkpoints, oldest first, float64, shape (checkpoints,), with
        the sum 1.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: a number is below 1; the decay rises, or leaves [0, 1].

    Example:
        >>> import optax_warmup as ow
        >>> decay = ow.transition(1.0, 0.0, 4)
        >>> ow.averages.merge_weights(decay, every=1, checkpoints=5).tolist()
        [0.0, 0.25, 0.25, 0.25, 0.25]

    Source: C. Tian et al., "WSM: Decay-Free Learning Rate Schedule via Checkpoint
    Merging for LLM Pre-training", 2025, arXiv:2507.17634, theorem 3.1.
    """
    owner = "merge_weights"
    every = _check.count(owner, "every", every, minimum=1)
    checkpoints = _check.count(owner, "checkpoints", checkpoints, minimum=1)
    steps = np.arange(every * (checkpoints - 1), dtype=np.int32)
    rates = known_values(owner, "decay", decay, steps)
    means = rates.reshape(checkpoints - 1, every).mean(axis=1)
    factors = np.concatenate([[1.0], means, [0.0]])
    weights: np.ndarray = factors[:-1] - factors[1:]
    if not np.all(weights > -1e-6):
        raise ValueError(
            f"{owner}: decay must fall from at most 1 to at least 0, got {decay!r}, "
            f"whose means between checkpoints are {means.tolist()}. Divide a learning "
            "rate by its peak."
        )
    return weights


def merge(
    checkpoints: Sequence[optax.Params], weights: Sequence[float] | None = None
) -> optax.Params:
    """Merges checkpoints: the weighted sum of their parameters.

    Args:
        checkpoints: trees of parameters of the same shapes, oldest first.
        weights: one for each, with the sum 1, such as `merge_weights` gives; by default
            they are equal.

    Returns:
        A tree like the first checkpoint, summed in float32 at least. Of an integer
        array the last checkpoint's.

    Raises:
        TypeError: the checkpoints are not a list, or a weight is not a number.
        ValueError: there is no checkpoint; checkpoints differ in their arrays; the
            weights do not fit them, or their sum is not 1.

    Example:
        >>> import jax.numpy as jnp, optax_warmup as ow
        >>> ow.averages.merge([jnp.array([1.0, 0.0]), jnp.array([0.0, 2.0])]).tolist()
        [0.5, 1.0]
    """
    owner = "merge"
    if not isinstance(checkpoints, list | tuple) or not checkpoints:
        raise TypeError(
            f"{owner}: checkpoints must be a list of trees of parameters, with at "
            f"least one, got {type(checkpoints).__name__}."
        )
    known = _weights(owner, weights, len(checkpoints))
    first = _shapes(checkpoints[0])
    for index, checkpoint in enumerate(checkpoints):
        if _shapes(checkpoint) != first:
            raise ValueError(
                f"{owner}: checkpoints[{index}] has other arrays than the first."
            )
    return jax.tree.map(lambda *leaves: _sum(leaves, known), *checkpoints)


def _weights(owner: str, weights: Any, count: int) -> list[float]:
    if weights is None:
        return [1 / count] * count
    if np.shape(weights) != (count,):
        raise ValueError(
            f"{owner}: weights must hold one number for each of the {count} "
            f"checkpoints, got {weights!r}."
        )
    known = [_check.scalar(owner, f"weights[{i}]", w) for i, w in enumerate(weights)]
    if abs(sum(known) - 1) > 1e-6:
        raise ValueError(f"{owner}: weights must have the sum 1, got {sum(known)!r}.")
    return known


def _shapes(tree: Any) -> Any:
    return jax.tree.structure(tree), [jnp.shape(leaf) for leaf in jax.tree.leaves(tree)]


def _sum(leaves: Sequence[Any], weights: Sequence[float]) -> jax.Array:
    last = jnp.asarray(leaves[-1])
    if not jnp.issubdtype(last.dtype, jnp.inexact):
        return last
    wide = jnp.promote_types(last.dtype, jnp.float32)
    total = jnp.zeros(last.shape, wide)
    for weight, leaf in zip(weights, leaves, strict=True):
        total += weight * jnp.asarray(leaf).astype(wide)
    return total.astype(last.dtype)
