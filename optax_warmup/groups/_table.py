"""What each array gets from a set of rules, as a table."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from optax_warmup import _check
from optax_warmup._drawing import notebook
from optax_warmup.groups._in_order import as_rule_set
from optax_warmup.groups._plan import settings_of
from optax_warmup.groups._rule import Rules, Setting, is_one

_OWNER = "groups.table"
_RIGHT = {3, 5}  # the columns of numbers


@dataclasses.dataclass(frozen=True)
class Row:
    """What one array gets.

    Attributes:
        path: of the array.
        shape: of the array.
        rule: the name of its rule; with `combine` one of each set, joined by " / ".
        multiplier: a number; schedules that multiply, too; one for each slice of a
            stacked array.
        learning_rate: a schedule of its own, or None for the common one.
        decay_multiplier: of the weight decay, one for each slice of a stacked array.
        frozen: whether it is not updated.
        also: the names of later rules that match too, but for those that match all.

    Example:
        >>> import jax.numpy as jnp, optax_warmup as ow
        >>> rules = [ow.groups.Rule("w", multiplier=0.5)]
        >>> ow.groups.table(rules, {"w": jnp.ones(2)}).rows[0].multiplier
        (0.5,)
    """

    path: str
    shape: tuple[int, ...]
    rule: str
    multiplier: tuple[Any, ...]
    learning_rate: Any
    decay_multiplier: tuple[Any, ...]
    frozen: bool
    also: tuple[str, ...]


@dataclasses.dataclass(frozen=True, repr=False)
class Table:
    """The rows of a table, which prints as text; a notebook shows a table.

    Attributes:
        rows: one for each array, in the order of `jax.tree.leaves`.

    Example:
        >>> import jax.numpy as jnp, optax_warmup as ow
        >>> rules = [ow.groups.Rule("w", frozen=True)]
        >>> table = ow.groups.table(rules, {"w": jnp.ones(2)})
        >>> isinstance(table, ow.groups.Table), len(table.rows)
        (True, 1)
    """

    rows: tuple[Row, ...]

    def __str__(self) -> str:
        return _aligned(self._lines(), right=_RIGHT)

    @notebook.never_raises
    def _repr_html_(self) -> str:
        head, *lines = self._lines()
        left = set(range(len(head))) - _RIGHT
        return notebook.output(notebook.table(head, lines, text=left))

    def _lines(self) -> list[list[str]]:
        head = ["path", "shape", "rule", "multiplier", "learning rate", "decay"]
        cells = [_cells(row) for row in self.rows]
        also = [", ".join(row.also) for row in self.rows]
        if any(also):
            head.append("also matches")
            cells = [[*row, more] for row, more in zip(cells, also, strict=True)]
        return [head, *cells]

    __repr__ = __str__


def table(rules: Rules, params: Any) -> Table:
    """Returns what each array gets from a set of rules, to be printed.

    Args:
        rules: as for `scale_by_rules`.
        params: the parameters, or their shapes as of `jax.eval_shape`.

    Returns:
        A `Table`; print it, or read its `rows`.

    Raises:
        TypeError: `rules` is not a set of rules.
        ValueError: a rule does not fit the parameters, as for `scale_by_rules`.

    Example:
        >>> import jax.numpy as jnp, optax_warmup as ow
        >>> Rule = ow.groups.Rule
        >>> rules = [
        ...     Rule("^embed", frozen=True),
        ...     Rule("^head", learning_rate=0.5, name="head"),
        ...     Rule("bias$", decay_multiplier=0),
        ...     Rule(".*", multiplier=0.5, name="rest"),
        ... ]
        >>> params = {k: {"bias": jnp.ones(2)} for k in ("mid", "embed", "head")}
        >>> params["mid"]["kernel"] = jnp.ones((2, 2))
        >>> print(ow.groups.table(rules, params))
        path        shape   rule    multiplier  learning rate  decay  also matches
        embed/bias  (2,)    ^embed              frozen                bias$
        head/bias   (2,)    head             1  constant(0.5)      1  bias$
        mid/bias    (2,)    bias$            1  common             0
        mid/kernel  (2, 2)  rest           0.5  common             1
    """
    rule_set = as_rule_set(_OWNER, rules)
    arrays, settings = settings_of(_OWNER, rule_set, params)
    return Table(
        tuple(
            Row(
                path=array.path,
                shape=tuple(array.like.shape),
                rule=_rule(each),
                multiplier=tuple(_multiplier(setting) for setting in each),
                learning_rate=each[0].learning_rate,
                decay_multiplier=tuple(setting.decay for setting in each),
                frozen=each[0].frozen,
                also=each[0].also,
            )
            for array, each in zip(arrays, settings, strict=True)
        )
    )


def _multiplier(setting: Setting) -> Any:
    """A number, or with schedules a tuple of them all."""
    if not setting.factors:
        return setting.multiplier
    if is_one(setting.multiplier):
        return setting.factors
    return (setting.multiplier, *setting.factors)


def _rule(each: Sequence[Setting]) -> str:
    if len(each) == 1:
        return each[0].name
    return f"{each[0].name} to {each[-1].name}"


def _cells(row: Row) -> list[str]:
    if row.frozen:
        return [row.path, str(row.shape), row.rule, "", "frozen", ""]
    rate = "common" if row.learning_rate is None else repr(row.learning_rate)
    return [
        row.path,
        str(row.shape),
        row.rule,
        _range(row.multiplier),
        rate,
        _range(row.decay_multiplier),
    ]


def _range(values: Sequence[Any]) -> str:
    """A number, or the first and the last of several."""
    texts = list(dict.fromkeys(map(_text, values)))
    return texts[0] if len(texts) == 1 else f"{texts[0]} to {texts[-1]}"


def _text(value: Any) -> str:
    if isinstance(value, tuple):
        return " * ".join(map(_text, value))
    known = isinstance(value, float) and not _check.is_traced(value)
    return f"{value:.4g}" if known else repr(value)


def _aligned(rows: Sequence[Sequence[str]], right: set[int]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = (
        "  ".join(
            cell.rjust(width) if index in right else cell.ljust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )
    return "\n".join(lines)
