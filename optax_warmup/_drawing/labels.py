"""Labels beside curves: where they go, and how long they may be."""

from collections.abc import Sequence

import numpy as np


def spread(places: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Moves places as little as possible until neighbours are `gap` apart.

    The result keeps the order and lies in [low, high]; without room for `gap` the
    places are spaced evenly. It minimizes the sum of squared moves: an isotonic
    regression of place[i] - i * gap.
    """
    if not len(places):
        return []
    order = np.argsort(places, kind="stable")
    gap = min(gap, (high - low) / max(len(order) - 1, 1))
    offsets = gap * np.arange(len(order))
    levels = _isotonic(np.asarray(places, np.float64)[order] - offsets)
    moved = np.clip(levels, low, high - offsets[-1]) + offsets
    result = np.empty_like(moved)
    result[order] = moved
    return [float(x) for x in result]


def _isotonic(values: np.ndarray) -> np.ndarray:
    """Returns the closest nondecreasing sequence (pool adjacent violators)."""
    blocks: list[tuple[float, int]] = []  # mean and length
    for value in values:
        mean, length = float(value), 1
        while blocks and blocks[-1][0] > mean:
            before, many = blocks.pop()
            mean = (mean * length + before * many) / (length + many)
            length += many
        blocks.append((mean, length))
    return np.repeat([mean for mean, _ in blocks], [n for _, n in blocks])


def shorten(name: str, most: int) -> str:
    """Cuts the end of a name that has more than `most` characters."""
    return name if len(name) <= most else f"{name[: most - 1]}…"


def shorten_middle(name: str, most: int) -> str:
    """Shortens the name of a run: runs of one study differ at either end."""
    if len(name) <= most:
        return name
    return f"{name[: most // 2]}…{name[most // 2 + 1 - most :]}"


def shorten_path(name: str, most: int) -> str:
    """Shortens a path such as decoder/layer3/kernel; its end is the telling part."""
    if len(name) <= most:
        return name
    *folders, last = name.split("/")
    name = "/".join([*(folder[:4] for folder in folders), last])
    return name if len(name) <= most else f"…{name[1 - most :]}"
