"""Numbers as text, for axes, tables and sentences."""

import math


def number(x: float, digits: int = 3) -> str:
    """Formats a number with some significant digits: 0.0213, 12,300, 3e-4."""
    if not math.isfinite(x):
        return "-" if math.isnan(x) else f"{x}"
    if x == 0:
        return "0"
    if 1e-3 <= abs(x) < 1e5:
        text = f"{x:,.{digits}g}"
        return f"{x:,.0f}" if "e" in text else text
    mantissa, exponent = f"{x:.{digits - 1}e}".split("e")
    if "." in mantissa:
        mantissa = mantissa.rstrip("0").rstrip(".")
    return f"{mantissa}e{int(exponent)}"


def percent(x: float) -> str:
    """Formats a fraction as a percentage with two digits or more: 0.12%, 43%, 120%."""
    if not math.isfinite(x):
        return number(x)
    return f"{100 * x:,.0f}%" if abs(x) >= 0.1 else f"{number(100 * x, 2)}%"


def count(x: float) -> str:
    """Formats a number of steps: 20,000 or 1.5M."""
    for size, letter in ((1e9, "G"), (1e6, "M")):
        if abs(x) >= size:
            return f"{round(x / size, 3):g}{letter}"
    return f"{x:,.0f}"


def two_digits(x: float) -> int:
    """Rounds an estimate of a count to two digits: more would claim too much."""
    return int(float(f"{x:.1e}")) if x >= 10 else max(round(x), 1)
