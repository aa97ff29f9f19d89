"""Where the axes of a picture get their numbers."""

import math

import numpy as np


def linear(low: float, high: float, most: int = 5) -> list[float]:
    """Round numbers from low to high, `most` of them or fewer."""
    span = high - low
    if not span > 0:
        return [low]
    unit = 10.0 ** math.floor(math.log10(span / most))
    for factor in (1, 2, 5, 10):
        step = factor * unit
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
        if last - first < most:
            break
    return [factor * k * unit for k in range(first, last + 1)]


def log(low: float, high: float, most: int = 5) -> list[float]:
    """Powers of ten from low to high, or 1, 2 and 5 times them where they are few."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    if math.log10(high / low) < 2:
        candidates = [m * 10.0**k for k in range(first, last + 1) for m in (1, 2, 5)]
    else:
        every = -(-(last - first + 1) // most)
        candidates = [10.0**k for k in range(first, last + 1) if k % every == 0]
    return [x for x in candidates if low * (1 - 1e-9) <= x <= high * (1 + 1e-9)]


def label(x: float) -> str:
    """A number on an axis, as short as it can be."""
    if x == 0 or 1e-3 <= abs(x) < 1e4:
        return f"{x:.6g}"
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(x) >= size and abs(x) < 1e12:
            return f"{x / size:.6g}{letter}"
    digits, exponent = f"{x:.0e}".split("e")
    return f"{digits}e{int(exponent)}"


def bounds(
    values: list[np.ndarray], log: bool, floor: tuple[float, float] | None
) -> tuple[float, float]:
    """The range of an axis for what is finite (and positive, on a log axis)."""
    every = np.concatenate([np.ravel(v) for v in values] or [np.empty(0)])
    every = every[np.isfinite(every)]
    every = every[every > 0] if log else every
    if floor is not None:
        every = np.append(every, floor)
    if not every.size:
        return (0.1, 1.0) if log else (0.0, 1.0)
    low, high = float(every.min()), float(every.max())
    if log:
        low = max(low, high * 1e-12)
        room = max((high / low) ** 0.06, 1.1)
        return low / room, high * room
    room = 0.06 * (high - low) or 0.5 * abs(high) or 0.5
    return (low if low == 0 else low - room), high + room


def apart(places: list[float], gap: float, low: float, high: float) -> list[float]:
    """Places moved as little as need be to be `gap` apart, within low to high."""
    order = np.argsort(places, kind="stable")
    moved = np.asarray(places, np.float64)[order]
    for _ in range(200):
        push = np.maximum(gap - np.diff(moved), 0) / 2
        if push.max(initial=0) < gap / 100:
            break
        moved[:-1] -= push
        moved[1:] += push
        moved = np.clip(moved, low, high)
    result = np.empty_like(moved)
    result[order] = moved
    return result.tolist()
