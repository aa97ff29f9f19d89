"""The heat maps of a record: how nu is distributed, for each run by itself."""

from collections.abc import Iterator, Mapping

import numpy as np

from optax_warmup._drawing.numbers import number
from optax_warmup._drawing.panel import HeatMap, Line
from optax_warmup.diagnostics._history import MomentHistory

_QUANTILES = (0.1, 0.5, 0.9)


def heat_maps(runs: Mapping[str, MomentHistory]) -> Iterator[HeatMap]:
    """Yields the heat maps of each run that has something to show."""
    for index, (name, history) in enumerate(runs.items()):
        of = f", {name}" if len(runs) > 1 else ""
        if len(history.steps) and history.histogram.sum():
            yield _distribution(index, of, history)
        if len(history.steps) and np.isfinite(_log_rms(history)).any():
            yield _groups(index, of, history)


def _x_edges(steps: np.ndarray) -> np.ndarray:
    """Returns the borders between recorded steps, halfway on their axis."""
    n = steps + 1.0
    between = np.sqrt(n[1:] * n[:-1])
    last = n[-1] * (n[-1] / between[-1] if len(between) else 1.2)
    return np.concatenate([[n[0]], between, [last]]) - 1


def _distribution(run: int, of: str, history: MomentHistory) -> HeatMap:
    counts = history.histogram.astype(np.float64)
    # NaN and infinity were counted in the last bin.
    counts[history.overall["nonfinite"] > 0, -1] = 0
    total = np.maximum(counts.sum(axis=1, keepdims=True), 1)
    bias = history.bias_correction if history.corrected else np.ones(len(counts))
    # From nu to sqrt(nu_hat), in powers of two.
    edges = (history.histogram_edges[None, :] - np.log2(bias)[:, None]) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        shade = np.sqrt(counts / total / max((counts / total).max(), 1e-9))
    lines = [
        Line(
            history.steps.astype(np.float64),
            np.where(counts.any(1), 2.0 ** _quantile(counts / total, edges, q), np.nan),
            run,
            says=f"{q:.0%}",
        )
        for q in _QUANTILES
    ]
    return HeatMap(
        "distribution",
        f"Distribution of sqrt(nu_hat){of}",
        "A histogram over a sample of the coordinates, with the 10th, 50th and 90th "
        "percentiles.",
        run,
        _x_edges(history.steps),
        2.0 ** edges[:, :-1],
        2.0 ** edges[:, 1:],
        np.where(counts > 0, shade, np.nan),
        lines,
    )


def _quantile(shares: np.ndarray, edges: np.ndarray, q: float) -> np.ndarray:
    """Returns the exponent below which a fraction q lies, uniform within a bin."""
    below = np.cumsum(shares, axis=1)
    bin_ = np.argmax(below >= q - 1e-12, axis=1)[:, None]
    before = np.take_along_axis(below - shares, bin_, 1)
    inside = (q - before) / np.maximum(np.take_along_axis(shares, bin_, 1), 1e-12)
    low = np.take_along_axis(edges, bin_, 1)
    high = np.take_along_axis(edges, bin_ + 1, 1)
    exponent: np.ndarray = low + np.clip(inside, 0, 1) * (high - low)
    return exponent[:, 0]


def _log_rms(history: MomentHistory) -> np.ndarray:
    values = history.statistics["nu_hat_rms"]
    values = np.where(np.isfinite(values) & (values > 0), values, np.nan)
    logs: np.ndarray = np.log10(values)
    return logs


def _groups(run: int, of: str, history: MomentHistory) -> HeatMap:
    logs = _log_rms(history)
    low, high = np.nanmin(logs), np.nanmax(logs)
    rows = np.broadcast_to(np.arange(len(history.groups), dtype=float), logs.shape)
    return HeatMap(
        "groups",
        f"RMS of sqrt(nu_hat) by group{of}",
        f"From {number(10**low)} (pale) to {number(10**high)} (dark); blank without a "
        "second moment, or where it is not finite.",
        run,
        _x_edges(history.steps),
        rows,
        rows + 1,
        0.06 + 0.94 * (logs - low) / max(high - low, 1e-9),
        rows=history.groups,
        steps=history.steps,
        values=10.0**logs,
    )
