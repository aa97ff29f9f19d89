"""Which of a few scales each array gets, decided once for a tree of parameters."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from optax_warmup import _check
from optax_warmup._schedules.schedule import Schedule
from optax_warmup.groups._match import Array, arrays_of, listed
from optax_warmup.groups._rule import RuleSet, Setting, Settings, same_number

_NAMED = 3  # rules in the name of a group


@dataclass(frozen=True)
class Scale:
    """What the updates of a group are multiplied by."""

    number: Any
    factors: tuple[Schedule, ...]
    learning_rate: Schedule | None

    def like(self, other: "Scale") -> bool:
        """Whether both are always the same."""
        return (
            same_number(self.number, other.number)
            and self.factors == other.factors
            and self.learning_rate == other.learning_rate
        )


@dataclass(frozen=True)
class Plan:
    """The scales of a model, and which its arrays get.

    Attributes:
        names: of the groups, sorted.
        scales: one for each name; one that nobody uses if there are no groups.
        indices: for each array the index of its scale, or one for each slice along its
            first axis; -1 where it is frozen.
        decays: for each array what its weight decay is multiplied by, or one for each
            slice.
        paths: of the arrays.
    """

    names: tuple[str, ...]
    scales: tuple[Scale, ...]
    indices: tuple[tuple[int, ...], ...]
    decays: tuple[tuple[Any, ...], ...]
    paths: tuple[str, ...]


def settings_of(owner: str, rules: RuleSet, tree: Any) -> tuple[list[Array], Settings]:
    """The arrays of a tree, and what each of them gets."""
    arrays = arrays_of(tree)
    settings = rules.settings(owner, arrays) if arrays else []
    for array, each in zip(arrays, settings, strict=True):
        _require_slices(owner, array, each)
    return arrays, settings


def plan_of(owner: str, rules: RuleSet, tree: Any) -> Plan:
    """The plan for some parameters, or updates."""
    arrays, settings = settings_of(owner, rules, tree)
    flat = [setting for each in settings for setting in each]
    scales, places = _distinct([setting for setting in flat if not setting.frozen])
    members: list[list[Setting]] = [[] for _ in scales]
    for setting in flat:
        if not setting.frozen:
            members[places[_key(setting)]].append(setting)
    names = _names(members, scales)
    order = sorted(range(len(names)), key=names.__getitem__)
    rank = {index: position for position, index in enumerate(order)}
    return Plan(
        names=tuple(names[index] for index in order),
        scales=tuple(scales[index] for index in order) or (Scale(1.0, (), None),),
        indices=tuple(
            tuple(-1 if x.frozen else rank[places[_key(x)]] for x in each)
            for each in settings
        ),
        decays=tuple(tuple(x.decay for x in each) for each in settings),
        paths=tuple(array.path for array in arrays),
    )


def _require_slices(owner: str, array: Array, each: Sequence[Setting]) -> None:
    shape = array.like.shape
    if len(each) > 1 and (not shape or shape[0] != len(each)):
        raise ValueError(
            f"{owner}: {array.path} of shape {shape} has settings for {len(each)} "
            "slices along its first axis."
        )


def _key(setting: Setting) -> Any:
    """Equal keys are the same scale; the same scale may have several keys."""
    number: Any = setting.multiplier
    return (
        number if isinstance(number, float) else id(number),
        tuple(map(id, setting.factors)),
        id(setting.learning_rate),
    )


def _distinct(settings: Sequence[Setting]) -> tuple[list[Scale], dict[Any, int]]:
    """The different scales, and the index of each key."""
    scales: list[Scale] = []
    places: dict[Any, int] = {}
    for setting in settings:
        key = _key(setting)
        if key in places:
            continue
        scale = Scale(setting.multiplier, setting.factors, setting.learning_rate)
        known = next((k for k, other in enumerate(scales) if scale.like(other)), None)
        places[key] = len(scales) if known is None else known
        if known is None:
            scales.append(scale)
    return scales, places


def _names(members: Sequence[Sequence[Setting]], scales: Sequence[Scale]) -> list[str]:
    """A different name for each group: those of its rules."""
    names: list[str] = []
    for settings, scale in zip(members, scales, strict=True):
        rules = list(dict.fromkeys(setting.group for setting in settings))
        name = "+".join(rules[:_NAMED])
        if len(rules) > _NAMED:
            name += f"+{len(rules) - _NAMED} more"
        if name in names and isinstance(scale.number, float):
            name += f" x {scale.number:.4g}"
        number, unique = 2, name
        while unique in names:
            unique, number = f"{name} ({number})", number + 1
        names.append(unique)
    return names


class Plans:
    """The plans for the trees that a transform has met, so that rules are read once."""

    def __init__(self, owner: str, rules: RuleSet) -> None:
        self._owner = owner
        self._rules = rules
        self._known: dict[Any, Plan] = {}
        self._begun: dict[Any, set[Any]] = {}
        self.latest: Plan | None = None  # of the last parameters that a state is for

    def begin(self, params: Any) -> Plan:
        """The plan for parameters of which a state is made."""
        paths, shapes = _of(params)
        self._begun.setdefault(paths, set()).add(shapes)
        self.latest = self._plan(params, paths, shapes)
        return self.latest

    def of(self, updates: Any) -> Plan:
        """The plan for updates.

        Inside `shard_map` their shapes are those of the parts. What was decided for the
        whole arrays holds.
        """
        paths, shapes = _of(updates)
        begun = self._begun.get(paths, set())
        if shapes not in begun and len(begun) == 1:
            shapes = next(iter(begun))
        return self._plan(updates, paths, shapes)

    def _plan(self, tree: Any, paths: Any, shapes: Any) -> Plan:
        if (paths, shapes) not in self._known:
            self._known[paths, shapes] = plan_of(self._owner, self._rules, tree)
        return self._known[paths, shapes]


def _of(tree: Any) -> tuple[Any, Any]:
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return tuple(path for path, _ in leaves), tuple(jnp.shape(x) for _, x in leaves)


def has_rates(plan: Plan, common: Any) -> bool:
    """Whether the scales are learning rates."""
    return common is not None or any(s.learning_rate is not None for s in plan.scales)


def require_rates(owner: str, plan: Plan, has_common: bool) -> None:
    """Refuses arrays without a learning rate, and a rate without arrays."""
    own = [scale.learning_rate is not None for scale in plan.scales]
    if plan.names and has_common and all(own):
        raise ValueError(
            f"{owner}: every rule has a learning rate of its own, and learning_rate is "
            "used for no array. Leave it out."
        )
    if not has_common and any(own) and not all(own):
        lacking = [n for n, has in zip(plan.names, own, strict=True) if not has]
        raise ValueError(
            f"{owner}: some rules have a learning rate of their own, and others "
            f"({listed(lacking)}) none. Pass learning_rate=, and leave out that of the "
            "optimizer in front; or use multipliers alone."
        )


def require_decay(owner: str, plan: Plan, decay: Any, rated: bool) -> None:
    """Refuses a weight decay without a rate, and multipliers of none."""
    if decay is not None and not rated and (_check.is_traced(decay) or decay > 0):
        raise ValueError(
            f"{owner}: weight_decay follows the learning rate, and the rules are only "
            "multipliers. Pass learning_rate=, or use optax.add_decayed_weights or "
            "optax_warmup.decay_weights."
        )
    if decay is not None:
        return
    lost = [
        path
        for path, decays in zip(plan.paths, plan.decays, strict=True)
        if any(_check.is_traced(x) or x != 1 for x in decays)
    ]
    if lost:
        raise ValueError(
            f"{owner}: the rules have decay multipliers ({listed(lost)}), and there is "
            "no weight_decay to multiply. Pass weight_decay=, and leave out that of "
            "the optimizer in front. weight_decay=0.0 says that nothing decays. If "
            "another transform decays, give it mask=optax_warmup.groups.decay_mask("
            "rules), and rules without decay multipliers here."
        )
