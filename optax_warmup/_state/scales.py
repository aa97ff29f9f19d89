"""Walking through an optimizer's state as updates do: chains multiply, masks part.

No list of wrappers is needed: whatever holds the states of other transforms is passed
through.
"""

import functools
from dataclasses import replace
from typing import Any

import jax
import optax

from optax_warmup._state.declared import WRAPPERS, declared, declares
from optax_warmup._state.find import bare, children
from optax_warmup._state.groups import Group, Label, join, merged, possible
from optax_warmup._state.masks import natural, sides
from optax_warmup._state.step import INJECTED, is_injected

# States of optax's that hold what they multiply by, and in which field.
_FACTORS = {
    optax.contrib.ReduceLROnPlateauState: "scale",
    optax.ScaleByBacktrackingLinesearchState: "learning_rate",
    optax.ScaleByZoomLinesearchState: "learning_rate",
}
# States that count for the schedule of the optimizer.
_COUNTED = (
    optax.ScaleByScheduleState,
    optax.contrib.DAdaptAdamWState,
    optax.contrib.MadgradState,
    optax.contrib.MomoState,
    optax.contrib.MomoAdamState,
    optax.contrib.ProdigyState,
)
# Optimizers that give the same direction for gradients of any size: what scales their
# input has no effect.
_NORMALIZERS = (
    optax.ScaleByAdamState,
    optax.ScaleByAmsgradState,
    optax.ScaleByBeliefState,
    optax.ScaleByRmsState,
    optax.ScaleByLionState,
    optax.contrib.MuonState,
)
_READ = (
    *INJECTED,
    *_FACTORS,
    *_COUNTED,
    optax.PartitionState,
    optax.MaskedState,
    *_NORMALIZERS,
)


def groups_of(opt_state: optax.OptState) -> list[Group]:
    """The groups of parameters that an optimizer's state scales differently."""
    return merged(possible(_walk(opt_state, "")))


def _walk(node: Any, path: str) -> list[Group]:
    if isinstance(node, _NORMALIZERS):
        return [Group(normalizers=(path,))]
    if declares(node, "update_scale"):
        scale = {path: declared(node, "update_scale")}
        return join(_below(node, path), [_scaled(node, path, scale)])
    if declares(node, "update_scales"):
        return join(_below(node, path), _by_group(node, path))
    if isinstance(node, _COUNTED):
        count = {path: bare(node.count)}
        return [Group(counts=count, clocks=count)]
    if type(node) in _FACTORS:
        return [Group(factors={path: bare(getattr(node, _FACTORS[type(node)]))})]
    if is_injected(node):
        return _injected(node, path)
    if isinstance(node, optax.PartitionState):
        return _partition(node, path)
    if isinstance(node, optax.MaskedState):
        return _masked(node, path)
    return _below(node, path)


def _is_read(node: Any) -> bool:
    return isinstance(node, tuple) and (
        isinstance(node, _READ)
        or declares(node, "update_scale")
        or declares(node, "update_scales")
    )


def _scaled(node: Any, path: str, scale: dict[str, jax.Array]) -> Group:
    """What a state that declares its scale does to updates."""
    rated = declares(node, "is_learning_rate") and declared(node, "is_learning_rate")
    own = Group(rates=scale) if rated else Group(factors=scale)
    if declares(node, "schedule_count"):
        own = replace(own, clocks={path: declared(node, "schedule_count")})
    return own


def _by_group(node: Any, path: str) -> list[Group]:
    """The same for a state that declares several; groups without one are frozen."""
    scales = declared(node, "update_scales")
    if len(scales) == 1:
        return [_scaled(node, path, {path: scale}) for scale in scales.values()]
    place = frozenset(scales)
    return [
        _scaled(node, path, {f"{path}#{name}": scale}).under(
            Label("partition", place, name), trains=True
        )
        for name, scale in sorted(scales.items(), key=lambda x: natural(x[0]))
    ]


def _below(node: Any, path: str) -> list[Group]:
    """What is below: scales of a chain multiply, optimizers in a container do not."""
    parts = {
        name: _walk(child, _under(path, name))
        for name, child in children(node).items()
        if any(map(_is_read, jax.tree.leaves(child, is_leaf=_is_read)))
    }
    optimizers = [
        name for name, groups in parts.items() if any(g.sources for g in groups)
    ]
    if type(node) is tuple or len(parts) < 2:
        return functools.reduce(join, parts.values(), [Group()])
    if isinstance(node, tuple) or len(optimizers) < 2:
        # Fields, or keys of a named chain, which JAX sorts: they are in no order.
        unordered = ([group.anywhere for group in part] for part in parts.values())
        return functools.reduce(join, unordered, [Group()])
    place = ("container", path)
    return [
        group.under(Label("container", place, name))
        for name in optimizers
        for group in parts[name]
    ]


def _injected(node: Any, path: str) -> list[Group]:
    """The injected rate, unless a state below remembers what became of it."""
    groups = _walk(node.inner_state, _under(path, "inner_state"))
    if "learning_rate" not in node.hyperparams or any(g.sources for g in groups):
        return groups
    return join(groups, [Group(rates={path: bare(node.hyperparams["learning_rate"])})])


def _partition(node: Any, path: str) -> list[Group]:
    parts = children(node.inner_states)
    place = frozenset(parts)
    groups = []
    for name, child in parts.items():
        under, inner = _under(path, f"inner_states/{name}"), child
        if isinstance(child, optax.MaskedState):
            under, inner = _under(under, "inner_state"), child.inner_state
        # A bare EmptyState is that of set_to_zero and of identity.
        trains = not isinstance(inner, optax.EmptyState)
        paths = sides(inner)
        groups += [
            group.under(Label("partition", place, name, paths=paths), trains=trains)
            for group in _walk(inner, under)
        ]
    return groups


def _masked(node: Any, path: str) -> list[Group]:
    # The same inside and outside of wrappers such as a record.
    steps = [step for step in path.split("/") if step and step not in WRAPPERS]
    name = "_".join(["masked", *(["/".join(steps)] if steps else [])])
    paths = sides(node.inner_state)
    within = Label("mask", path, name, paths=paths)
    others = paths and (paths[1], paths[0])
    beyond = Label("mask", path, f"un{name}", inside=False, paths=others)
    inside = _walk(node.inner_state, _under(path, "inner_state"))
    return [*(group.under(within) for group in inside), Group().under(beyond)]


def _under(path: str, name: str) -> str:
    return f"{path}/{name}" if path else name
