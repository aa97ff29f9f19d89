"""The least-squares problem: weights, priors, and refits to resampled losses."""

from typing import Any, NamedTuple

import numpy as np

from optax_warmup.loss_laws._curves import Curve
from optax_warmup.loss_laws._formula import Constants, Path, Rates, loss, path

# Fits of the law to language models of 25 to 400 million parameters agree on these
# within 10 %: alpha, beta, gamma, and C in units in which the peak rate is 1. They are
# where the search starts. The priors around them are so wide (standard deviations of
# logarithms) that they decide only what the losses leave open.
USUAL = np.log([0.46, 0.115, 0.59, 0.64])
WIDTHS = np.array([1.0, 3.0, 1.0, 1.0])
LOWEST = np.log([0.05, 1e-4, 0.03, 0.03])
HIGHEST = np.log([3.0, 1e3, 5.0, 3.0])
# The law is an approximation: on real runs it misses by about 0.2 %.
MISFIT = 0.002
# A run counts as so many independent points at most, since its points are correlated.
POINTS = 50
MOST = 64  # points of a run; neighbours are averaged until no more are left
# The end of a run is what a choice between schedules rests on, so a point counts as
# 1 / (its distance from the end + this), as shares of the run.
_END = 0.02
_GROUPS = 128


class Points(NamedTuple):
    """The points of one run that are fitted to, in units in which the peak is 1."""

    path: Path
    logs: np.ndarray
    weights: np.ndarray


def points(curve: Curve, rates: Rates, used: np.ndarray, unit: float) -> Points:
    """Prepares the points of a run that are `used` for a fit."""
    steps, losses = _thinned(curve.steps[used].astype(float), curve.losses[used])
    scaled = Rates(rates.values / unit, rates.stride)
    weights = 1 / (1 - steps / steps[-1] + _END)
    weights *= min(len(steps), POINTS) / weights.sum()
    return Points(path(scaled, steps, _GROUPS), np.log(losses), np.sqrt(weights))


def _thinned(steps: np.ndarray, losses: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Averages neighbours, fewer towards the end, until at most `MOST` are left."""
    if len(steps) <= MOST:
        return steps, losses
    place = -np.log(1 - steps / steps[-1] + _END)
    share = (place - place[0]) / (place[-1] - place[0])
    places = np.ceil(share * (MOST - 1)).astype(int)
    group = np.unique(places, return_inverse=True)[1]
    count = np.bincount(group)
    return np.bincount(group, steps) / count, np.bincount(group, losses) / count


class Problem:
    """Fits the law to points.

    The unknowns are L0, the logarithms of A and B, and those of alpha, C, beta, gamma.
    A belongs to the largest sum of rates, so that it does not move with alpha.
    """

    def __init__(self, runs: list[Points]) -> None:
        self.runs = runs
        self.longest = max(float(run.path.sums.max()) for run in runs)
        self.logs = np.concatenate([run.logs for run in runs])
        self.weights = np.concatenate([run.weights for run in runs])
        lowest, highest = np.exp(self.logs.min()), np.exp(self.logs.max())
        self.low = np.concatenate([[0.0, -14.0, -14.0], LOWEST])
        self.high = np.concatenate([[highest, 7.0, 7.0], HIGHEST])
        self.start = np.concatenate([[0.9 * lowest, -1.0, -1.0], USUAL])

    def constants(self, unknowns: np.ndarray) -> Constants:
        """Returns the constants in units in which the peak rate is 1."""
        L0 = unknowns[0]
        A, B, alpha, C, beta, gamma = np.exp(unknowns[1:])
        return Constants(L0, A * self.longest**alpha, alpha, B, C, beta, gamma)

    def predicted_logs(self, unknowns: np.ndarray) -> np.ndarray:
        """The logarithms of the losses that the law gives for all points."""
        constants = self.constants(unknowns)
        values = np.concatenate([loss(constants, run.path) for run in self.runs])
        logs: np.ndarray = np.log(np.maximum(values, 1e-6))
        return logs

    def solve(
        self,
        logs: np.ndarray,
        noise: float,
        prior: np.ndarray,
        start: np.ndarray,
        evaluations: int = 200,
    ) -> Any:
        """Minimises the squared errors of logarithms and the distance to the prior."""
        from scipy.optimize import least_squares

        def errors(unknowns: np.ndarray) -> np.ndarray:
            misses = self.weights * (self.predicted_logs(unknowns) - logs) / noise
            return np.concatenate([misses, (unknowns[3:] - prior) / WIDTHS])

        return least_squares(
            errors,
            start,
            bounds=(self.low, self.high),
            x_scale="jac",
            max_nfev=evaluations,
        )

    def best(self) -> tuple[np.ndarray, float]:
        """Returns the best unknowns and the noise: the error of a point, as a share."""
        starts = [self.start, self.start.copy()]
        starts[1][4:] += [2.0, 0.5, -0.7]
        found = [self.solve(self.logs, MISFIT, USUAL, start) for start in starts]
        unknowns = min(found, key=lambda each: each.cost).x
        noise = max(MISFIT, self.error(unknowns))
        if noise > MISFIT:
            unknowns = self.solve(self.logs, noise, USUAL, unknowns).x
        return unknowns, noise

    def error(self, unknowns: np.ndarray) -> float:
        """The root of the mean squared error, as a share of the loss."""
        misses = self.weights * (self.predicted_logs(unknowns) - self.logs)
        return float(np.sqrt(np.sum(misses**2) / np.sum(self.weights**2)))

    def refits(
        self, unknowns: np.ndarray, noise: float, count: int, seed: int
    ) -> np.ndarray:
        """Fits again to resampled errors and shifted priors; shape (count, 7).

        Errors are resampled in blocks of neighbours, which are alike, and get at least
        the size of the law's own misfit.
        """
        generator = np.random.default_rng(seed)
        fitted = self.predicted_logs(unknowns)
        ends = np.cumsum([len(run.logs) for run in self.runs])[:-1]
        misses = np.split(self.logs - fitted, ends)
        found = []
        for _ in range(count):
            drawn = np.concatenate([_blocks(each, generator) for each in misses])
            prior = USUAL + WIDTHS * generator.standard_normal(len(USUAL))
            prior = np.clip(prior, LOWEST, HIGHEST)
            logs = fitted + drawn
            found.append(self.solve(logs, noise, prior, unknowns, evaluations=25).x)
        return np.array(found).reshape(count, len(unknowns))


def _blocks(values: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Resamples blocks of neighbours, each with a random sign."""
    size = max(1, round(len(values) ** 0.5))
    count = -(-len(values) // size)
    starts = generator.integers(len(values) - size + 1, size=count)
    signs = generator.choice([-1.0, 1.0], size=count)
    drawn: np.ndarray = signs[:, None] * values[starts[:, None] + np.arange(size)]
    return drawn.ravel()[: len(values)]
