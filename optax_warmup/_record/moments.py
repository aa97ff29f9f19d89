"""What is measured of Adam's moments: raw sums on the device, one row a group.

The sums are turned into statistics on the host, in float64 (see _report/history.py).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

# The columns of a row; those below the line need what the gate does not have for free.
FROM_MOMENTS = ("nu", "direction_squared", "eps_dominated")
FROM_GRADIENTS = ("gradient_squared", "lag_squared")
FROM_PARAMETERS = ("parameter_squared",)


@jax.tree_util.register_static
@dataclass(frozen=True)
class Layout:
    """What a record's axes and numbers mean; structure, not data.

    Attributes:
        groups: the names of the parameter groups, in the order of the rows.
        sizes: the number of coordinates in each group that have a second moment.
        columns: the names of the sums.
        leaf_groups: for each parameter leaf, the index of its group.
        b1, b2, eps: Adam's own.
        bits: which steps are recorded, see slots.py.
    """

    groups: tuple[str, ...]
    sizes: tuple[int, ...]
    columns: tuple[str, ...]
    leaf_groups: tuple[int, ...]
    b1: float
    b2: float
    eps: float
    bits: int


def measure(
    layout: Layout,
    count: jax.Array,
    mu: Sequence[Any],
    nu: Sequence[Any],
    gradients: Sequence[Any] | None,
    parameters: Sequence[Any] | None,
) -> jax.Array:
    """The sums of all groups, float32, shape (groups, columns).

    Leaves without a second moment are None in `mu` and `nu`. Each leaf is reduced to
    scalars before anything is stacked, so that XLA combines the collectives of sharded
    leaves into one.
    """
    corrections = _correction(layout.b1, count), _correction(layout.b2, count)
    rows: list[list[Any]] = [[0.0] * len(layout.columns) for _ in layout.groups]
    for leaf, group in enumerate(layout.leaf_groups):
        if nu[leaf] is None:
            continue
        squares = _of_moments(mu[leaf], nu[leaf], *corrections, layout.eps)
        root = squares.pop("root")
        if gradients is not None:
            squares |= _of_gradient(gradients[leaf], jnp.maximum(root, layout.eps))
        if parameters is not None:
            squares["parameter_squared"] = jnp.square(_wide(parameters[leaf]))
        for index, column in enumerate(layout.columns):
            rows[group][index] += jnp.sum(squares[column])
    return jnp.stack([jnp.stack([jnp.float32(x) for x in row]) for row in rows])


def _of_moments(
    mu: jax.Array,
    nu: jax.Array,
    mu_correction: jax.Array,
    nu_correction: jax.Array,
    eps: float,
) -> dict[str, jax.Array]:
    root = jnp.sqrt(_wide(nu) / nu_correction)
    return {
        "root": root,
        "nu": _wide(nu),
        "direction_squared": jnp.square(_wide(mu) / mu_correction / (root + eps)),
        # The root is compared: eps**2 would underflow.
        "eps_dominated": (root < eps).astype(jnp.float32),
    }


def _of_gradient(gradient: jax.Array, scale: jax.Array) -> dict[str, jax.Array]:
    return {
        "gradient_squared": jnp.square(_wide(gradient)),
        "lag_squared": jnp.square(_wide(gradient) / scale),
    }


def _wide(x: jax.Array) -> jax.Array:
    return x.astype(jnp.float32)


def _correction(decay: float, count: jax.Array) -> jax.Array:
    """1 - decay**count, without the cancellation that a decay close to 1 brings."""
    logarithm = math.log(decay) if decay > 0 else -math.inf
    return -jnp.expm1(_wide(count) * logarithm)
