"""The statistics: scores in, regrets out.

Arrays of scores have a row for each peak rate and a column for each seed; peaks are
half a decade apart. A score is min(loss, loss before training), in nats.
"""

from dataclasses import dataclass

import numpy as np

DECADE = 2  # rows
# No warmup trains where its loss is so near to the best of all, in nats.
NEAR = 0.3


@dataclass(frozen=True)
class Number:
    """A mean over seeds and its standard error."""

    mean: float
    error: float


def over_seeds(values: np.ndarray) -> Number:
    count = values.shape[-1]
    error = values.std(ddof=1) / np.sqrt(count) if count > 1 else np.nan
    return Number(float(values.mean()), float(error))


@dataclass(frozen=True)
class Regret:
    """Scores of a method minus those of tuned linear warmup, paired by seed.

    Attributes:
        best: at the peak that is best for each.
        usable: the mean over peaks up to three times the best one of linear warmup.
        all: the mean over all peaks.
        largest: of all peaks; its error is that of this peak.
        tenfold: the score at ten times linear warmup's best peak, or at the highest
            peak if that is lower, minus linear warmup's best score.
    """

    best: Number
    usable: Number
    all: Number
    largest: Number
    tenfold: Number


def regret(scores: np.ndarray, linear: np.ndarray) -> Regret:
    """`scores` may have one row, of a method that takes no peak."""
    best = int(linear.mean(axis=1).argmin())
    scores = np.broadcast_to(scores, linear.shape)
    difference = scores - linear
    tenfold = min(best + DECADE, len(linear) - 1)
    own_best = scores[int(scores.mean(axis=1).argmin())]
    return Regret(
        over_seeds(own_best - linear[best]),
        over_seeds(difference[: best + 2].mean(axis=0)),
        over_seeds(difference.mean(axis=0)),
        over_seeds(difference[int(difference.mean(axis=1).argmax())]),
        over_seeds(scores[tenfold] - linear[best]),
    )


@dataclass(frozen=True)
class Excess:
    """The largest score minus that without a warmup, at peaks where none trains.

    Attributes:
        row: the peak at which it is the largest.
        number: how large; below 0 the method is better at all of these peaks.
        peaks: how many these are.
    """

    row: int
    number: Number
    peaks: int


def excess(scores: np.ndarray, none: np.ndarray, trains: np.ndarray) -> Excess | None:
    """`trains` is true of the peaks to look at; None if there are none."""
    difference = scores - none
    rows = np.flatnonzero(trains)
    if not len(rows):
        return None
    row = int(rows[difference[rows].mean(axis=1).argmax()])
    return Excess(row, over_seeds(difference[row]), len(rows))


def near_the_best(none: np.ndarray, linear: np.ndarray) -> np.ndarray:
    """The peaks at which no warmup ends within NEAR of the best mean score."""
    near: np.ndarray = none.mean(axis=1) <= best_of(none, linear) + NEAR
    return near


def half_of_the_way(
    none: np.ndarray, linear: np.ndarray, initial: np.ndarray
) -> np.ndarray:
    """The peaks at which no warmup comes half of the way to the best mean score."""
    half = (initial.mean(axis=1) + best_of(none, linear)) / 2
    return np.asarray(none.mean(axis=1) <= half)


def best_of(*scores: np.ndarray) -> float:
    return float(min(each.mean(axis=1).min() for each in scores))
