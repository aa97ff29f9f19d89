"""Several sets of rules for the same arrays."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from optax_warmup import _check
from optax_warmup.groups._in_order import as_rule_set
from optax_warmup.groups._match import Array
from optax_warmup.groups._rule import (
    Rules,
    RuleSet,
    Setting,
    Settings,
)


@dataclasses.dataclass(frozen=True, repr=False)
class _Combined(RuleSet):
    sets: tuple[RuleSet, ...]
    given: tuple[Any, ...]  # as the user wrote them, for repr

    def __repr__(self) -> str:
        return f"groups.combine({', '.join(map(repr, self.given))})"

    def settings(self, owner: str, arrays: Sequence[Array]) -> Settings:
        each = [rules.settings(owner, arrays) for rules in self.sets]
        varied = [_varies(settings) for settings in each]
        return [
            _merged(owner, array, settings, varied)
            for array, *settings in zip(arrays, *each, strict=True)
        ]


def combine(*rules: Rules) -> RuleSet:
    """Applies several sets of rules to the same arrays.

    Each set gives every array a setting. Multipliers multiply, decay multipliers too,
    and an array is frozen if any set freezes it. So "no decay for biases" and a
    layer-wise decay need no rule for each pair.

    Args:
        rules: two or more lists of `Rule`, or what `layerwise_decay`, `mup_adam`,
            `mup_sgd` and `combine` return.

    Returns:
        A set of rules. A group is named by those of its rules that matter for the rate,
        joined by "/".

    Raises:
        TypeError: an argument is not a set of rules.
        ValueError: there are fewer than two; later, where they are used, two give the
            same array a learning rate.

    Example:
        >>> import jax.numpy as jnp, optax_warmup as ow
        >>> params = {"layer_0": {"w": jnp.ones((2, 2)), "b": jnp.ones(2)}}
        >>> rules = ow.groups.combine(
        ...     [ow.groups.Rule("b$", decay_multiplier=0), ow.groups.Rule(".*")],
        ...     ow.groups.layerwise_decay(0.5, embed=None, head=None),
        ... )
        >>> print(ow.groups.table(rules, params))
        path       shape   rule          multiplier  learning rate  decay
        layer_0/b  (2,)    b$ / layer_0         0.5  common             0
        layer_0/w  (2, 2)  .* / layer_0         0.5  common             1
    """
    owner = "groups.combine"
    if len(rules) < 2:
        raise ValueError(f"{owner}: give two or more sets of rules, got {len(rules)}.")
    return _Combined(tuple(as_rule_set(owner, each) for each in rules), rules)


def _varies(settings: Settings) -> bool:
    """Whether the rate depends on the set: only then its names are of interest."""
    seen = {
        (
            id(x.multiplier) if _check.is_traced(x.multiplier) else x.multiplier,
            tuple(map(id, x.factors)),
            id(x.learning_rate),
            x.frozen,
        )
        for each in settings
        for x in each
    }
    return len(seen) > 1


def _merged(
    owner: str,
    array: Array,
    settings: Sequence[tuple[Setting, ...]],
    varied: Sequence[bool],
) -> tuple[Setting, ...]:
    slices = max(map(len, settings))
    if any(len(each) not in (1, slices) for each in settings):
        raise ValueError(
            f"{owner}: two sets of rules slice {array.path} of shape "
            f"{array.like.shape} in different ways."
        )
    return tuple(
        _product(owner, array, [x[k] if len(x) > 1 else x[0] for x in settings], varied)
        for k in range(slices)
    )


def _product(
    owner: str, array: Array, settings: Sequence[Setting], varied: Sequence[bool]
) -> Setting:
    rates = [x for x in settings if x.learning_rate is not None]
    if len(rates) > 1:
        raise ValueError(
            f"{owner}: two rules give {array.path} a learning rate: {rates[0].name} "
            f"and {rates[1].name}. Use a multiplier for one of them."
        )
    multiplier, decay = settings[0].multiplier, settings[0].decay
    for x in settings[1:]:
        multiplier, decay = multiplier * x.multiplier, decay * x.decay
    groups = [x.group for x, v in zip(settings, varied, strict=True) if v]
    return Setting(
        name=" / ".join(x.name for x in settings),
        label="/".join(groups) or settings[0].group,
        multiplier=multiplier,
        factors=tuple(factor for x in settings for factor in x.factors),
        learning_rate=rates[0].learning_rate if rates else None,
        decay=decay,
        frozen=any(x.frozen for x in settings),
        also=tuple(name for x in settings for name in x.also),
    )
