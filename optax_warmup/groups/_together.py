"""Many schedules evaluated at one step, in one program per kind of schedule."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from optax_warmup import _check
from optax_warmup._schedules.schedule import Schedule
from optax_warmup.values._value import same


def values_of(schedules: Sequence[Schedule], count: jax.Array) -> jax.Array:
    """The values of one or more schedules at a step, shape (schedules,).

    Schedules that differ in numbers alone are evaluated together: sixty peaks cost what
    one does. Numbers that they share stay constants of the program, which shorten it.
    """
    kinds: dict[Any, list[int]] = {}
    for index, schedule in enumerate(schedules):
        leaves, structure = jax.tree.flatten(schedule)
        alone = any(_check.is_traced(x) or np.ndim(x) for x in leaves)
        kinds.setdefault((structure, index if alone else -1), []).append(index)
    parts = [
        _vector([schedules[index] for index in members], count)
        for members in kinds.values()
    ]
    order = [index for members in kinds.values() for index in members]
    joined = parts[0] if len(parts) == 1 else jnp.concatenate(parts)
    if order == sorted(order):
        return joined
    in_order: jax.Array = joined[np.argsort(order)]
    return in_order


def _vector(schedules: Sequence[Schedule], count: jax.Array) -> jax.Array:
    """The values of schedules of one structure."""
    if len(schedules) == 1:
        return schedules[0](count)[None]
    structure = jax.tree.structure(schedules[0])
    columns = list(zip(*map(jax.tree.leaves, schedules), strict=True))
    shared = [
        all(same(x, column[0]) and type(x) is type(column[0]) for x in column)
        for column in columns
    ]
    if all(shared):
        return jnp.broadcast_to(schedules[0](count), (len(schedules),))

    def value(varying: Sequence[Any]) -> jax.Array:
        own = iter(varying)
        numbers = [
            column[0] if constant else next(own)
            for column, constant in zip(columns, shared, strict=True)
        ]
        result: jax.Array = jax.tree.unflatten(structure, numbers)(count)
        return result

    stacked = [
        np.asarray(column, _dtype(column))
        for column, constant in zip(columns, shared, strict=True)
        if not constant
    ]
    values: jax.Array = jax.vmap(value)(stacked)
    return values


def _dtype(column: Sequence[Any]) -> Any:
    """int32 for lengths, else the floating-point type of the program."""
    whole = all(jnp.issubdtype(jnp.result_type(x), jnp.integer) for x in column)
    return np.dtype(np.int32) if whole else jnp.result_type(float)
