"""What states declare of themselves: scalars that belong in a diagnostic record.

A state, a NamedTuple, may have a property `recorded`: a dictionary of scalar arrays. So
the record knows no transform by name, and the states of other packages can take part.
"""

from typing import Any

import jax
import optax

from optax_warmup._state.find import bare


def recorded_scalars(opt_state: optax.OptState) -> dict[str, jax.Array]:
    """What the states in an optimizer's state declare for the record, by name.

    Where several states declare the same name, the whole path of each stands before it.
    The keys depend on the structure of the state alone.
    """
    found: dict[str, dict[str, jax.Array]] = {}
    nodes = jax.tree_util.tree_leaves_with_path(opt_state, is_leaf=_declares)
    for path, node in nodes:
        if not _declares(node):
            continue
        place = jax.tree_util.keystr(path, simple=True, separator="/")
        for name, value in node.recorded.items():
            found.setdefault(name, {})[place] = bare(value)
    return {
        name if len(values) == 1 else f"{place}/{name}": value
        for name, values in found.items()
        for place, value in values.items()
    }


def _declares(node: Any) -> bool:
    return isinstance(node, tuple) and isinstance(
        getattr(type(node), "recorded", None), property
    )
