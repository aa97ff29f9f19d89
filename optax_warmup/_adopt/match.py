"""Finds for each part of a new state what the old state has for it."""

from typing import Any

import jax.numpy as jnp
import numpy as np

from optax_warmup import _check, states
from optax_warmup._adopt.parts import Part
from optax_warmup._state.step import is_injected


def matched(old: list[Part], new: list[Part]) -> dict[str, dict[str, Any]]:
    """The arrays for the parts of a new state, by their paths.

    First parts of the same type with the same arrays, in their order. Then what was put
    together differently: the moments of one parameter each, from wherever they are.
    What is taken is marked in the old parts.
    """
    found: dict[str, dict[str, Any]] = {}
    for part in new:
        source = next((other for other in old if _same(part, other)), None)
        if source is not None:
            source.taken |= set(source.leaves)
            part.taken |= set(part.leaves)
            found[part.path] = _cast(part, source.leaves)
    for part in new:
        if part.path in found:
            continue
        if _is_record(part):
            sources = [x for x in old if _is_record(x) and not x.taken]
            if sources:  # its clock goes on, its rows do not
                sources[0].taken |= set(sources[0].leaves)
                clock = {"updates": sources[0].leaves["updates"]}
                found[part.path] = part.leaves | clock
            continue
        if is_injected(part.node):
            found |= _hyperparameters(part, old)
            continue
        gathered = _gathered(part, old)
        if gathered is not None:
            found[part.path] = _cast(part, gathered)
    return found


def _hyperparameters(part: Part, old: list[Part]) -> dict[str, dict[str, Any]]:
    """Those that the old optimizer has too, under other ones that it has not."""
    for other in old:
        if is_injected(other.node) and not other.taken:
            common = {k: x for k, x in other.leaves.items() if k in part.leaves}
            other.taken |= set(other.leaves)
            return {part.path: part.leaves | _cast(part, common)}
    return {}


def _is_record(part: Part) -> bool:
    return isinstance(part.node, states.RecordMomentsState)


def _same(part: Part, other: Part) -> bool:
    return (
        type(part.node) is type(other.node)
        and not other.taken
        and part.shapes == other.shapes
        and _same_layout(part, other)
    )


def _same_layout(part: Part, other: Part) -> bool:
    """Whether the rows of two records mean the same."""
    if not _is_record(part):
        return True
    layouts = [part.leaves["layout"], other.leaves["layout"]]
    if any(map(_check.is_traced, layouts)):
        return False
    return np.array_equal(np.asarray(layouts[0]), np.asarray(layouts[1]))


def _gathered(part: Part, old: list[Part]) -> dict[str, Any] | None:
    """The arrays of a part from several, or from a larger one; None if not all are.

    What all of these have, such as a count, must be the same in all.
    """
    sources = [
        other
        for other in old
        if type(other.node) is type(part.node)
        and any(
            key in part.leaves and _is_about_parameters(key) for key in other.leaves
        )
    ]
    gathered: dict[str, Any] = {}
    marks: list[tuple[Part, str]] = []
    for key, leaf in part.leaves.items():
        shape = getattr(leaf, "shape", ())
        holders = [
            other
            for other in sources
            if key in other.leaves and other.shapes[key] == shape
        ]
        shared = not _is_about_parameters(key)
        if not shared:
            holders = [other for other in holders if key not in other.taken]
        if not holders or (len(holders) > 1 and not (shared and _equal(holders, key))):
            return None
        gathered[key] = (
            jnp.array(holders[0].leaves[key], copy=True)
            if shared
            else (holders[0].leaves[key])
        )
        marks += [(holder, key) for holder in holders]
    for holder, key in marks:
        holder.taken.add(key)
    return gathered


def _is_about_parameters(key: str) -> bool:
    """Whether it is an array of one parameter, as those of moments are."""
    return "/" in key


def _equal(holders: list[Part], key: str) -> bool:
    values = [holder.leaves[key] for holder in holders]
    if any(map(_check.is_traced, values)):
        return True
    return all(np.array_equal(values[0], value) for value in values[1:])


def _cast(part: Part, leaves: dict[str, Any]) -> dict[str, Any]:
    """The arrays in the types of the new part.

    Moments keep theirs where they are wider than those of a new state.
    """

    def cast(key: str, leaf: Any) -> Any:
        wanted, given = jnp.result_type(part.leaves[key]), jnp.result_type(leaf)
        numbers = all(jnp.issubdtype(x, jnp.number) for x in (wanted, given))
        whole = numbers and jnp.issubdtype(wanted, jnp.integer)
        if whole or (numbers and jnp.promote_types(given, wanted) == wanted):
            return jnp.asarray(leaf, wanted)
        return leaf

    return {key: cast(key, leaf) for key, leaf in leaves.items()}
