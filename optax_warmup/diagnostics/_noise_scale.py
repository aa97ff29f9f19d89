"""The gradient noise scale, from the momentum and the gradients of recorded steps.

Let gradients g_k = G_k + noise be independent, with a share f of |g_k|**2 in the mean
gradient G_k, and let G_k keep its direction while its length may change. The momentum
m = sum_k w_k g_k with w_k = (1 - b1) * b1**(n - k) then has

    |m|**2 = f * (sum_k w_k |g_k|)**2 + (1 - f) * sum_k w_k**2 |g_k|**2

on average, which is solved for f. The noise scale, in batches, is (1 - f) / f. Where G
turns, |m|**2 is less, so f comes out too small and the noise scale too large.
"""

import numpy as np

# A row is averaged with those before it, over this many rows at least and this many
# times the length 1 / (1 - b1) of the momentum.
_ROWS, _LENGTHS = 8, 4
# The bound takes this many standard errors from the mean share.
_ERRORS = 2


def most_batches(b1: float) -> float:
    """The largest noise scale, in batches, that is more than a bound.

    There two thirds of |m|**2 are signal and one third is noise. Larger values were too
    large where they were measured, as the mean gradient turned within the momentum.
    """
    return (1 + b1) / (1 - b1) / 2


def noise_scale(
    b1: float,
    steps: np.ndarray,
    count: np.ndarray,
    momentum: np.ndarray,
    gradient: np.ndarray,
) -> dict[str, np.ndarray]:
    """The share of signal in gradients, and the noise scale, by row.

    `momentum` is |m|**2 and `gradient` is |g|, shape (T, ...); `steps` has shape (T,),
    `count` is Adam's own, with as many axes as the others.
    """
    if not 0 < b1 < 1 or not len(steps):
        names = ("signal_share", "noise_scale", "noise_scale_bound")
        return {name: np.full_like(gradient, np.nan) for name in names}
    agreeing, independent = _expected(b1, steps, count, gradient)
    # Both are equal after the first update, where m is a multiple of g.
    told = np.where(count > 1, 1 - independent / agreeing, 0)
    apart = np.where(told > 0, agreeing - independent, np.nan)
    share = (momentum - independent) / apart + 0 * gradient
    mean, error = _average(b1, steps, share, told)
    least = mean - _ERRORS * error
    scale, bound = (
        np.maximum(1 / np.where(x > 0, x, np.nan) - 1, 0) for x in (mean, least)
    )
    known = (scale <= most_batches(b1)) & np.isfinite(bound)
    return {
        "signal_share": share,
        "noise_scale": np.where(known, scale, np.nan),
        "noise_scale_bound": bound,
    }


def _expected(
    b1: float, steps: np.ndarray, count: np.ndarray, gradient: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """|m|**2 of gradients that all agree, and of independent ones.

    Between two rows |g| is interpolated, geometrically.
    """
    agreeing, independent = np.zeros_like(gradient), np.zeros_like(gradient)
    lengths = squares = np.zeros_like(gradient[0])
    before, count_before, step_before = gradient[0], 0 * count[0], steps[0]
    for row, now in enumerate(gradient):
        passed = steps[row] - step_before
        kept = (count[row] == count_before + passed) & (row > 0)  # no reset in between
        updates = np.where(kept, passed, count[row])
        ratio = np.where(kept & (before > 0) & (now > 0), before / now, 1)
        growth = ratio ** (1 / np.maximum(updates, 1))
        lengths = np.where(kept, b1**updates * lengths, 0)
        lengths = lengths + (1 - b1) * now * _geometric(b1 * growth, updates)
        squares = np.where(kept, b1 ** (2 * updates) * squares, 0)
        squares = squares + ((1 - b1) * now) ** 2 * _geometric(
            (b1 * growth) ** 2, updates
        )
        agreeing[row], independent[row] = lengths**2, squares
        before, count_before, step_before = now, count[row], steps[row]
    return agreeing, independent


def _geometric(ratio: np.ndarray, terms: np.ndarray) -> np.ndarray:
    """1 + ratio + ... + ratio**(terms - 1)."""
    apart = np.abs(ratio - 1) > 1e-9
    safe = np.where(apart, ratio, 0.5)
    total: np.ndarray = np.where(apart, (1 - safe**terms) / (1 - safe), terms)
    return total


def _average(
    b1: float, steps: np.ndarray, values: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Means over the rows up to each, and their standard errors; NaN: too few rows."""
    length = 1 / (1 - b1)
    means = np.full((2, *values.shape), np.nan)
    weights = np.where(np.isfinite(values), weights, 0)
    values = np.where(weights > 0, values, 0)
    for row in range(len(steps)):
        first = np.searchsorted(steps, steps[row] - _LENGTHS * length, side="right")
        rows = slice(max(min(int(first), row + 1 - _ROWS), 0), row + 1)
        weight, value = weights[rows], values[rows]
        used = np.sum(weight > 0, axis=0)
        total = np.where(used >= _ROWS // 2, np.sum(weight, axis=0), np.nan)
        mean = np.sum(weight * value, axis=0) / total
        spread = np.sum(weight * (value - mean) ** 2, axis=0) / total
        # Neighbouring rows share most of their momentum.
        most = 1 + (steps[row] - steps[rows.start]) / length
        independent = np.minimum(used, most)
        free = np.where(independent > 2.9, independent - 1, np.nan)
        means[:, row] = mean, np.sqrt(spread / free)
    return means[0], means[1]
