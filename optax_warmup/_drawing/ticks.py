"""The range of an axis, and where its ticks are."""

import math
from collections.abc import Sequence

import numpy as np

_LARGEST = 1e150  # the range of larger values would overflow


def linear(low: float, high: float, most: int = 5) -> list[float]:
    """Returns at most `most` multiples of 1, 2 or 5 times a power of ten."""
    span = high - low
    if not span > 0:
        return [low]
    unit = 10.0 ** math.floor(math.log10(span / max(most - 1, 1)))
    for factor in (1, 2, 5, 10, 20, 50, 100):
        step = unit * factor
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
        if last - first < most:
            return [k * factor * unit for k in range(first, last + 1)]
    return [low]


def log(low: float, high: float, most: int = 5) -> list[float]:
    """Returns at most `most` ticks for a logarithmic axis.

    Powers of ten where there are three or more in the range, otherwise 1, 2 and 5 (or 1
    and 3) times them. A range too narrow for those gets linear ticks.
    """
    first = math.ceil(math.log10(low) - 1e-9)
    last = math.floor(math.log10(high) + 1e-9)
    if last - first >= 2:
        every = -(-(last - first + 1) // most)
        return [10.0**k for k in range(last, first - 1, -every)][::-1]
    for multiples in ((1, 2, 5), (1, 3), (1,)):
        powers = [10.0**k for k in range(first - 1, last + 1)]
        inside = [
            m * power
            for power in powers
            for m in multiples
            if low * (1 - 1e-9) <= m * power <= high * (1 + 1e-9)
        ]
        if 2 <= len(inside) <= most:
            return inside
    return linear(low, high, most)


def steps(
    first: float, last: float, most: int = 6, logarithmic: bool = True
) -> list[float]:
    """Returns at most `most` ticks for an axis of steps, logarithmic in step + 1."""
    if logarithmic and first < 1 and last > 2:
        return [0.0, *log(1, last, most - 1)]
    chosen = (log if logarithmic and first >= 1 else linear)(first, last, most)
    return [tick for tick in chosen if tick == round(tick)]


def bounds(
    values: Sequence[np.ndarray],
    log: bool,
    include: tuple[float, float] | None = None,
) -> tuple[float, float]:
    """Returns the range of an axis: the finite values, with some room around them.

    On a logarithmic axis only positive values count. `include` is a range that the axis
    covers in any case.
    """
    every = np.concatenate([np.ravel(v) for v in values] or [np.empty(0)])
    every = every[np.abs(every) < _LARGEST]  # no NaN and no infinity
    every = every[every > 0] if log else every
    if include is not None:
        every = np.append(every, include)
    if not every.size:
        return (0.1, 1.0) if log else (0.0, 1.0)
    low, high = float(every.min()), float(every.max())
    if log:
        low = max(low, high * 1e-12)
        room = max((high / low) ** 0.06, 1.1)
        return low / room, high * room
    room = 0.06 * (high - low) or 0.5 * abs(high) or 0.5
    return (low if low == 0 else low - room), high + room
