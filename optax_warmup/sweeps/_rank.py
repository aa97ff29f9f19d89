"""Which configuration did best, and whether chance could explain it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jax.typing import ArrayLike

from optax_warmup import _check
from optax_warmup._drawing import notebook
from optax_warmup._drawing.numbers import number as as_text
from optax_warmup.sweeps._points import Configuration, plain


class Ranked(NamedTuple):
    """The results of one configuration over its seeds.

    Attributes:
        configuration: the configuration without the seed.
        mean: the mean of the finite values; NaN if there are none.
        standard_error: the standard error of the mean; NaN for fewer than two values.
        runs: the number of runs.
        diverged: how many of them ended in NaN or infinity.
        tied: whether chance could explain that it is not the best: the best mean is
            ahead by at most twice the standard error of the difference, or that error
            is unknown.

    Example:
        >>> import optax_warmup as ow
        >>> points = ow.sweeps.grid(peak_value=[0.1, 0.2], seed=range(2))
        >>> ow.sweeps.rank(points, [3.0, 3.2, 1.0, float("nan")])[1].diverged
        1
    """

    configuration: Configuration
    mean: float
    standard_error: float
    runs: int
    diverged: int
    tied: bool


class Ranking(list[Ranked]):
    """What `rank` returns: a list that a notebook shows as a table."""

    @notebook.never_raises
    def _repr_html_(self) -> str:
        names = list(self[0].configuration) if self else []
        head = [*names, "mean", "standard error", "runs", "diverged", "tied"]
        rows = [
            [
                *(_text(each.configuration[name]) for name in names),
                as_text(each.mean, 4),
                as_text(each.standard_error, 2),
                f"{each.runs:,}",
                f"{each.diverged:,}",
                "yes" if each.tied else "no",
            ]
            for each in self
        ]
        return notebook.output(notebook.table(head, rows))


def _text(value: Any) -> str:
    return as_text(value, 4) if isinstance(value, float) else str(value)


def rank(
    configurations: Sequence[Configuration],
    values: ArrayLike | Sequence[ArrayLike],
    *,
    over: str = "seed",
    largest_first: bool = False,
) -> list[Ranked]:
    """Ranks the configurations of a sweep, best first, averaged over their seeds.

    mean = sum(values) / n
    standard_error = sqrt(sum((values - mean)**2) / (n - 1) / n)

    A configuration that diverged with any seed comes after all that never did. The mean
    of the winner is biased: among equals the luckiest comes first. Train it again with
    other seeds before you report a number.

    Args:
        configurations: those that `sweep` was given, each once.
        values: what to rank by, such as the validation loss; shape (configurations,).
        over: the name of the seed, by which runs of one configuration differ.
            Configurations without a "seed" are single runs.
        largest_first: whether larger is better, as for an accuracy or a reward.

    Returns:
        A list of `Ranked`, one for each configuration without its seed. A notebook
        shows a table.

    Raises:
        TypeError: a configuration is not a dict, or a value is not a real number.
        ValueError: there is no configuration, the number of values differs, a
            configuration has other names than the first or occurs twice, or `over` is
            not one of the names.

    Example:
        >>> import optax_warmup as ow
        >>> points = ow.sweeps.grid(peak_value=[0.1, 0.2, 0.4], seed=range(2))
        >>> for each in ow.sweeps.rank(points, [3.0, 3.2, 1.0, 1.4, 1.2, 1.6]):
        ...     print(each.configuration, round(each.mean, 2), each.tied)
        {'peak_value': 0.2} 1.2 True
        {'peak_value': 0.4} 1.4 True
        {'peak_value': 0.1} 3.1 False
    """
    _check_configurations(configurations, over)
    _check.flag("rank", "largest_first", largest_first)
    numbers = _as_numbers(values)
    if numbers.shape != (len(configurations),):
        raise ValueError(
            f"rank: values must hold one number for each of the "
            f"{len(configurations)} configurations, got shape {numbers.shape}; for "
            f"losses of every step pass those of the last, losses[:, -1]."
        )
    groups: dict[str, tuple[Configuration, list[float]]] = {}
    for configuration, number in zip(configurations, numbers, strict=True):
        rest = {name: plain(x) for name, x in configuration.items() if name != over}
        groups.setdefault(_key(rest), (rest, []))[1].append(float(number))
    ranked = [_ranked(rest, np.array(found)) for rest, found in groups.values()]
    sign = -1 if largest_first else 1
    ranked.sort(key=lambda r: (r.diverged > 0, math.isnan(r.mean), sign * r.mean))
    best = ranked[0]
    return Ranking(each._replace(tied=_tied(each, best)) for each in ranked)


def _check_configurations(configurations: Sequence[Configuration], over: str) -> None:
    if not isinstance(configurations, list | tuple):
        raise TypeError(
            f"rank: configurations must be a list of dicts, got {configurations!r}."
        )
    if not isinstance(over, str):
        raise TypeError(f"rank: over must be the name of the seed, got {over!r}.")
    if not len(configurations):
        raise ValueError("rank: configurations must hold at least one, got none.")
    for index, each in enumerate(configurations):
        if not isinstance(each, dict):
            raise TypeError(
                f"rank: configurations[{index}] must be a dict of names and numbers, "
                f"got {each!r}."
            )
    names = sorted(configurations[0])
    if over not in names and over != "seed":
        raise ValueError(
            f"rank: over must be one of the names {', '.join(names)}, got {over!r}."
        )
    seen: dict[str, int] = {}
    for index, each in enumerate(configurations):
        if sorted(each) != names:
            raise ValueError(
                f"rank: configurations[{index}] must have the names of the first, "
                f"{names}, got {sorted(each)}."
            )
        first = seen.setdefault(_key({n: plain(x) for n, x in each.items()}), index)
        if first != index:
            raise ValueError(
                f"rank: configurations[{index}] must differ from the others, it is "
                f"configurations[{first}] again; runs of one configuration differ in "
                f"their {over!r}."
            )


def _as_numbers(values: ArrayLike | Sequence[ArrayLike]) -> np.ndarray:
    try:
        array = np.asarray(values)
    except ValueError:  # lists of different lengths
        array = np.asarray(values, object)
    if not (_check.is_real(array.dtype) or array.size == 0):
        raise TypeError(
            f"rank: values must be real numbers, got an array of {array.dtype}."
        )
    return array.astype(np.float64)


def _key(configuration: Configuration) -> str:
    return repr(sorted(configuration.items()))


def _ranked(configuration: Configuration, values: np.ndarray) -> Ranked:
    finite = values[np.isfinite(values)]
    n = len(finite)
    return Ranked(
        configuration,
        mean=float(np.mean(finite)) if n else math.nan,
        standard_error=float(np.std(finite, ddof=1) / n**0.5) if n > 1 else math.nan,
        runs=len(values),
        diverged=len(values) - n,
        tied=False,
    )


def _tied(each: Ranked, best: Ranked) -> bool:
    if each.diverged > best.diverged or math.isnan(each.mean):
        return False
    noise = 2 * math.hypot(each.standard_error, best.standard_error)
    return math.isnan(noise) or abs(each.mean - best.mean) <= noise
