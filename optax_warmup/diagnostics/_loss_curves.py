"""The loss of a run as curves of few points: every extreme, and a mean."""

from collections.abc import Mapping

import numpy as np

from optax_warmup.diagnostics._chart_spec import Curve

_EDGES = 150  # of intervals, on a linear and on a logarithmic axis each
_SHARE = 0.1  # of the steps so far: what a mean goes over


def raw(losses: Mapping[int, float]) -> Curve:
    """Returns the losses themselves, of a long run those that a picture shows.

    Of each interval these are the lowest, the highest and the first that is not finite,
    so that no spike and no NaN is lost.
    """
    x, y = _arrays(losses)
    kept = {0, len(x) - 1} if len(x) else set()
    for begin, end in _intervals(x):
        if end - begin <= 3:
            kept.update(range(begin, end))
            continue
        part = y[begin:end]
        fine = np.isfinite(part)
        if fine.any():
            kept.add(begin + int(np.argmin(np.where(fine, part, np.inf))))
            kept.add(begin + int(np.argmax(np.where(fine, part, -np.inf))))
        if not fine.all():
            kept.add(begin + int(np.argmin(fine)))
    chosen = np.array(sorted(kept), int)
    return x[chosen], y[chosen]


def smoothed(losses: Mapping[int, float]) -> Curve:
    """Returns the mean over the last tenth of the steps so far.

    mean(step) = mean of the finite losses of (step - (step + 1) / 10, step],
    NaN where the loss of the step is not finite
    """
    x, y = _arrays(losses)
    ends = [end - 1 for _, end in _intervals(x)]
    begins = np.searchsorted(x, x[ends] - _SHARE * (x[ends] + 1), side="right")
    means = [_mean(y[b : e + 1]) for b, e in zip(begins, ends, strict=True)]
    return x[ends], np.array(means, np.float64)


def _arrays(losses: Mapping[int, float]) -> Curve:
    x = np.fromiter(losses.keys(), np.float64, len(losses))
    return x, np.fromiter(losses.values(), np.float64, len(losses))


def _intervals(x: np.ndarray) -> list[tuple[int, int]]:
    """Returns the intervals of indices that share a place on both axes of steps."""
    if len(x) <= 2 * _EDGES:
        return [(index, index + 1) for index in range(len(x))]
    last = x[-1] + 1
    places = np.linspace(0, 1, _EDGES + 1)
    edges = np.union1d(last * places, last**places)
    cuts = np.unique([0, *np.searchsorted(x + 1, edges, side="right"), len(x)])
    return list(zip(cuts[:-1].tolist(), cuts[1:].tolist(), strict=True))


def _mean(values: np.ndarray) -> float:
    if not np.isfinite(values[-1]):
        return np.nan
    with np.errstate(over="ignore"):
        return float(values[np.isfinite(values)].mean())
