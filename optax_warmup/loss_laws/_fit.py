"""Fits the law to a few runs."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import Any

import numpy as np

from optax_warmup import _check
from optax_warmup.loss_laws import _doubts as doubts, _least_squares as least_squares
from optax_warmup.loss_laws._curves import FEWEST, OWNER, Curve, RunLike, as_curves
from optax_warmup.loss_laws._formula import Constants, Rates, rates_of
from optax_warmup.loss_laws._law import Fitted, LossLaw

# A constant is determined if its spread is below half of its prior's.
_DETERMINED = 0.5


def fit_loss_law(
    runs: Iterable[RunLike | tuple[Any, Any, Any]],
    *,
    skip: float = 0.1,
    refits: int = 24,
    seed: int = 0,
) -> LossLaw:
    """Fits the multi-power law to the losses of a few runs with different schedules.

    Give runs of one model on one data set that differ in their schedule: at least one
    whose rate falls and, best, one at constant rate and two cooldowns of different
    length. Give one kind of loss only, of the same held-out data if you can. A loss on
    other data shifts the level of a run, and the law takes that for an effect of its
    schedule.

    The fit minimises the squared errors of log(loss). A point counts the more, the
    closer it is to the end of its run. Wide priors decide what the losses leave open,
    and L0 is at least 0.

    Args:
        runs: (schedule, losses) of each run. The losses are a mapping of steps to
            losses, (step, loss) pairs, or one loss for each step; a step is the number
            of completed updates. (schedule, steps, losses) works too. At least 4 points
            must follow the warmup.
        skip: the share of each run, in [0, 1), that is left out at its beginning, where
            the law does not hold. The warmup and as much again is always left out.
        refits: how many times the law is fitted to resampled losses, for its
            uncertainty; >= 0. With 0 every difference looks certain.
        seed: of the resampling.

    Returns:
        A `LossLaw`. Doubts are in its `warnings`, and given as Python warnings.

    Raises:
        TypeError: a run is not such a tuple, or holds something else than numbers.
        ValueError: a loss is NaN or not above 0, steps do not increase, a run has too
            few points, or the runs cannot tell what a decrease of the rate brings.

    Example:
        >>> import numpy as np, optax_warmup as ow
        >>> true = ow.loss_laws.LossLaw(3.0, 0.5, 0.5, 360.0, 2.0, 0.6, 0.64)
        >>> runs, steps = [], np.arange(200, 8001, 200)
        >>> for cooldown in (0, 1600, 7000):
        ...     schedule = ow.wsd(1e-3, 200, 8000, cooldown)
        ...     runs.append((schedule, steps, true(schedule, steps)))
        >>> law = ow.loss_laws.fit_loss_law(runs, refits=0)
        >>> longer = ow.wsd(1e-3, 200, 16_000, 6000)
        >>> bool(abs(law(longer, 16_000) - true(longer, 16_000)) < 0.01)
        True

    Source: K. Luo et al., "A Multi-Power Law for Loss Curve Prediction Across Learning
    Rate Schedules", 2025, arXiv:2503.12811, section 3 (the law; the weights, the priors
    and the resampling are this library's).
    """
    curves = as_curves(runs)
    skip = _check.scalar(OWNER, "skip", skip, minimum=0.0, below=1.0)
    refits = _check.count(OWNER, "refits", refits)
    seed = _check.count(OWNER, "seed", seed)
    rates = [rates_of(each.schedule, int(each.steps[-1]) + 1) for each in curves]
    used = [
        _used(f"runs[{i}]", curve, rate, skip)
        for i, (curve, rate) in enumerate(zip(curves, rates, strict=True))
    ]
    peak = max(each.peak for each in rates)
    problem = least_squares.Problem(
        [
            least_squares.points(*each, peak)
            for each in zip(curves, rates, used, strict=True)
        ]
    )
    doubts.require_decreases([run.path for run in problem.runs])
    unknowns, noise = problem.best()
    several = problem.refits(unknowns, noise, refits, seed)
    found = tuple(doubts.doubts(curves, rates, used, problem, unknowns))
    for text in found:
        warnings.warn(f"{OWNER}: {text}", stacklevel=2)
    return LossLaw(
        *_in_units(problem.constants(unknowns), peak),
        refits=np.array(
            [_in_units(problem.constants(each), peak) for each in several]
        ).reshape(-1, len(Constants._fields)),
        determined=_determined(unknowns, several),
        fitted=Fitted(
            runs=len(curves),
            points=sum(int(each.sum()) for each in used),
            longest=max(int(each.steps[-1]) for each in curves),
            sum_of_rates=problem.longest * peak,
            lowest_peak=min(each.peak for each in rates),
            highest_peak=peak,
            error=problem.error(unknowns),
        ),
        warnings=found,
    )


def _used(name: str, curve: Curve, rates: Rates, skip: float) -> np.ndarray:
    """Which points of a run are fitted to."""
    if rates.peak <= 0:
        raise ValueError(f"{OWNER}: the schedule of {name} must be above 0 somewhere.")
    first = max(skip * curve.steps[-1], 2 * rates.warmup_end, 1)
    used: np.ndarray = curve.steps >= first
    if used.sum() < FEWEST:
        raise ValueError(
            f"{OWNER}: {name} must have at least {FEWEST} points after its warmup and "
            f"its first {100 * skip:g} %, from step {first:.0f} on, got {used.sum()}; "
            "evaluate more often, or pass a smaller skip."
        )
    if curve.losses[used].min() <= 0:
        raise ValueError(
            f"{OWNER}: the losses of {name} must be above 0, got "
            f"{curve.losses[used].min()}; the law is for losses such as cross-entropy."
        )
    return used


def _in_units(constants: Constants, peak: float) -> Constants:
    """Converts constants for rates in units of the peak to those for the rates."""
    return constants._replace(
        A=constants.A * peak**constants.alpha,
        B=constants.B / peak,
        C=constants.C * peak ** (constants.gamma - 1),
    )


def _determined(unknowns: np.ndarray, refits: np.ndarray) -> dict[str, bool]:
    """For each constant, whether the losses determine it, by the spread of refits."""
    if len(refits) < 2:
        return {}
    low, high = least_squares.LOWEST, least_squares.HIGHEST
    # L0 is compared with what the law adds to it, A and B with themselves.
    spread = refits.std(axis=0) / np.concatenate(
        [[np.exp(unknowns[1])], np.ones(2), least_squares.WIDTHS]
    )
    inside = (unknowns[3:] > low + 0.01) & (unknowns[3:] < high - 0.01)
    sure = (spread < _DETERMINED) & np.concatenate([np.ones(3, bool), inside])
    names = ("L0", "A", "B", "alpha", "C", "beta", "gamma")
    by_name = dict(zip(names, sure.tolist(), strict=True))
    return {name: by_name[name] for name in Constants._fields}
