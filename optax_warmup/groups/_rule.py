"""A rule, and what an array gets from a set of them."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from jax.typing import ArrayLike

from optax_warmup import _check
from optax_warmup._schedules.schedule import Schedule, ScheduleLike, as_schedule
from optax_warmup.groups._match import (
    Array,
    Match,
    checked_match,
    name_of,
)


class Printed:
    """A frozen dataclass whose `repr` is the code that rebuilds it."""

    def __repr__(self) -> str:
        arguments = []
        for index, field in enumerate(dataclasses.fields(self)):  # type: ignore[arg-type]
            value = getattr(self, field.name)
            if index == 0 and not field.kw_only:
                arguments.append(repr(value))
            elif field.default is dataclasses.MISSING or not _is(value, field.default):
                arguments.append(f"{field.name}={value!r}")
        return f"groups.{type(self).__name__}({', '.join(arguments)})"


def _is(value: Any, default: Any) -> bool:
    return value is default or (
        isinstance(value, bool | float | str) and bool(value == default)
    )


@dataclasses.dataclass(frozen=True, repr=False)
class Rule(Printed):
    """What some arrays get: a multiplier, a schedule, a decay, or no updates at all.

    Args:
        match: which arrays: a regular expression that is searched in the path, such as
            "encoder/layers_3/kernel", or a function of the path, or of the path and the
            array, of which only shape and dtype are known.
        multiplier: what the rate is multiplied by: a number >= 0, or a schedule such as
            warmup(1.0, 500), for a warmup of its own.
        learning_rate: a schedule or a number in place of the common learning rate.
        decay_multiplier: what the weight decay is multiplied by, >= 0; 0 for none.
        frozen: whether the arrays stay as they are.
        optional: whether it may match nothing, or only what earlier rules have taken.
        name: of the group, in tables and logs; the pattern, or the name of the
            function, if it is left out. Rules may share one if their rates are equal.

    Raises:
        TypeError: `match` is neither a regular expression nor a function.
        ValueError: a number is negative or not finite; a frozen rule has other
            settings; the regular expression cannot be compiled.

    Example:
        >>> import optax_warmup as ow
        >>> ow.groups.Rule(r"bias$|scale$", decay_multiplier=0, name="vectors")
        groups.Rule('bias$|scale$', decay_multiplier=0.0, name='vectors')
    """

    match: Match
    multiplier: ScheduleLike = dataclasses.field(default=1.0, kw_only=True)
    learning_rate: ScheduleLike | None = dataclasses.field(default=None, kw_only=True)
    decay_multiplier: ArrayLike = dataclasses.field(default=1.0, kw_only=True)
    frozen: bool = dataclasses.field(default=False, kw_only=True)
    optional: bool = dataclasses.field(default=False, kw_only=True)
    name: str = dataclasses.field(default="", kw_only=True)

    def __post_init__(self) -> None:
        owner = "groups.Rule"
        checked_match(owner, "match", self.match)
        multiplier: Any = self.multiplier
        if callable(multiplier):
            multiplier = as_schedule(multiplier, owner, "multiplier")
        else:
            multiplier = _number(owner, "multiplier", multiplier)
        decay = _number(owner, "decay_multiplier", self.decay_multiplier)
        rate = self.learning_rate
        if rate is not None:
            if not callable(rate):
                _check.one(owner, "learning_rate", rate, "a number or a schedule")
            rate = as_schedule(rate, owner, "learning_rate")
        _check.flag(owner, "frozen", self.frozen)
        _check.flag(owner, "optional", self.optional)
        if not isinstance(self.name, str):
            raise TypeError(f"{owner}: name must be a string, got {self.name!r}.")
        for field, value in (
            ("multiplier", multiplier),
            ("decay_multiplier", decay),
            ("learning_rate", rate),
        ):
            object.__setattr__(self, field, value)
        plain = rate is None and is_one(multiplier) and is_one(decay)
        if self.frozen and not plain:
            raise ValueError(
                f"{owner}: a frozen rule has no multiplier, learning_rate or "
                f"decay_multiplier, got {self!r}."
            )

    @property
    def setting(self) -> Setting:
        """What the arrays of this rule get."""
        scheduled = isinstance(self.multiplier, Schedule)
        return Setting(
            name=self.name or name_of(self.match),
            multiplier=1.0 if scheduled else self.multiplier,
            factors=(self.multiplier,) if scheduled else (),
            learning_rate=self.learning_rate,
            decay=self.decay_multiplier,
            frozen=self.frozen,
        )


def _number(owner: str, name: str, value: Any) -> Any:
    _check.one(owner, name, value, "a number")
    return _check.number(owner, name, value, minimum=0)


def is_one(value: Any) -> bool:
    """Whether a number is known to be 1."""
    return isinstance(value, float) and value == 1


@dataclasses.dataclass(frozen=True)
class Setting:
    """What an array, or a slice of it, gets.

    Attributes:
        name: of the rule.
        multiplier: a number on the rate.
        factors: schedules that multiply the rate.
        learning_rate: in place of the common one.
        decay: a number on the weight decay.
        frozen: whether it is not updated.
        also: the names of later rules that match too.
        label: of the group of arrays with the same rate; the name if it is empty.
    """

    name: str
    multiplier: Any = 1.0
    factors: tuple[Any, ...] = ()
    learning_rate: Any = None
    decay: Any = 1.0
    frozen: bool = False
    also: tuple[str, ...] = ()
    label: str = ""

    @property
    def group(self) -> str:
        """The name of its group."""
        return self.label or self.name


# For each array one setting, or one for each slice along its first axis.
Settings: TypeAlias = list[tuple[Setting, ...]]


class RuleSet(abc.ABC):
    """What decides on the settings of all arrays of a model."""

    @abc.abstractmethod
    def settings(self, owner: str, arrays: Sequence[Array]) -> Settings:
        """The settings of each array; raises where a rule does not fit them."""


Rules: TypeAlias = Sequence[Rule] | RuleSet


def same_number(one: Any, other: Any) -> bool:
    """Whether two multipliers are known to be the same."""
    if one is other:
        return True
    if _check.is_traced(one) or _check.is_traced(other):
        return False
    return bool(np.array_equal(one, other))
