"""Which configuration did best, and how sure that is."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jax.typing import ArrayLike

from optax_warmup.sweeps._points import Configuration


class Ranked(NamedTuple):
    """What one configuration came to, over its seeds.

    Attributes:
        configuration: without the seed.
        mean: of the values that are finite; NaN where none is.
        standard_error: of that mean; NaN for fewer than two values.
        runs: how many there were.
        diverged: how many of them ended in NaN or infinity.
        tied: whether the best one could be better by chance: its mean is ahead by at
            most twice the standard error of the difference, or that is not known.

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


def rank(
    configurations: Sequence[Configuration],
    values: ArrayLike,
    *,
    over: str = "seed",
    largest_first: bool = False,
) -> list[Ranked]:
    """The configurations of a sweep, best first, averaged over their seeds.

    mean = sum(values) / n
    standard_error = sqrt(sum((values - mean)**2) / (n - 1) / n)

    One that diverged with any seed comes after all that never did. The mean of the
    winner flatters it, since of many equals the luckiest comes first: train it again
    with other seeds before you report a number.

    Args:
        configurations: those that `sweep` was given.
        values: what to rank by, shape (configurations,), such as the validation loss.
        over: the name that tells the runs of one configuration apart.
        largest_first: for an accuracy or a reward; the default is for a loss.

    Returns:
        A list of `Ranked`, one for each configuration without its seed.

    Raises:
        ValueError: there are not as many values as configurations.

    Example:
        >>> import optax_warmup as ow
        >>> points = ow.sweeps.grid(peak_value=[0.1, 0.2, 0.4], seed=range(2))
        >>> for each in ow.sweeps.rank(points, [3.0, 3.2, 1.0, 1.4, 1.2, 1.6]):
        ...     print(each.configuration, round(each.mean, 2), each.tied)
        {'peak_value': 0.2} 1.2 True
        {'peak_value': 0.4} 1.4 True
        {'peak_value': 0.1} 3.1 False
    """
    numbers = np.asarray(values, np.float64)
    if numbers.shape != (len(configurations),):
        raise ValueError(
            f"rank: values must be one number for each of the {len(configurations)} "
            f"configurations, got shape {numbers.shape}."
        )
    groups: dict[str, tuple[Configuration, list[float]]] = {}
    for configuration, number in zip(configurations, numbers, strict=True):
        rest = {name: x for name, x in configuration.items() if name != over}
        groups.setdefault(repr(rest), (rest, []))[1].append(float(number))
    ranked = [_ranked(rest, np.array(found)) for rest, found in groups.values()]
    if not groups:
        raise ValueError("rank: configurations must hold at least one, got none.")
    sign = -1 if largest_first else 1
    ranked.sort(key=lambda r: (r.diverged > 0, math.isnan(r.mean), sign * r.mean))
    best = ranked[0]
    return [each._replace(tied=_tied(each, best)) for each in ranked]


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
