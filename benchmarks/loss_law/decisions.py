"""Cooldowns chosen for public runs of 124 million parameters, and what that lost."""

import csv
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

import optax_warmup as ow
from optax_warmup.loss_laws import fit_loss_law, rank

FRACTIONS = (0.1, 0.2, 0.4, 0.6, 0.8, 0.9)
# Updates of the short runs and of the constant one, and of the run to decide about.
DECISIONS = (
    (25_000, 25_000, 50_000),
    (15_000, 25_000, 25_000),
    (15_000, 25_000, 35_000),
    (15_000, 25_000, 50_000),
)
SHORT = (0.2, 0.9)  # the cooldowns of the short runs, beside a constant rate
OTHERS = ((0.2,), (0.4,), (0.1, 0.4), (0.1, 0.8), (0.4, 0.8), (0.2, 0.6), (0.6, 0.9))

Losses = tuple[np.ndarray, np.ndarray]


def load(path: Path) -> dict[tuple[float, str, int, float], Losses]:
    """Runs by (peak rate, shape of the decay, updates, share of the decay)."""
    runs: dict = defaultdict(dict)
    for row in csv.DictReader(path.open()):
        fraction = float(row["decay_fraction"])
        if row["decay_shape"] == "none" and fraction > 0:
            continue  # the decay of these is not known
        key = float(row["peak_value"]), row["decay_shape"], int(row["total_steps"])
        runs[*key, fraction].setdefault(int(row["step"]), float(row["val_loss"]))
    return {
        key: (np.array(sorted(run)), np.array([run[step] for step in sorted(run)]))
        for key, run in runs.items()
    }


def schedule(peak: float, steps: int, fraction: float) -> ow.Schedule:
    """A cooldown over that share of the run: 300 updates of warmup from peak / 100."""
    return ow.wsd(peak, 300, steps, round(fraction * steps), init_value=peak / 100)


class Decision(NamedTuple):
    """One choice of a cooldown; losses in nats."""

    peak: float
    short: int
    long: int
    chosen: float
    best: float
    lost: float
    lost_by_20: float  # by always taking 20 %
    lost_by_60: float
    level: float  # predicted minus true loss of the chosen one
    width: float  # half of the band that the law gives around it
    ratios: np.ndarray  # errors of the differences to the chosen one / standard errors
    sure: int  # how many of the others the law calls worse
    wrong: int  # how many of those are better in truth


def decide(
    runs: dict, peak: float, sizes: Sequence[int], fractions: Sequence[float] = SHORT
) -> Decision:
    """Fits the law to short runs and chooses the cooldown of a long one."""
    short, constant, long = sizes
    longest = max(steps for p, shape, steps, _ in runs if (p, shape) == (peak, "none"))
    steps, losses = runs[peak, "none", longest, 0.0]
    known = steps < constant
    given = [(schedule(peak, longest, 0.0), steps[known], losses[known])]
    given += [
        (schedule(peak, short, f), *runs[peak, "linear", short, f]) for f in fractions
    ]
    law = fit_loss_law(given)
    end = int(runs[peak, "linear", long, FRACTIONS[0]][0][-1])
    true = {f: float(runs[peak, "linear", long, f][1][-1]) for f in FRACTIONS}
    found = rank(law, {str(f): schedule(peak, long, f) for f in FRACTIONS}, end)
    chosen, best = float(found[0].name), min(true, key=lambda f: true[f])
    low, high = law.band(found[0].schedule, end)
    behind = {float(each.name): true[float(each.name)] - true[chosen] for each in found}
    rest = found[1:]
    return Decision(
        peak,
        short,
        long,
        chosen,
        best,
        true[chosen] - true[best],
        true[0.2] - true[best],
        true[0.6] - true[best],
        found[0].loss - true[chosen],
        float(high - low) / 2,
        np.array([(r.behind - behind[float(r.name)]) / r.standard_error for r in rest]),
        sum(not r.tied for r in rest),
        sum(not r.tied and behind[float(r.name)] < 0 for r in rest),
    )


def summary(name: str, found: list[Decision]) -> list[str]:
    """A row of the table about groups of decisions."""
    ratios = np.concatenate([each.ratios for each in found])

    def cell(values: list[float]) -> str:
        return f"{np.mean(values):.4f} (max {max(values):.4f})"

    return [
        name,
        str(len(found)),
        f"**{cell([each.lost for each in found])}**",
        cell([each.lost_by_20 for each in found]),
        cell([each.lost_by_60 for each in found]),
        str(sum(each.lost > each.lost_by_20 + 1e-9 for each in found)),
        f"{np.sqrt(np.mean(ratios**2)):.2f}",
        f"{sum(each.sure for each in found)} of {ratios.size}",
        str(sum(each.wrong for each in found)),
        f"{np.mean([abs(each.level) <= each.width for each in found]):.0%}",
    ]
