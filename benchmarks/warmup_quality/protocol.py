"""The statistics: scores in, regrets out.

Arrays of scores have a row for each peak rate and a column for each seed; peaks are
half a decade apart. A score is min(loss, loss before training), in nats.
"""

from dataclasses import dataclass

import numpy as np

DECADE = 2  # rows


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
