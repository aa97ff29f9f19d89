"""A list of rules, of which the first that matches counts."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from optax_warmup.groups._match import Array, listed, matches
from optax_warmup.groups._rule import Rule, RuleSet, Settings, same_number


@dataclasses.dataclass(frozen=True)
class InOrder(RuleSet):
    """Rules of which the first that matches counts."""

    rules: tuple[Rule, ...]

    def settings(self, owner: str, arrays: Sequence[Array]) -> Settings:
        """The setting of the first rule that matches each array."""
        found = [
            [k for k, r in enumerate(self.rules) if matches(owner, r.match, array)]
            for array in arrays
        ]
        missed = [a.path for a, rules in zip(arrays, found, strict=True) if not rules]
        if missed:
            raise ValueError(
                f"{owner}: no rule matches {listed(missed)}. End the rules with one "
                "for the rest, such as Rule('.*')."
            )
        self._require_all_used(owner, arrays, found)
        names = _names(self.rules)
        everywhere = set.intersection(*map(set, found)) if found else set()
        return [
            (
                dataclasses.replace(
                    self.rules[first].setting,
                    name=names[first],
                    also=tuple(names[k] for k in later if k not in everywhere),
                ),
            )
            for first, *later in found
        ]

    def _require_all_used(
        self, owner: str, arrays: Sequence[Array], found: list[list[int]]
    ) -> None:
        for index, rule in enumerate(self.rules):
            first = [matched[0] for matched in found if index in matched]
            if rule.optional or index in first:
                continue
            if not first:
                raise ValueError(
                    f"{owner}: the rule {rule!r} matches nothing; paths are such as "
                    f"{listed([array.path for array in arrays])}. Correct it, leave it "
                    "out, or say optional=True."
                )
            takers = [self.rules[k].setting.name for k in dict.fromkeys(first)]
            raise ValueError(
                f"{owner}: the rule {rule!r} matches only what earlier rules have "
                f"taken ({listed(takers)}). Put it in front of them, or say "
                "optional=True."
            )


def as_rule_set(owner: str, rules: Any) -> RuleSet:
    """A list of rules, or a set of them, as a set."""
    if isinstance(rules, RuleSet):
        return rules
    if not isinstance(rules, list | tuple):
        raise TypeError(
            f"{owner}: rules must be a list of optax_warmup.groups.Rule, or what "
            f"layerwise_decay, mup_adam, mup_sgd or combine return, got {rules!r}."
        )
    for index, rule in enumerate(rules):
        if not isinstance(rule, Rule):
            hint = (
                " To apply several sets of rules to the same arrays, use combine."
                if isinstance(rule, RuleSet)
                else ""
            )
            raise TypeError(
                f"{owner}: rules[{index}] must be an optax_warmup.groups.Rule, got "
                f"{rule!r}.{hint}"
            )
    if not rules:
        raise ValueError(f"{owner}: rules must not be empty.")
    for index, rule in enumerate(rules):
        if any(rule is other for other in rules[:index]):
            raise ValueError(f"{owner}: rules[{index}] is given twice: {rule!r}.")
        for other in rules[:index]:
            _require_own_name(owner, rule, other)
    return InOrder(tuple(rules))


def _require_own_name(owner: str, rule: Rule, other: Rule) -> None:
    """Refuses a name that says two different rates in tables and logs."""
    one, two = rule.setting, other.setting
    if one.name != two.name or not (rule.name or other.name):
        return
    alike = (
        one.frozen == two.frozen
        and same_number(one.multiplier, two.multiplier)
        and one.factors == two.factors
        and one.learning_rate == two.learning_rate
    )
    if not alike:
        raise ValueError(
            f"{owner}: two rules with different rates have the name {one.name!r}, so "
            f"that tables and logs cannot tell them apart: {other!r} and {rule!r}. "
            "Give one of them another name=."
        )


def _names(rules: Sequence[Rule]) -> list[str]:
    """The name of each rule; several functions of one name are numbered."""
    names: list[str] = []
    for rule in rules:
        name, number = rule.setting.name, 2
        while not rule.name and name in names:
            name, number = f"{rule.setting.name} ({number})", number + 1
        names.append(name)
    return names
