"""The loss law on public runs: published errors reproduced, and decisions made.

    python -m benchmarks.loss_law --data FOLDER [--write]

FOLDER holds `multipower/csv_{25,100,400}/*.csv`, the runs of the repository
thu-yao-01-luo/MultiPowerLaw (MIT), and `wsd_124m.csv`, validation losses of the runs of
124 million parameters in fabian-sp/lr-scheduling (MIT), with the columns peak_value,
decay_fraction, decay_shape, total_steps, seed, step, val_loss.
"""

import argparse
from pathlib import Path

from .decisions import DECISIONS, OTHERS, decide, load, summary
from .published import refit, reproduce
from .table import as_table

RESULT = Path(__file__).parent.parent / "results" / "loss_law.md"


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
        refitted=as_table(
            ["model", "mean absolute error", "of the published fit",
             "largest error at an end", "predicted order at 24,000, best first",
             "true order"],
            refit(folder),
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
this repository; `benchmarks/loss_law/__main__.py` says what FOLDER holds.

## Published errors, reproduced

The published constants of three models, with the schedules built by this library. Means
over the six test curves; the published values are in brackets.

{reproduced}

Source: K. Luo et al., "A Multi-Power Law for Loss Curve Prediction Across Learning Rate
Schedules", 2025, arXiv:2503.12811; runs and constants from
thu-yao-01-luo/MultiPowerLaw.

## The same runs, fitted here

The law is fitted by this library to three curves (constant_24000, cosine_24000,
wsdcon_9) and tested on the same six. Neither weights nor priors were chosen on these
runs. Two of the six are three times as long as the longest of the three.

{refitted}

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
    description = "The loss law on public runs."
    parser = argparse.ArgumentParser(description=description)
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
