"""The configurations of a sweep: a grid, or random points."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterable
from typing import Any

import jax
import numpy as np

from optax_warmup import _check

Configuration = dict[str, Any]


def grid(**axes: Iterable[Any]) -> list[Configuration]:
    """Combines every value of each axis with every value of the others.

    The last axis varies fastest.

    Args:
        **axes: for each name its values, at least one and each once: numbers, or
            schedules that differ in their numbers only.

    Returns:
        A list of dicts for `sweep`, to which you may add others.

    Raises:
        TypeError: an axis is not a sequence.
        ValueError: there is no axis, or one is empty or holds a value twice.

    Example:
        >>> import optax_warmup as ow
        >>> peaks = ow.sweeps.log_space(1e-3, 1e-1, 3)
        >>> points = ow.sweeps.grid(peak_value=peaks, seed=range(2))
        >>> len(points), points[0], points[-1]
        (6, {'peak_value': 0.001, 'seed': 0}, {'peak_value': 0.1, 'seed': 1})
    """
    lists = _axes("grid", axes)
    return [
        dict(zip(lists, values, strict=True))
        for values in itertools.product(*lists.values())
    ]


def random_search(
    count: int, /, *, random_seed: int = 0, **axes: Iterable[Any]
) -> list[Configuration]:
    """Draws random points that are spread evenly along every axis.

    A Latin hypercube: each axis is divided into `count` parts of equal probability, and
    every part is hit once. If only some of the axes matter, that finds more than a grid
    with as many points.

    To train every point with three seeds:
    `[point | {"seed": seed} for point in points for seed in range(3)]`.

    Args:
        count: the number of points, >= 1.
        random_seed: an integer >= 0; equal seed, count and axes give equal points.
        **axes: for each name a tuple (low, high), a range on a logarithmic scale with
            0 < low < high, of integers if both are; or a list (or range) of values to
            choose from.

    Returns:
        A list of `count` dicts, as `sweep` takes them.

    Raises:
        TypeError: an axis is neither a pair of numbers nor a sequence, or
            `random_seed` is not an integer.
        ValueError: there is no axis, one is empty, a range is not 0 < low < high, or
            `random_seed` is negative.

    Example:
        >>> import optax_warmup as ow
        >>> points = ow.sweeps.random_search(
        ...     4, peak_value=(1e-4, 1.0), warmup_steps=[0, 10]
        ... )
        >>> sorted(int(math.log10(point["peak_value"])) for point in points)
        [-3, -2, -1, 0]
        >>> sorted(point["warmup_steps"] for point in points)
        [0, 0, 10, 10]

    Source: McKay, Beckman, Conover, "A Comparison of Three Methods for Selecting Values
    of Input Variables in the Analysis of Output from a Computer Code", Technometrics
    1979; Bergstra, Bengio, "Random Search for Hyper-Parameter Optimization", JMLR 2012.
    """
    count = _check.count("random_search", "count", count, minimum=1)
    random_seed = _check.count("random_search", "random_seed", random_seed)
    random = np.random.default_rng(random_seed)
    ranges = {name: axis for name, axis in axes.items() if isinstance(axis, tuple)}
    lists = _axes("random_search", axes, besides=ranges)
    columns = {}
    for name in axes:
        uniform = (random.permutation(count) + random.random(count)) / count
        if name in ranges:
            columns[name] = _drawn(name, ranges[name], uniform)
        else:
            values = lists[name]
            columns[name] = [values[int(u * len(values))] for u in uniform]
    return [
        dict(zip(columns, values, strict=True))
        for values in zip(*columns.values(), strict=True)
    ]


def log_space(low: float, high: float, count: int) -> list[Any]:
    """Returns values from `low` to `high`, each the same multiple of the one before.

    value(i) = low * (high / low)**(i / (count - 1))

    Args:
        low: the first value, > 0, as a logarithmic scale has no 0.
        high: the last value, > low.
        count: the number of values, >= 2.

    Returns:
        A list of floats; if both ends are ints, of ints, each once.

    Raises:
        TypeError: an argument is not a number.
        ValueError: an argument is out of its range.

    Example:
        >>> import optax_warmup as ow
        >>> ow.sweeps.log_space(1e-3, 1e-1, 3), ow.sweeps.log_space(1, 1000, 4)
        ([0.001, 0.01, 0.1], [1, 10, 100, 1000])
    """
    low, high = plain(low), plain(high)
    _check_range("log_space", "low", low, "high", high)
    count = _check.count("log_space", "count", count, minimum=2)
    inner = [_between(low, high, i / (count - 1)) for i in range(1, count - 1)]
    return list(dict.fromkeys([low, *inner, high]))


def _drawn(name: str, ends: tuple[Any, ...], uniform: np.ndarray) -> list[Any]:
    if len(ends) != 2:
        raise TypeError(
            f"random_search: {name} must be a pair (low, high) or a list of values to "
            f"choose from, got {ends!r}."
        )
    _check_range("random_search", f"{name}[0]", ends[0], f"{name}[1]", ends[1])
    return [_between(*ends, u) for u in uniform]


def _between(low: float, high: float, share: float) -> Any:
    value = math.exp(math.log(low) + share * math.log(high / low))
    # Twelve digits: 0.01 rather than 0.010000000000000002.
    return round(value) if _whole(low, high) else float(f"{value:.12g}")


def _whole(*values: Any) -> bool:
    return all(isinstance(value, int) for value in values)


def _check_range(
    owner: str, low_name: str, low: Any, high_name: str, high: Any
) -> None:
    hint = (
        "a logarithmic scale has no 0: start at the smallest value that matters, and "
        "add 0 to the list yourself"
    )
    _check.scalar(owner, low_name, low, above=0, hint=hint)
    _check.scalar(owner, high_name, high)
    if not low < high:
        raise ValueError(
            f"{owner}: {low_name} must be below {high_name}, got {low_name}={low!r} "
            f"and {high_name}={high!r}."
        )


def _axes(
    owner: str, axes: dict[str, Iterable[Any]], besides: Iterable[str] = ()
) -> dict[str, list[Any]]:
    """Returns each axis as a list of plain values."""
    if not axes:
        raise ValueError(f"{owner}: give at least one axis, such as seed=range(3).")
    lists = {}
    for name, axis in axes.items():
        if name in besides:
            continue
        unordered = isinstance(axis, str | bytes | dict | set)
        unordered = unordered or getattr(axis, "ndim", 1) == 0
        if unordered or not isinstance(axis, Iterable):
            raise TypeError(
                f"{owner}: {name} must be a sequence of values, got {axis!r}; for a "
                f"single value pass [{axis!r}]."
            )
        values = [plain(value) for value in axis]
        if not values:
            raise ValueError(
                f"{owner}: {name} must hold at least one value, got {axis!r}; an empty "
                "axis leaves no configuration."
            )
        repeated = [key for key, n in Counter(map(repr, values)).items() if n > 1]
        if repeated:
            raise ValueError(
                f"{owner}: {name} must hold each value once, got {repeated[0]} more "
                "than once."
            )
        lists[name] = values
    return lists


def plain(value: Any) -> Any:
    """Converts a NumPy or JAX scalar to a Python number, which prints and is JSON."""
    scalar = isinstance(value, np.generic | np.ndarray | jax.Array) and value.ndim == 0
    return value.item() if scalar else value
