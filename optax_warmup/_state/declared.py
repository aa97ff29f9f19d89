"""What states declare of themselves: what they scale, and what is to be recorded.

A state, a NamedTuple, may have seven properties:

    update_scale: what the last update was multiplied by, an array;
    update_scales: the same for each group of parameters, a dictionary of arrays;
    is_learning_rate: True where that is the learning rate itself, not a factor on one;
    schedule_count: how many updates the schedule has counted that it comes from;
    gates_updates: True where what it wraps does not see every update, or restarts;
    recorded: scalars worth a place in a diagnostic record, a dictionary of arrays;
    watched: the part that training depends on, where the rest is only a record of it.

So neither the reader of rates nor the record knows a transform by name, and the states
of other packages can take part.
"""

from collections.abc import Iterator
from typing import Any

import jax
import optax

from optax_warmup._state.find import bare, children, find_if

# Parts of a path that say nothing about which part of an optimizer it leads to.
WRAPPERS = {"inner_state", "inner_states", "inner_opt_state", "opt_state"}


def declares(node: Any, name: str) -> bool:
    """Whether a node is a state whose type has a property of that name."""
    return isinstance(node, tuple) and isinstance(
        getattr(type(node), name, None), property
    )


def declared(node: Any, name: str) -> Any:
    """What a state declares, from bare arrays where nnx.Optimizer wrapped them."""
    scalars = {
        field: bare(value)
        for field, value in zip(node._fields, node, strict=True)
        if not isinstance(value, tuple | dict | list)
        and len(jax.tree.leaves(value)) == 1
    }
    return getattr(node._replace(**scalars), name)


def watched(opt_state: optax.OptState) -> Any:
    """An optimizer's state without what only records: what a guard looks at."""

    def part(node: Any) -> Any:
        return watched(node.watched) if declares(node, "watched") else node

    return jax.tree.map(part, opt_state, is_leaf=lambda x: declares(x, "watched"))


def recorded_scalars(opt_state: optax.OptState) -> dict[str, jax.Array]:
    """What the states in an optimizer's state declare for the record, by name.

    Where several states declare the same name, as the parts of an `optax.partition` do,
    the name is preceded by the labels on the way to each ("body/warmup_factor"), or by
    its whole path where the labels do not tell them apart.

    Returns:
        Arrays of shape () (with the axes of a vmap, if there are any). The keys depend
        on the structure of the state alone.
    """
    places: dict[str, dict[tuple[str, ...], jax.Array]] = {}
    for path, node in _recorded_nodes(opt_state, ()):
        for name, value in declared(node, "recorded").items():
            places.setdefault(name, {})[path] = value
    return {
        "/".join((*prefix, name)): value
        for name, values in places.items()
        for prefix, value in zip(_prefixes(list(values)), values.values(), strict=True)
    }


def _recorded_nodes(
    tree: Any, path: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], Any]]:
    """The states with something to record and their paths, the nested ones too."""
    for place, node in find_if(tree, lambda x: declares(x, "recorded")).items():
        here = (*path, *place.split("/")) if place else path
        yield here, node
        for name, child in children(node).items():
            yield from _recorded_nodes(child, (*here, name))


def _prefixes(paths: list[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """As little of each path as tells it from the others."""
    if len(paths) == 1:
        return [()]
    labels = [
        tuple(p for p in path if p not in WRAPPERS and not p.isdigit())
        for path in paths
    ]
    return labels if len(set(labels)) == len(labels) else paths
