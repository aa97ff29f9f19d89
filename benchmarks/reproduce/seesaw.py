"""A growing batch ends where the decay would have ended, in fewer updates.

Theorem 1 of A. Meterez et al., "Seesaw: Accelerating Training by Balancing Learning Rate
and Batch Size Scheduling", 2025, arXiv:2510.14717, on a linear regression.
"""

from typing import Any

import numpy as np

import optax_warmup as ow

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


def risks(each: int = 2720) -> dict[str, tuple[float, int]]:
    """Excess risks and updates, all with the same data."""
    schedule, total = halved(6, each)
    steps = np.arange(total)
    sizes = np.full(total, BATCH)
    found = {
        "halved rate": (excess_risk(sizes, np.asarray(schedule(steps), float)), total),
        "neither": (excess_risk(sizes, np.full(total, PEAK)), total),
    }
    for name, power in (("doubled batch", 1.0), ("doubled batch, Adam's rule", 0.5)):
        run = ow.seesaw(
            schedule, total, batch_size=BATCH, largest=LARGEST, power=power
        )
        steps = np.arange(run.total_steps)
        sizes, rates = (
            np.asarray(each(steps), float) for each in (run.batch_size, run.learning_rate)
        )
        found[name] = excess_risk(sizes, rates), run.total_steps
    return found
