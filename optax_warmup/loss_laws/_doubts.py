"""What a set of runs cannot tell, and what looks wrong with it."""

from collections.abc import Iterator, Sequence
from itertools import combinations

import numpy as np

from optax_warmup.loss_laws import _least_squares as least_squares
from optax_warmup.loss_laws._curves import OWNER, Curve
from optax_warmup.loss_laws._formula import Constants, Path, Rates, terms
from optax_warmup.loss_laws._least_squares import Problem

_POWERS = (0.25, 0.5, 1.0)  # a sum of these is any fall at a constant rate
# How much of the effect of a decrease must differ from that fall. A single cosine over
# a whole run has 0.08, a cooldown of 20 % 0.43.
_SMALLEST_EFFECT = 0.12
_LARGE_ERROR = 0.01  # of the loss: the law does not describe such a run
_APART = 0.004  # of the loss: two kinds of loss differ by that much
_JUMP = 6  # standard deviations
_BOUNDED = ("alpha", "C", "beta", "gamma")


def require_decreases(paths: Sequence[Path]) -> None:
    """Raises if the runs cannot tell the effect of a decrease from their fall."""
    fallen = max(float(_fallen(path).max()) for path in paths)
    if fallen < 0.1:
        raise ValueError(
            f"{OWNER}: runs must have at least one whose rate falls, got rates that "
            f"fall by at most {100 * fallen:.0f} % of the peak while the loss is "
            "known; add a run with a cooldown, with its losses up to the end."
        )
    _, alpha, C, beta, gamma = (1.0, *np.exp(least_squares.USUAL))
    usual = Constants(0.0, 1.0, alpha, 1.0, C, beta, gamma)
    gains = [terms(usual, path)[1] for path in paths]
    sums, gain = np.concatenate([path.sums for path in paths]), np.concatenate(gains)
    fall = np.stack([np.ones_like(sums), *((sums / sums.max()) ** -p for p in _POWERS)])
    explained = fall.T @ np.linalg.lstsq(fall.T, gain, rcond=None)[0]
    if np.abs(gain - explained).max() < _SMALLEST_EFFECT:
        raise ValueError(
            f"{OWNER}: runs must tell what a decrease of the rate brings from what "
            "training on brings, got runs in which both go together (all of one kind); "
            "add a run at constant rate, or one that decays over another length."
        )


def doubts(
    curves: Sequence[Curve],
    rates: Sequence[Rates],
    used: Sequence[np.ndarray],
    problem: Problem,
    unknowns: np.ndarray,
) -> Iterator[str]:
    """Says in words what is doubtful about a fit."""
    for index, (curve, chosen) in enumerate(zip(curves, used, strict=True)):
        if _last_jumps(curve.steps[chosen], curve.losses[chosen]):
            yield (
                f"the last loss of runs[{index}] stands apart from those before it; if "
                "it is the loss on other data, leave it out."
            )
    for (i, one), (j, two) in combinations(enumerate(curves), 2):
        offset = _offset(one, two, rates[i], rates[j])
        if abs(offset) > _APART:
            yield (
                f"runs[{i}] and runs[{j}] have the same schedule at first, but losses "
                f"that differ by {100 * offset:.1f} %; if they are losses on different "
                "data, or one is a training loss, give one kind only."
            )
    misses = problem.weights * (problem.predicted_logs(unknowns) - problem.logs)
    ends = np.cumsum([len(run.logs) for run in problem.runs])[:-1]
    for index, (miss, run) in enumerate(
        zip(np.split(misses, ends), problem.runs, strict=True)
    ):
        error = float(np.sqrt(np.sum(miss**2) / np.sum(run.weights**2)))
        if error > _LARGE_ERROR:
            yield (
                f"the law misses runs[{index}] by {100 * error:.1f} %, where 0.2 % is "
                "usual; its loss may be noisy, or of another kind than the others'."
            )
    values = np.exp(unknowns[3:])
    bounds = np.exp([least_squares.LOWEST, least_squares.HIGHEST])
    at_bound = np.isclose(values, bounds, rtol=0.01).any(axis=0)
    stuck = [
        f"{name} = {value:.2g}"
        for name, value, at in zip(_BOUNDED, values, at_bound, strict=True)
        if at
    ]
    if unknowns[0] < 1e-3 * np.exp(problem.logs.min()):
        stuck.append("L0 = 0")
    if stuck:
        yield (
            f"{' and '.join(stuck)} at a bound of the search: the runs do not "
            "determine it, and what the law gives far beyond them is less sure."
        )
    lengths = [_decay_length(each) for each in rates]
    lengths = [length for length in lengths if length]
    if max(lengths) < 1.25 * min(lengths):
        yield (
            "all rates fall over the same length, so what another length brings rests "
            "on the priors; add a run with a longer or shorter cooldown."
        )


def _fallen(path: Path) -> np.ndarray:
    """By how much the rate has fallen from its peak of 1 at each point."""
    behind = (path.sums[:, None] > path.sums_before) & (path.decreases > 0)
    fallen: np.ndarray = behind @ path.decreases
    return fallen


def _decay_length(rates: Rates) -> float:
    """The sum of rates between the first decrease and the end, 0 if it is constant."""
    if rates.values[-1] > 0.9 * rates.peak:
        return 0.0
    return float(rates.values[rates.begin :].sum() * rates.stride)


def _last_jumps(steps: np.ndarray, losses: np.ndarray) -> bool:
    """Whether the last loss is far from the line through those before it."""
    if len(losses) < 8:
        return False
    slopes = np.diff(losses) / np.diff(steps)
    errors = np.abs(np.diff(slopes) * np.diff(steps)[1:])
    usual = 1.4826 * np.median(errors[:-1])
    return bool(errors[-1] > max(_JUMP * usual, 2 * _APART * losses[-1]))


def _offset(one: Curve, two: Curve, first: Rates, second: Rates) -> float:
    """By how much the losses of two runs differ while their schedules are the same."""
    if first.stride != second.stride:
        return 0.0
    shared = min(len(first.values), len(second.values))
    differ = ~np.isclose(first.values[:shared], second.values[:shared], rtol=1e-4)
    last = (int(differ.argmax()) if differ.any() else shared) * first.stride
    low = max(one.steps[0], two.steps[0], 2 * first.warmup_end, 0.1 * last)
    steps = one.steps[(one.steps >= low) & (one.steps <= min(last, two.steps[-1]))]
    if len(steps) < 3:
        return 0.0
    losses = one.losses[np.isin(one.steps, steps)]
    ratios = np.interp(steps, two.steps, two.losses) / losses - 1
    error = ratios.std(ddof=1) / len(ratios) ** 0.5
    middle = float(np.median(ratios))
    return middle if abs(middle) > 4 * error else 0.0
