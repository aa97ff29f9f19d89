"""Chooses a peak rate and a cooldown from short runs: `python -m examples.choose`."""

import argparse
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

import optax_warmup as ow

from ..command import make_parser
from .figure import draw
from .training import EVAL_EVERY, find_rate, load_text, make_train

SHORT = (0.0, 0.2, 0.8)  # cooldowns of the short runs, as shares
LONG = (0.1, 0.2, 0.4, 0.6, 0.8)  # cooldowns to choose from
TEST_STEPS = 200


def main(arguments: list[str] | None = None) -> int:
    options = parse(arguments)
    console = Console(highlight=False, soft_wrap=True)
    began = time.perf_counter()
    try:
        choose(options, console)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(
            f"interrupted: {options.folder}/ keeps the finished runs; the same command "
            "goes on from there",
            file=sys.stderr,
        )
        return 130
    console.print(f"Took      {time.perf_counter() - began:.0f} s")
    return 0


def choose(options: argparse.Namespace, console: Console) -> None:
    text = load_text()
    options.folder.mkdir(parents=True, exist_ok=True)
    peak = options.peak or find_peak(text, options.folder, console)

    short = {f: make_schedule(peak, options.steps, f) for f in SHORT}
    curves = train_all(options.steps, short, text, options.folder / "short")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they are printed with the law
        law = ow.loss_laws.fit_loss_law(
            [
                (schedule, curves["step"][i], curves["loss"][i])
                for i, schedule in enumerate(short.values())
            ]
        )
    console.print(f"\nLaw, fitted to {len(short)} runs of {options.steps} updates")
    console.print(str(law))

    long = {f: make_schedule(peak, options.long_steps, f) for f in LONG}
    named: dict[str, Any] = {
        f"{share:.0%}": schedule for share, schedule in long.items()
    }
    ranked = ow.loss_laws.rank(law, named, options.long_steps)
    console.print(f"\nCooldowns for {options.long_steps} updates, best first")
    for each in ranked:
        verdict = (
            "best" if each.behind == 0 else "cannot tell" if each.tied else "worse"
        )
        console.print(
            f"{each.name:>4}  predicted {each.loss:.3f}  behind {each.behind:.3f} "
            f"± {each.standard_error:.3f}  {verdict}"
        )
    if options.predict_only:
        return
    truth = train_all(options.long_steps, long, text, options.folder / "long")
    final = dict(zip(named, truth["loss"][:, -1], strict=True))
    chosen, best = ranked[0].name, min(final, key=lambda name: final[name])
    console.print("\nTrained   " + "  ".join(f"{n}: {x:.3f}" for n, x in final.items()))
    console.print(
        f"Chosen    {chosen}, {final[chosen] - final[best]:.4f} nats from the best, "
        f"{best}; 20% is {final['20%'] - final[best]:.4f} from it"
    )
    picture = options.folder / "choose.png"
    draw(picture, law, short, curves, long, truth, chosen)
    console.print(f"Picture   {picture}")


def find_peak(text: Any, folder: Path, console: Console) -> float:
    """The finder's suggestion, from a range test that is kept in the folder."""
    kept = folder / "range_test.csv"
    curve = ow.finder.load_curve(kept) if kept.exists() else find_rate(text, TEST_STEPS)
    curve.save(kept)
    found = ow.finder.suggest(curve)
    rates = "  ".join(f"{rule} {x.rate:.2g}" for rule, x in found._asdict().items())
    console.print(f"Peak      {found.rate:.2g} (of {rates})")
    if not np.isfinite(found.rate):
        raise ValueError(
            f"the finder cannot tell ({found.minimum.caveat}); pass --peak"
        )
    return found.rate


def make_schedule(peak: float, steps: int, fraction: float) -> ow.Schedule:
    warmup_steps = steps // 10
    decay_steps = min(round(fraction * steps), steps - warmup_steps)
    return ow.wsd(peak, warmup_steps, steps, decay_steps)


def train_all(
    steps: int, schedules: dict[float, ow.Schedule], text: Any, folder: Path
) -> dict[str, np.ndarray]:
    """All trainings of one length, in one program; finished ones are kept."""
    return ow.sweeps.sweep(
        make_train(steps),
        [{"schedule": schedule} for schedule in schedules.values()],
        shared=tuple(text),
        folder=folder,
    )


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = make_parser(
        "choose", "Which peak rate and cooldown for a long run? Short runs tell."
    )
    add = parser.add_argument
    add("--steps", type=int, default=800, help="updates of a short run")
    add("--long-steps", type=int, default=2400, help="updates of the long run")
    add("--peak", type=float, help="peak rate; by default the finder's suggestion")
    add("--predict-only", action="store_true", help="do not train the long runs")
    add("--folder", type=Path, default=Path("runs/choose"),
        help="keeps results; the same command goes on")  # fmt: skip
    options = parser.parse_args(arguments)
    if options.steps < 10 * EVAL_EVERY or options.long_steps <= options.steps:
        parser.error(
            f"--steps must be at least {10 * EVAL_EVERY}, and --long-steps more than it"
        )
    return options


if __name__ == "__main__":
    sys.exit(main())
