"""States that were restored as plain dicts and lists get their types back.

Orbax without a target and flax's msgpack keep the names of fields, not the types.
"""

from collections.abc import Iterator
from typing import Any

import jax
import optax

from optax_warmup import states
from optax_warmup._adopt.parts import States

# Of types with the same fields, these are meant unless the new optimizer has another.
_USUAL = (optax.ScaleByAdamState, optax.ScaleByScheduleState, optax.MaskedState)


def typed(plain: Any, like: Any, among: States) -> Any:
    """A state whose dicts and lists are named tuples and tuples again.

    Args:
        plain: the state; what has its types already keeps them.
        like: the state of the new optimizer, whose types come first.
        among: what counts as a state in it.
    """
    wanted = [type(part.node) for part in among.parts(like)]
    holders = {type(node): node for node in _states(like, among)}
    known = [*wanted, *holders, *_USUAL, *_public(states), *_public(optax)]
    known += _public(optax.contrib)
    types: dict[tuple[str, ...], Any] = {}
    for kind in known:
        if fields := getattr(kind, "_fields", ()):
            types.setdefault(tuple(sorted(fields)), kind)
    return _typed(plain, types, among)


def _typed(node: Any, types: dict[tuple[str, ...], Any], among: States) -> Any:
    if among.is_state(node):
        inner = {
            name: _typed(getattr(node, name), types, among)
            for name in node._fields
            if _may_hold_states(name)
        }
        return node._replace(**inner)
    if isinstance(node, list | tuple) and not hasattr(node, "_fields"):
        return tuple(_typed(child, types, among) for child in node)
    if not isinstance(node, dict):
        return node
    keys = tuple(sorted(map(str, node)))
    if keys in types and not any(map(among.is_state, node.values())):
        fields = {str(name): value for name, value in node.items()}
        return _typed(types[keys](**fields), types, among)
    if keys and all(key.isdigit() for key in keys):  # a tuple in flax's msgpack
        numbered = {int(key): child for key, child in node.items()}
        return tuple(_typed(numbered[i], types, among) for i in sorted(numbered))
    return {key: _typed(child, types, among) for key, child in node.items()}


def _may_hold_states(field: str) -> bool:
    """By its name, as parameters may have the names of fields themselves."""
    return "state" in field


def _states(tree: Any, among: States) -> Iterator[Any]:
    for node in jax.tree.leaves(tree, is_leaf=among.is_state):
        if among.is_state(node):
            yield node
            for child in node:
                yield from _states(child, among)


def _public(module: Any) -> list[Any]:
    """The NamedTuples of a module that are states."""
    return [
        thing
        for name, thing in sorted(vars(module).items())
        if name.endswith("State") and hasattr(thing, "_fields")
    ]
