"""A growing batch ends where the decay would have ended, in fewer updates.

Theorem 1 of A. Meterez et al., "Seesaw: Accelerating Training by Balancing Learning
Rate and Batch Size Scheduling", 2025, arXiv:2510.14717, on a linear regression.
"""

from typing import Any

import numpy as np

import optax_warmup as ow

PHASES, EACH = 6, 2720  # phases, and updates of each
BATCH, LARGEST, PEAK = 8, 256, 0.1


def halved(phases: int, each: int, peak: float = PEAK) -> tuple[ow.Schedule, int]:
    """A rate that is halved after every `each` updates, and the length of the run."""
    milestones = [(k * each, 0.5**k) for k in range(1, phases)]
    return ow.multistep(peak, milestones), phases * each


def excess_risk(sizes: Any, rates: Any, dimension: int = 400) -> float:
    """Of one-pass SGD on a linear regression with Gaussian inputs and noise, exactly.

    v holds the mean squared errors along the eigenvectors of the covariance.
    """
    spectrum = 1.0 / np.arange(1, dimension + 1)
    v = np.ones(dimension)
    for size, rate in zip(sizes, rates, strict=True):
        risk = spectrum @ v
        v = (1 - rate * spectrum) ** 2 * v + rate**2 / size * spectrum * (
            risk + 1 + spectrum * v
        )
    return float(spectrum @ v)


def decayed(each: int) -> tuple[float, int]:
    """The excess risk with a rate that is halved, and the updates."""
    schedule, total = halved(PHASES, each)
    rates = np.asarray(schedule(np.arange(total)), float)
    return excess_risk(np.full(total, BATCH), rates), total


def grown(each: int, power: float) -> tuple[float, int]:
    """The same with a batch that is doubled instead."""
    run = ow.seesaw(
        *halved(PHASES, each), batch_size=BATCH, largest=LARGEST, power=power
    )
    steps = np.arange(run.total_steps)
    sizes = np.asarray(run.batch_size(steps), float)
    return excess_risk(sizes, np.asarray(run.learning_rate(steps), float)), len(steps)


def neither(each: int) -> tuple[float, int]:
    total = PHASES * each
    return excess_risk(np.full(total, BATCH), np.full(total, PEAK)), total
