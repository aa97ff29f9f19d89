"""Configurations as columns: one array, or schedule of arrays, for each name."""

import json
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from optax_warmup._config import to_config
from optax_warmup.sweeps._points import Configuration, plain as plain_number
from optax_warmup.values._value import Value

Columns = dict[str, Any]


class Names(NamedTuple):
    """What messages call a configuration and a value of it, for `str.format`."""

    owner: str
    configuration: str
    value: str


_OF_SWEEP = Names(
    "sweep", "configurations[{index}]", "configurations[{index}][{name!r}]"
)


def stack(configurations: Sequence[Configuration], names: Names = _OF_SWEEP) -> Columns:
    """Stacks configurations into one array for each name, or number of a schedule.

    Raises if the configurations cannot share a program.
    """
    owner = names.owner
    if not isinstance(configurations, list | tuple):
        raise TypeError(
            f"{owner}: configurations must be a list of dicts, such as "
            f"ow.sweeps.grid(...) makes, got {configurations!r}."
        )
    if not configurations:
        raise ValueError(
            f"{owner}: configurations must hold at least one, got none; make them with "
            "ow.sweeps.grid(peak_value=[...], seed=[...])."
        )
    first = configurations[0]
    for index, each in enumerate(configurations):
        if not isinstance(each, dict):
            raise TypeError(
                f"{owner}: {names.configuration.format(index=index)} must be a dict of "
                f"names and numbers, got {each!r}."
            )
        if each.keys() != first.keys():
            raise ValueError(
                f"{owner}: {names.configuration.format(index=index)} must have the "
                f"names of the first, {sorted(first)}, got {sorted(each)}."
            )
    return {
        name: _column(names, name, [each[name] for each in configurations])
        for name in first
    }


def _column(names: Names, name: str, values: list[Any]) -> Any:
    owner = names.owner
    for index, value in enumerate(values):
        _check_value(owner, names.value.format(index=index, name=name), value)
    structures: list[Any] = [jax.tree.structure(value) for value in values]
    for value, structure in zip(values, structures, strict=True):
        if structure != structures[0]:
            raise ValueError(
                f"{owner}: values of {name} may differ in their numbers only, got "
                f"{values[0]!r} and {value!r}, which need two programs; sweep each "
                f"kind on its own."
            )
    return jax.tree.map(lambda *numbers: _array(owner, name, numbers), *values)


def _array(owner: str, name: str, numbers: tuple[Any, ...]) -> np.ndarray:
    try:
        array = np.stack([np.asarray(x) for x in numbers])
        return array.astype(jnp.asarray(array).dtype)  # 32 bits, unless JAX has 64
    except (OverflowError, ValueError) as error:
        raise ValueError(f"{owner}: {name} cannot be stacked: {error}.") from error


def _check_value(owner: str, where: str, value: Any) -> None:
    if isinstance(value, Value):
        return
    value = plain_number(value)
    if not isinstance(value, bool | int | float):
        raise TypeError(
            f"{owner}: {where} must be a number or a schedule, got {value!r}; pass "
            "what is the same for all in shared, or write it into train."
        )
    if not math.isfinite(value):
        raise ValueError(f"{owner}: {where} must be finite, got {value!r}.")


def plain(configurations: Sequence[Configuration]) -> list[dict[str, Any]]:
    """Returns the configurations as they are written to a JSON file."""
    rows = [
        {
            name: to_config(x) if isinstance(x, Value) else plain_number(x)
            for name, x in each.items()
        }
        for each in configurations
    ]
    plain_rows: list[dict[str, Any]] = json.loads(json.dumps(rows))
    return plain_rows
