"""The layer of each array, found in its path."""

import re
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np

from optax_warmup.groups._match import Array, listed, name_of

Layers: TypeAlias = str | re.Pattern[str] | Callable[[str], Any]
# Which list of layers, by the keys up to its name; and the number of one of them.
_Numbered: TypeAlias = tuple[tuple[str, ...], int]

_NUMBER = re.compile(r"(.*?)[_-]?(\d+)")


def layers_of(owner: str, arrays: Sequence[Array], layers: Layers | None) -> list[int]:
    """The layer of each array, counted from 0 without gaps.

    Raises:
        ValueError: an array has no layer, or there are several lists of layers.
    """
    if not arrays:
        return []
    places: list[Any]
    if layers is None:
        places = _found(owner, arrays)
    elif isinstance(layers, str | re.Pattern):
        places = [_captured(owner, layers, array) for array in arrays]
    else:
        places = [_called(owner, layers, array) for array in arrays]
    ranks = {place: rank for rank, place in enumerate(sorted(set(places)))}
    return [ranks[place] for place in places]


def _captured(
    owner: str, layers: str | re.Pattern[str], array: Array
) -> tuple[int, ...]:
    found = re.search(layers, array.path)
    if found is None:
        raise ValueError(_without_layer(owner, [array.path]))
    return tuple(int(group) for group in found.groups())


def _called(owner: str, layers: Callable[[str], Any], array: Array) -> int:
    layer = layers(array.path)
    if layer is None:
        raise ValueError(_without_layer(owner, [array.path]))
    whole = isinstance(layer, int | np.integer) and not isinstance(layer, bool)
    if not whole or layer < 0:
        raise ValueError(
            f"{owner}: {name_of(layers)} must return the number of a layer, >= 0, got "
            f"{layer!r} for {array.path}."
        )
    return int(layer)


def _found(owner: str, arrays: Sequence[Array]) -> list[int]:
    """The number in the outermost key that numbers several layers."""
    candidates = _candidates([re.split(r"[/.]", array.path) for array in arrays])
    members: dict[tuple[str, ...], set[int]] = {}
    for numbered in candidates:
        for name, number in numbered:
            members.setdefault(name, set()).add(number)
    lost = [a.path for a, c in zip(arrays, candidates, strict=True) if not c]
    if lost:
        raise ValueError(_without_layer(owner, lost))
    # A module that is alone of its kind is numbered too: "Transformer_0/Block_3".
    chosen = [
        next((x for x in numbered if len(members[x[0]]) > 1), numbered[0])
        for numbered in candidates
    ]
    lists = list(dict.fromkeys(name for name, _ in chosen))
    if len(lists) > 1:
        raise ValueError(
            f"{owner}: several lists of layers are found: "
            f"{listed(['/'.join(name) + '*' for name in lists])}. Say which are "
            "embeddings and head, or give layers=, a regular expression with the "
            r"number of the layer in parentheses, such as r'layers_(\d+)'."
        )
    return [number for _, number in chosen]


def _candidates(paths: Sequence[Sequence[str]]) -> list[list[_Numbered]]:
    """For each path its numbered keys, from the outside in."""
    everywhere = [
        ((*path[:end], found[1]), int(found[2]))
        for path in paths
        for end, key in enumerate(path)
        if (found := _NUMBER.fullmatch(key))
    ]
    stems = {name for name, _ in everywhere if name[-1]}
    zeros = {name for name, number in everywhere if number == 0}
    result = []
    for path in paths:
        numbered: list[_Numbered] = []
        for end, key in enumerate(path):
            found = _NUMBER.fullmatch(key)
            if found:
                numbered.append(((*path[:end], found[1]), int(found[2])))
            elif (*path[:end], key) in stems - zeros:
                # Haiku calls the first of several "linear", the second "linear_1".
                numbered.append(((*path[:end], key), 0))
        result.append(numbered)
    return result


def _without_layer(owner: str, paths: Sequence[str]) -> str:
    return (
        f"{owner}: no layer is found for {listed(paths)}. Say embed= or head= for what "
        "is in front of the layers or behind them, stacked= for arrays with one slice "
        "a layer, or layers= for another way to number them."
    )
