"""An optimizer's state as a list of parts: each transform's own numbers."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import jax
import optax

from optax_warmup._state.find import bare


@dataclass(eq=False)
class Part:
    """The numbers that one transform keeps for itself.

    Attributes:
        path: where in the state they are.
        node: the NamedTuple that holds them, or whatever else stands there.
        leaves: the arrays, by field and path in it; those of wrapped states left out.
        taken: the keys of the arrays that were carried over, from here or to here.
    """

    path: str
    node: Any
    leaves: dict[str, Any]
    taken: set[str] = field(default_factory=set)

    @property
    def kind(self) -> str:
        """The name of its type, by which users know it."""
        return type(self.node).__name__

    @property
    def shapes(self) -> dict[str, Any]:
        """The shape of each array."""
        return {key: getattr(x, "shape", ()) for key, x in self.leaves.items()}

    def __str__(self) -> str:
        left = [key for key in self.leaves if key not in self.taken]
        some = f" ({', '.join(left[:3])}{', ...' if len(left) > 3 else ''})"
        return f"{self.kind} at {self.path or 'the top'}{some}"


class States:
    """What counts as a state: NamedTuples, but not those that hold parameters."""

    def __init__(self, params: Any) -> None:
        self._containers = {
            type(node) for node in _nodes(params) if _is_named_tuple(node)
        }

    def is_state(self, node: Any) -> bool:
        """Whether a node is the state of a transform."""
        return (
            _is_named_tuple(node)
            and not isinstance(node, optax.MaskedNode)
            and type(node) not in self._containers
        )

    def parts(self, tree: Any) -> list[Part]:
        """The parts of a state, wrappers before what they wrap."""
        found: list[Part] = []

        def keep(part: Part) -> dict[str, Any]:
            found.append(part)
            return part.leaves

        self.rebuilt(tree, keep)
        return found

    def rebuilt(self, tree: Any, fill: Callable[[Part], dict[str, Any]]) -> Any:
        """The state with new arrays in each part."""
        return self._rebuilt(tree, "", fill)

    def _rebuilt(self, node: Any, path: str, fill: Any) -> Any:
        if self.is_state(node):
            return self._state(node, path, fill)
        if isinstance(node, tuple | list | dict):
            below, structure = jax.tree.flatten(node, is_leaf=lambda x: x is not node)
            new = [
                self._rebuilt(child, _under(path, name), fill)
                for name, child in zip(_names(node), below, strict=True)
            ]
            return jax.tree.unflatten(structure, new)
        if not jax.tree.leaves(node):
            return node
        return self._filled({"": node}, Part(path, node, arrays(node)), fill)[""]

    def _state(self, node: Any, path: str, fill: Any) -> Any:
        own = {k: x for k, x in _fields(node) if not self._holds_states(x)}
        leaves = {
            _under(name, key): leaf
            for name, value in own.items()
            for key, leaf in arrays(value).items()
        }
        new = self._filled(own, Part(path, node, leaves), fill) if leaves else own
        inner = {
            name: self._rebuilt(value, _under(path, name), fill)
            for name, value in _fields(node)
            if name not in own
        }
        return node._replace(**new, **inner)

    def _filled(self, own: dict[str, Any], part: Part, fill: Any) -> dict[str, Any]:
        leaves = fill(part)

        def filled(name: str, value: Any) -> Any:
            new = [leaves[_under(name, key)] for key in arrays(value)]
            structure = jax.tree.structure(value, is_leaf=_is_variable)
            return jax.tree.unflatten(structure, new)

        return {name: filled(name, value) for name, value in own.items()}

    def _holds_states(self, value: Any) -> bool:
        below = jax.tree.leaves(value, is_leaf=self.is_state)
        return any(map(self.is_state, below))


def holds_states(tree: Any) -> bool:
    """Whether a tree has states of transforms in it, as parameters have not."""
    return any(
        _is_named_tuple(node)
        and not isinstance(node, optax.MaskedNode)
        and type(node).__module__.split(".")[0] in ("optax", "optax_warmup")
        for node in _nodes(tree)
    )


def arrays(tree: Any) -> dict[str, Any]:
    """The arrays of a tree by their path, without flax's variables around them."""
    leaves = jax.tree_util.tree_leaves_with_path(tree, is_leaf=_is_variable)
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): bare(leaf)
        for path, leaf in leaves
    }


def _names(node: Any) -> list[str]:
    """What the children of a node are called, in their order."""
    below = jax.tree_util.tree_leaves_with_path(node, is_leaf=lambda x: x is not node)
    return [jax.tree_util.keystr(path, simple=True) for path, _ in below]


def _is_variable(node: Any) -> bool:
    """Whether this is what flax's nnx.Optimizer puts around an array."""
    return hasattr(type(node), "get_raw_value") or hasattr(type(node), "raw_value")


def _is_named_tuple(node: Any) -> bool:
    return isinstance(node, tuple) and hasattr(node, "_fields")


def _fields(node: Any) -> list[tuple[str, Any]]:
    return list(zip(node._fields, node, strict=True))


def _nodes(tree: Any) -> Iterator[Any]:
    """Every node of a tree."""
    below = jax.tree.leaves(tree, is_leaf=lambda x: x is not tree)
    yield tree
    if len(below) == 1 and below[0] is tree:
        return
    for child in below:
        yield from _nodes(child)


def _under(path: str, name: Any) -> str:
    return f"{path}/{name}" if path and str(name) else path or str(name)
