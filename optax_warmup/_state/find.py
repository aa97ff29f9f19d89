"""Nodes of optimizer state, found by type in any nesting.

A field's name would not do: a parameter may be called "nu" or "count" too.
"""

from typing import Any

import jax


def find(tree: Any, types: type | tuple[type, ...]) -> dict[str, Any]:
    """The nodes of some types in a pytree, by their path."""
    nodes = jax.tree_util.tree_leaves_with_path(
        tree, is_leaf=lambda node: isinstance(node, types)
    )
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): node
        for path, node in nodes
        if isinstance(node, types)
    }


def bare(leaf: Any) -> Any:
    """An array without the wrapper that flax's nnx.Optimizer puts around it."""
    return jax.tree.leaves(leaf)[0]
