"""Whether a schedule is small enough to be evaluated in passing."""

from typing import Any

import jax
import jax.numpy as jnp

from optax_warmup._schedules.schedule import Schedule

_NODES = 256
_OPERATIONS = 1200  # of a program that compiles in a second or two
_GROWTH = 1.5  # in nodes, from one part to the next that is traced


def is_small(schedule: Schedule) -> bool:
    """Whether the program of a schedule is short.

    Tracing a nest of warmups takes time with the cube of its depth: so its parts are
    traced from small to large, and the first that is too long ends it.
    """
    sizes = _sizes(schedule)
    if sizes is None:
        return False
    traced = 0.0
    for size, part in sorted(sizes, key=lambda pair: pair[0]):
        if size < _GROWTH * traced and part is not schedule:
            continue
        traced = size
        program = jax.make_jaxpr(lambda s, step: s(step))(part, jnp.int32(0))
        if _operations(program.jaxpr) > _OPERATIONS:
            return False
    return True


def _sizes(schedule: Schedule) -> list[tuple[int, Schedule]] | None:
    """Returns each schedule inside of one with its number of nodes; None if many."""
    order: list[tuple[Schedule, int]] = []  # each with the place of the one around it
    waiting = [(schedule, -1)]
    while waiting:
        node, parent = waiting.pop()
        if len(order) >= _NODES:
            return None
        order.append((node, parent))
        place = len(order) - 1
        waiting += [(child, place) for child in _schedules(list(vars(node).values()))]
    counts = [1] * len(order)
    for place in range(len(order) - 1, 0, -1):  # from the inside out
        counts[order[place][1]] += counts[place]
    return [(n, node) for n, (node, _) in zip(counts, order, strict=True)]


def _schedules(fields: list[Any]) -> list[Schedule]:
    found = []
    while fields:
        field = fields.pop()
        if isinstance(field, Schedule):
            found.append(field)
        elif isinstance(field, list | tuple):
            fields += field
    return found


def _operations(jaxpr: Any) -> int:
    """Counts the operations of a program and of the programs inside of it."""
    inner = (
        _operations(getattr(x, "jaxpr", x))
        for equation in jaxpr.eqns
        for parameter in equation.params.values()
        for x in (parameter if isinstance(parameter, list | tuple) else [parameter])
        if hasattr(getattr(x, "jaxpr", x), "eqns")
    )
    return len(jaxpr.eqns) + sum(inner)
