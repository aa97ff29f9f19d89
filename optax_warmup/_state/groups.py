"""Groups of parameters whose updates are scaled alike, and what scales them."""

import itertools
from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field, replace

import jax
import jax.numpy as jnp

from optax_warmup._state import masks


@dataclass(frozen=True)
class Label:
    """One side of a place at which parameters part.

    Attributes:
        kind: "partition", "mask" or "container" (of several optimizers).
        place: which one. Partitions with the same labels count as one and the same.
        name: of this side, for people.
        inside: False for the parameters that a mask leaves out.
        paths: of the parameters on this side and on all others, None where no state
            shows them.
    """

    kind: str
    place: Hashable
    name: str
    inside: bool = True
    paths: masks.Sides | None = field(default=None, compare=False)


@dataclass(frozen=True, eq=False)
class Group:
    """Parameters that share all scales, and these by the paths of their states.

    Attributes:
        labels: which parameters they are; empty for all.
        rates: learning rates that states hold.
        counts: of optax's schedules, whose values no state holds.
        factors: what multiplies a learning rate.
        clocks: how many updates each schedule or factor has counted.
        normalizers: transforms whose output does not depend on the scale of their
            input, as Adam's.
        undone: scales in front of one, which have no effect.
        trains: whether an optimizer of a partition stands for them, though perhaps
            nothing shows its rate.
    """

    labels: tuple[Label, ...] = ()
    rates: dict[str, jax.Array] = field(default_factory=dict)
    counts: dict[str, jax.Array] = field(default_factory=dict)
    factors: dict[str, jax.Array] = field(default_factory=dict)
    clocks: dict[str, jax.Array] = field(default_factory=dict)
    normalizers: tuple[str, ...] = ()
    undone: tuple[str, ...] = ()
    trains: bool = False

    @property
    def sources(self) -> list[str]:
        """The paths of what sets a learning rate; a sound group has one at most."""
        return [*self.rates, *self.counts]

    @property
    def name(self) -> str:
        """The labels; for masks the paths of their parameters, where a state shows."""
        hidden = [x for x in self.labels if not (x.kind == "mask" and x.paths)]
        masked = len(hidden) < len(self.labels)
        shown = masks.all_of([x.paths for x in self.labels]) if masked else None
        # What masks leave out is named only where nothing else is known.
        inside = [x.name for x in hidden if x.inside]
        names = inside if inside or shown else [x.name for x in hidden]
        return (
            "/".join([*names, *([masks.described(*shown)] if shown else [])]) or "all"
        )

    @property
    def label(self) -> str:
        """The labels of partitions alone, by which schedules are given, too."""
        return "/".join(x.name for x in self.labels if x.kind != "mask")

    @property
    def lacks_rate(self) -> bool:
        """Whether a schedule must be given for its rate to be known."""
        return bool(self.counts) or (not self.rates and self.may_train)

    @property
    def is_known(self) -> bool:
        """Whether its rate is, and is not divided out again."""
        return len(self.sources) == len(self.rates) == 1 and not self.undone

    @property
    def is_empty(self) -> bool:
        """Whether no parameter has all the labels.

        A part of a partition that stands for no parameters keeps its name.
        """
        shown = masks.all_of(
            label.paths
            for label in self.labels
            if label.paths and (label.paths[0] or label.kind == "mask")
        )
        return shown is not None and not shown[0]

    @property
    def may_train(self) -> bool:
        """Whether without a visible rate these are trained, and not left out."""
        return self.trains or not self.labels

    @property
    def anywhere(self) -> "Group":
        """The same, in no order with others."""
        return replace(self, normalizers=())

    def under(self, label: Label, *, trains: bool = False) -> "Group":
        """The same on one side of a place at which parameters part."""
        if label.kind == "partition":  # the partitions below are those of this side
            below = tuple(
                replace(x, place=(label, x.place)) if x.kind == "partition" else x
                for x in self.labels
            )
        else:
            below = self.labels
        # What a mask leaves out of an optimizer is not trained by it.
        left_out = any(x.kind == "mask" and not x.inside for x in self.labels)
        trains = self.trains or (trains and not left_out)
        return replace(self, labels=(label, *below), trains=trains)


def product_of(group: Group, *, factors: bool = True) -> jax.Array:
    """The rate of a group times its factors; the factors alone where it has no rate."""
    product = jnp.ones((), jnp.float32)
    for scale in (*group.rates.values(), *(group.factors.values() if factors else ())):
        product = product * jnp.asarray(scale)
    return product


def join(some: list[Group], others: list[Group]) -> list[Group]:
    """The groups on which two transforms act in turn, with the scales of both."""
    return [
        Group(
            labels=tuple(dict.fromkeys((*one.labels, *other.labels))),
            rates=one.rates | other.rates,
            counts=one.counts | other.counts,
            factors=one.factors | other.factors,
            clocks=one.clocks | other.clocks,
            normalizers=one.normalizers + other.normalizers,
            undone=(*one.undone, *other.undone, *_undone(one, other)),
            trains=one.trains or other.trains,
        )
        for one, other in itertools.product(some, others)
        if _overlap(one, other)
    ]


def _undone(one: Group, other: Group) -> list[str]:
    return [*one.sources, *one.factors] if other.normalizers else []


def _overlap(one: Group, other: Group) -> bool:
    """Whether parameters can be in both: not under two labels of one partition."""
    sides = {label.place: label for label in one.labels}
    return all(sides.get(label.place, label) == label for label in other.labels)


def merged(groups: list[Group]) -> list[Group]:
    """The groups without the partitions and masks that make no difference to scales.

    Where no learning rate is known a partition stays: its labels are the names by which
    a rate can be given.
    """
    for place in {label.place: None for group in groups for label in group.labels}:
        groups = _without(place, groups)
    return groups


def _without(place: Hashable, groups: list[Group]) -> list[Group]:
    kept: list[Group] = []
    for group in groups:
        part = [label for label in group.labels if label.place == place]
        if part and part[0].kind != "mask" and not group.sources:
            return groups
        labels = tuple(label for label in group.labels if label.place != place)
        kept.append(replace(group, labels=labels))
    for one, other in itertools.combinations(kept, 2):
        alike = (one.sources, *one.factors) == (other.sources, *other.factors)
        # Nothing but this place tells them apart.
        if not alike and _overlap(one, other):
            return groups
    first = {group.labels: group for group in reversed(kept)}
    trained = {group.labels for group in kept if group.trains}
    return [replace(g, trains=g.labels in trained) for g in first.values()][::-1]


def possible(groups: Iterable[Group]) -> list[Group]:
    """The groups without those that are empty, or in which the rates of two masks meet.

    Masks around two whole optimizers, whose parameters are not shown, do not overlap,
    or these would be trained by both, one on the other's updates.
    """
    return [g for g in groups if not g.is_empty and not _two_masks(g)]


def _two_masks(group: Group) -> bool:
    masks = [label for label in group.labels if label.kind == "mask" and label.inside]
    if all(label.paths for label in masks):
        return False  # whether they overlap is known
    around = [
        {m.place for m in masks if path.startswith(f"{m.place}/" if m.place else "")}
        for path in group.sources
    ]
    return len(around) > 1 and not any(
        one <= other for one, other in itertools.permutations(around, 2)
    )


def names(groups: list[Group]) -> str:
    """Their names, for a message."""
    return ", ".join(group.name for group in groups)


def of(groups: list[Group]) -> str:
    """ "of" and their names for a message; nothing where they are all parameters."""
    return f" of {names(groups)}" if any(group.labels for group in groups) else ""
