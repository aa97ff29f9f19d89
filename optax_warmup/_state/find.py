"""Finding nodes of an optimizer's state by type, in any nesting.

A field's name would not do: a parameter may be called "nu" or "count" too.
"""

from collections.abc import Callable
from typing import Any

import jax
import optax


def find(tree: Any, types: type | tuple[type, ...]) -> dict[str, Any]:
    """The outermost nodes of some types in a pytree, by their path."""
    return find_if(tree, lambda node: isinstance(node, types))


def find_if(tree: Any, wanted: Callable[[Any], bool]) -> dict[str, Any]:
    """The outermost nodes of a pytree that are wanted, by their path."""
    nodes = jax.tree_util.tree_leaves_with_path(tree, is_leaf=wanted)
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): node
        for path, node in nodes
        if wanted(node)
    }


def children(node: Any) -> dict[str, Any]:
    """What lies directly below a node of a pytree, by the last part of its path."""
    below = jax.tree_util.tree_leaves_with_path(node, is_leaf=lambda x: x is not node)
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): child
        for path, child in below
        if path
    }


def trained(tree: Any) -> Any:
    """The parameters, or updates, that gradients are of: the fast ones of lookahead."""
    return tree.fast if isinstance(tree, optax.LookaheadParams) else tree


def bare(leaf: Any) -> Any:
    """An array without the wrapper that flax's nnx.Optimizer puts around it."""
    return jax.tree.leaves(leaf)[0]


def by_leaf(
    tree: Any, held: dict[str, Any], what: str, owner: str
) -> list[jax.Array | None]:
    """For each leaf of `tree`, the array in its place in one of the held trees.

    Several parts of an optimizer may hold moments, each of its own parameters, as in
    `optax.partition`.

    Args:
        tree: parameters, or updates.
        held: trees like it, by the path of their holder, each with an
            `optax.MaskedNode` in place of what it does not hold.
        what: the name of what they hold, for the error.
        owner: the function in whose name the error is raised.

    Returns:
        The arrays in the order of `jax.tree.leaves(tree)`, None where nobody holds one.

    Raises:
        ValueError: two parts hold an array for the same leaf.
    """
    paths = [path for path, _ in jax.tree_util.tree_leaves_with_path(tree)]
    found: list[jax.Array | None] = [None] * len(paths)
    for part in held.values():
        for index, leaf in enumerate(_aligned(paths, part)):
            if isinstance(leaf, optax.MaskedNode):
                continue
            if found[index] is not None:
                raise ValueError(
                    f"{owner}: two parts of the optimizer ({', '.join(held)}) hold "
                    f"{what} of the same parameter. Wrap one of them alone."
                )
            found[index] = bare(leaf)
    return found


def _aligned(paths: list[Any], held: Any) -> list[Any]:
    """The leaf of `held` at each path, a MaskedNode where there is none.

    A mask may cut off whole branches, and flax's variables add a key to each path.
    """
    leaves = jax.tree_util.tree_leaves_with_path(
        held, is_leaf=lambda node: isinstance(node, optax.MaskedNode)
    )
    under = {path[:end]: leaf for path, leaf in leaves for end in range(len(path) + 1)}
    return [under.get(path, optax.MaskedNode()) for path in paths]
