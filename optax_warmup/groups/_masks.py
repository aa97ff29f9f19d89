"""Rules as the masks and labels that Optax's own transforms take."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax

from optax_warmup import _check
from optax_warmup.groups._in_order import as_rule_set
from optax_warmup.groups._plan import settings_of
from optax_warmup.groups._rule import Rules, Setting


def labels(rules: Rules) -> Callable[[Any], Any]:
    """Returns a function that labels each array with the name of its rule.

    It is what `optax.partition` takes as its second argument, for groups with different
    optimizers. Groups that differ in their rate alone are cheaper in `scale_by_rules`.

    Args:
        rules: as for `scale_by_rules`.

    Returns:
        A function from parameters to a tree of strings, which raises a ValueError
        where a rule does not fit, or slices of one array have different rules.

    Example:
        >>> import jax.numpy as jnp, optax_warmup as ow
        >>> Rule = ow.groups.Rule
        >>> rules = [Rule("^head", name="head"), Rule(".*", name="body")]
        >>> params = {"head": {"w": jnp.ones(2)}, "layer": jnp.ones(2)}
        >>> ow.groups.labels(rules)(params)
        {'head': {'w': 'head'}, 'layer': 'body'}
    """
    return _each("groups.labels", rules, lambda setting: setting.name)


def decay_mask(rules: Rules) -> Callable[[Any], Any]:
    """Returns a mask of what decays, for transforms that decay weights themselves.

    It is what `optax.adamw` takes as `mask`, and `optax.masked` around `decay_weights`.

    Args:
        rules: as for `scale_by_rules`; frozen arrays do not decay.

    Returns:
        A function from parameters to a tree of booleans, which raises a ValueError
        where a rule does not fit, or a decay multiplier is neither 0 nor 1.

    Example:
        >>> import jax.numpy as jnp, optax, optax_warmup as ow
        >>> Rule = ow.groups.Rule
        >>> mask = ow.groups.decay_mask([Rule("b$", decay_multiplier=0), Rule(".*")])
        >>> mask({"w": jnp.ones(2), "b": jnp.ones(2)})
        {'b': False, 'w': True}
        >>> optimizer = optax.adamw(1e-3, weight_decay=0.1, mask=mask)
    """
    owner = "groups.decay_mask"

    def decays(setting: Setting) -> bool:
        known = not _check.is_traced(setting.decay) and setting.decay in (0, 1)
        if not (known or setting.frozen):
            raise ValueError(
                f"{owner}: the rule {setting.name} multiplies the weight decay by "
                f"{setting.decay!r}, which a mask cannot say. Use scale_by_rules with "
                "weight_decay=."
            )
        return not setting.frozen and setting.decay == 1

    return _each(owner, rules, decays)


def trained_mask(rules: Rules) -> Callable[[Any], Any]:
    """Returns a mask of what is not frozen, for transforms that keep a state for it.

    optax.masked(optax.scale_by_adam(), trained_mask(rules)), in front of
    `scale_by_rules`, keeps no moments of frozen arrays.

    Args:
        rules: as for `scale_by_rules`.

    Returns:
        A function from parameters to a tree of booleans, which raises a ValueError
        where a rule does not fit.

    Example:
        >>> import jax.numpy as jnp, optax_warmup as ow
        >>> Rule = ow.groups.Rule
        >>> mask = ow.groups.trained_mask([Rule("w", frozen=True), Rule(".*")])
        >>> mask({"w": jnp.ones(2), "b": jnp.ones(2)})
        {'b': True, 'w': False}
    """
    return _each("groups.trained_mask", rules, lambda setting: not setting.frozen)


def _each(
    owner: str, rules: Rules, read: Callable[[Setting], Any]
) -> Callable[[Any], Any]:
    rule_set = as_rule_set(owner, rules)

    def read_all(params: Any) -> Any:
        found = []
        for array, each in zip(*settings_of(owner, rule_set, params), strict=True):
            answers = {read(setting) for setting in each}
            if len(answers) > 1:
                raise ValueError(
                    f"{owner}: the slices of {array.path} have different rules. Use "
                    "scale_by_rules, which scales each of them."
                )
            found.append(answers.pop())
        return jax.tree.unflatten(jax.tree.structure(params), found)

    return read_all
