"""The statistics: scores in, regrets and sensitivities out.

A score is min(loss, loss before training), in nats; after NaN it is the loss before
training. Arrays of scores have a row for each peak rate and a column for each seed;
peaks are half a decade apart.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

DECADE = 2  # rows of the table


def best_length(
    table: Mapping[float, Sequence[float]], at_most: float = np.inf
) -> float:
    """The length with the lowest mean score on the seeds for selection."""
    lengths = [length for length in table if length <= at_most]
    return min(lengths, key=lambda length: float(np.mean(table[length])))


def mean_and_error(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Over the seeds, the last axis; the standard error of one seed is NaN."""
    values = np.asarray(values, float)
    count = values.shape[-1]
    if count < 2:
        return values.mean(axis=-1), np.full(values.shape[:-1], np.nan)
    return values.mean(axis=-1), values.std(axis=-1, ddof=1) / np.sqrt(count)


@dataclass(frozen=True)
class Regret:
    """Scores of an arm minus those of tuned linear warmup, paired by seed."""

    means: np.ndarray  # one for each peak
    errors: np.ndarray
    mean: float  # over the peaks
    mean_error: float  # over the seeds' means over peaks
    largest: float
    largest_error: float  # of the peak with the largest mean


def regret(scores: np.ndarray, baseline: np.ndarray) -> Regret:
    difference = np.asarray(scores, float) - np.asarray(baseline, float)
    means, errors = mean_and_error(difference)
    mean, mean_error = mean_and_error(difference.mean(axis=0))
    worst = int(np.argmax(means))
    return Regret(
        means,
        errors,
        float(mean),
        float(mean_error),
        float(means[worst]),
        float(errors[worst]),
    )


def sensitivity(scores: np.ndarray, best: float | None = None) -> float:
    """Learning-rate sensitivity: the mean over peaks of score - best, in nats.

    `best` is the arm's own best mean score unless another one is given.

    Source: M. Wortsman et al., "Small-scale proxies for large-scale Transformer
    training instabilities", 2023, arXiv:2309.14322, section 2.
    """
    means = np.asarray(scores, float).mean(axis=-1)
    return float(np.mean(means - (means.min() if best is None else best)))


def cost_of_ten_times(
    scores: np.ndarray, best: int | None = None
) -> tuple[float, float]:
    """The cost of a peak ten times the best one, paired by seed; and its error.

    `best` is the row of the best peak, by default the arm's own. NaN beyond the grid.
    """
    scores = np.asarray(scores, float)
    row = int(np.argmin(scores.mean(axis=-1))) if best is None else best
    if row + DECADE >= len(scores):
        return np.nan, np.nan
    mean, error = mean_and_error(scores[row + DECADE] - scores[row])
    return float(mean), float(error)
