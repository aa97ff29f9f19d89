"""Round numbers for the axes of a picture."""

import math

import numpy as np

LOWEST = 1e-6  # of the greatest value, where a logarithmic picture ends


def round_steps(low: float, high: float, most: int) -> list[float]:
    """At most `most` multiples of 1, 2 or 5 times a power of ten in [low, high]."""
    span = high - low
    if span <= 0:
        return [low]
    unit = 10.0 ** math.floor(math.log10(span / max(most - 1, 1)))
    for factor in (1, 2, 5, 10, 20, 50, 100):
        step = unit * factor
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
        if last - first < most:
            # A division by a whole number gives the decimals that were meant.
            return [k * factor * unit for k in range(first, last + 1)]
    return [low]


def decades(low: float, high: float, most: int) -> list[float]:
    """At most `most` powers of ten in [low, high], or round numbers between them."""
    first = math.ceil(math.log10(low) - 1e-9)
    last = math.floor(math.log10(high) + 1e-9)
    if last - first < 2:
        between = [m * 10.0**k for k in range(first - 1, last + 1) for m in (1, 2, 5)]
        return [x for x in between if low <= x * (1 + 1e-9) and x <= high * (1 + 1e-9)]
    every = -(-(last - first + 1) // most)
    return [10.0**k for k in range(last, first - 1, -every)]


def number(x: float) -> str:
    """A value as people write it: four digits, no needless ones."""
    if x == 0:
        return "0"
    if 1e-3 <= abs(x) < 1e5:
        return f"{x:.4g}"
    digits, exponent = f"{x:.3e}".split("e")
    return f"{digits.rstrip('0').rstrip('.')}e{int(exponent)}"


def count(x: float) -> str:
    """A number of steps, short: 20,000 or 1.5M."""
    for size, letter in ((1e9, "G"), (1e6, "M")):
        if abs(x) >= size:
            return f"{np.round(x / size, 3):g}{letter}"
    return f"{x:,.0f}"
