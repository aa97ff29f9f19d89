"""The loss law on public runs: published errors reproduced, and decisions made.

    python -m benchmarks.loss_law --data FOLDER [--write]

FOLDER holds `multipower/csv_{25,100,400}/*.csv`, the runs of the repository
thu-yao-01-luo/MultiPowerLaw (MIT), and `wsd_124m.csv`, validation losses of the runs of
124 million parameters in fabian-sp/lr-scheduling (MIT), with the columns peak_value,
decay_fraction, decay_shape, total_steps, seed, step, val_loss.
"""

import argparse
import csv
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

import optax_warmup as ow
from optax_warmup.loss_laws import LossLaw, fit_loss_law, rank

RESULT = Path(__file__).parent / "results" / "loss_law.md"

PUBLISHED = {  # K. Luo et al. 2025: constants, and errors on the six test curves
    25: LossLaw(
        3.04045406, 0.52468604, 0.50786857, 363.78751622, 2.06560812, 0.58279013,
        0.64142257,
    ),
    100: LossLaw(
        2.6514477, 0.60115152, 0.45295811, 437.9464276, 2.13245612, 0.59785199,
        0.65523644,
    ),
    400: LossLaw(
        2.37474466, 0.65421216, 0.42878731, 523.42464371, 2.02462735, 0.59350493,
        0.63472457,
    ),
}  # fmt: skip
ERRORS = {
    25: (0.00376, 0.9988, 0.00409),
    100: (0.00435, 0.9983, 0.00583),
    400: (0.00484, 0.9978, 0.00995),
}
TEST = (
    "constant_72000", "cosine_72000", "wsd_20000_24000", "wsdld_20000_24000",
    "wsdcon_3", "wsdcon_18",
)  # fmt: skip
PEAK, WARMUP = 3e-4, 2160

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


def published_schedules() -> dict[str, ow.Schedule]:
    """The nine schedules, by the names of their files."""
    constant = ow.warmup_constant(PEAK, WARMUP)
    stable = [(WARMUP, PEAK), (20_000 - WARMUP, PEAK)]
    geometric = (4000, PEAK / 10, ow.shapes.exponential(0.1))
    found: dict[str, ow.Schedule] = {
        "constant_24000": constant,
        "constant_72000": constant,
        "cosine_24000": ow.warmup_cosine(PEAK, WARMUP, 24_000, end_value=PEAK / 10),
        "cosine_72000": ow.warmup_cosine(PEAK, WARMUP, 72_000, end_value=PEAK / 10),
        "wsd_20000_24000": ow.piecewise(0.0, [*stable, geometric]),
        "wsdld_20000_24000": ow.piecewise(0.0, [*stable, (4000, PEAK / 10)]),
    }
    for low in (3, 9, 18):
        dropped = ow.join([(8000, constant)], last=ow.constant(low * 1e-5))
        found[f"wsdcon_{low}"] = dropped
    return found


def reproduce(folder: Path) -> list[list[str]]:
    """Errors of the published constants, with their published values."""
    rows, schedules = [], published_schedules()
    for size, law in PUBLISHED.items():
        errors = []
        for name in TEST:
            path = folder / "multipower" / f"csv_{size}" / f"{name}.csv"
            steps, rates, losses = np.loadtxt(path, delimiter=",", skiprows=1).T
            schedule = schedules[name]
            np.testing.assert_allclose(schedule(steps.astype(int)), rates, rtol=1e-6)
            # A row of the files is the loss after the update of that step.
            miss = law(schedule, steps + 1) - losses
            errors.append(
                (
                    np.abs(miss).mean(),
                    1 - (miss**2).sum() / ((losses - losses.mean()) ** 2).sum(),
                    np.abs(miss / losses).max(),
                )
            )
        got = np.mean(errors, axis=0)
        pairs = zip(got, ERRORS[size], (5, 4, 5), strict=True)
        cells = (f"{x:.{d}f} ({known:.{d}f})" for x, known, d in pairs)
        rows.append([f"{size} M", *cells])
    return rows


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


def as_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head))]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def report(folder: Path) -> str:
    runs = load(folder / "wsd_124m.csv")
    peaks = sorted({peak for peak, shape, *_ in runs if shape == "none"})
    found = [decide(runs, peak, sizes) for peak in peaks for sizes in DECISIONS]
    others = {
        fractions: [
            decide(runs, peak, sizes, fractions)
            for peak in peaks
            for sizes in DECISIONS
        ]
        for fractions in OTHERS
    }
    return TEXT.format(
        reproduced=as_table(
            ["model", "mean absolute error", "R²", "worst relative error"],
            reproduce(folder),
        ),
        decisions=as_table(
            ["peak", "short runs", "long run", "chosen", "best", "lost", "lost by 20 %",
             "level", "band"],
            [[f"{d.peak:g}", f"{d.short:,}", f"{d.long:,}", f"{d.chosen:.0%}",
              f"{d.best:.0%}", f"{d.lost:.4f}", f"{d.lost_by_20:.4f}",
              f"{d.level:+.3f}", f"± {d.width:.3f}"] for d in found],
        ),
        summary=as_table(
            ["cooldowns of the short runs", "decisions", "lost", "lost by 20 %",
             "lost by 60 %", "worse than 20 %", "error / standard error",
             "called worse", "wrongly", "level within band"],
            [summary("20 and 90 %", found)]
            + [summary(" and ".join(f"{100 * f:g}" for f in fractions) + " %", each)
               for fractions, each in others.items()],
        ),
    )  # fmt: skip


TEXT = """# The loss law on public runs

Made by `python -m benchmarks.loss_law --data FOLDER --write`. The data are not part of
this repository; `benchmarks/loss_law.py` says what FOLDER holds.

## Published errors, reproduced

The published constants of three models, with the schedules built by this library. Means
over the six test curves; the published values are in brackets.

{reproduced}

Source: K. Luo et al., "A Multi-Power Law for Loss Curve Prediction Across Learning Rate
Schedules", 2025, arXiv:2503.12811; runs and constants from
thu-yao-01-luo/MultiPowerLaw.

## Cooldowns chosen

Runs of 124 million parameters. The law is fitted to the validation losses of a run at
constant rate and of two short runs with linear cooldowns of 20 % and 90 %. It then
chooses among cooldowns of 10, 20, 40, 60, 80 and 90 % for a longer run at that peak.
"Lost" is the true loss at the end with the chosen cooldown minus that with the best
one, in nats. The level is the predicted minus the true loss of the chosen one; the
band is what `LossLaw.band` gives.

{decisions}

The same decisions, fitted to a constant run and other short runs:

{summary}

"Error / standard error" is the root mean square of (predicted - true difference to the
chosen one) / `standard_error`; 1 is right. "Called worse" counts candidates that `rank`
does not call tied with its choice, "wrongly" those of them that are better in truth.
The weights and the width of the priors were chosen on these decisions, so other data
will be less kind. The runs at one peak share their constant phase, and the losses come
from one seed.

Source of the runs: F. Schaipp et al., "The Surprising Agreement Between Convex
Optimization Theory and Learning-Rate Scheduling for Large Model Training", 2025,
arXiv:2501.18965; from fabian-sp/lr-scheduling.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--write", action="store_true", help=f"write {RESULT.name}")
    options = parser.parse_args()
    if not (options.data / "wsd_124m.csv").is_file():
        parser.error(f"--data: there is no wsd_124m.csv in {options.data}.")
    text = report(options.data)
    print(text)
    if options.write:
        RESULT.write_text(text)


if __name__ == "__main__":
    main()
