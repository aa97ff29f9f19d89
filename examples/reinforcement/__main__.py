"""PPO with two warmups: `python -m examples.reinforcement`."""

import argparse
import math
import sys
import time
from pathlib import Path

from rich.console import Console

import optax_warmup as ow

from .. import evaluation
from ..command import make_parser, positive_int, progress_bars
from ..evaluation import Run
from . import variants
from .figure import draw
from .ppo import Size
from .variants import WAYS, Setting, Way

TARGET = 400.0  # mean return of an episode; the largest possible is 500

Runs = dict[tuple[float, Way], Run]


def main(arguments: list[str] | None = None) -> int:
    began = time.perf_counter()
    options = parse(arguments)
    console = Console(highlight=False, soft_wrap=True)
    evaluation.use_all_cores()
    setting = Setting(seeds=options.seeds, size=Size(iterations=options.iterations))
    size, ways = setting.size, len(WAYS)
    console.print(
        f"PPO on CartPole: {ways} ways of training x {len(setting.peaks)} peak rates x "
        f"{setting.seeds} seeds in one program; {size.total_steps} updates each, on "
        f"{size.iterations * size.rollout * size.environments:,} steps of the game."
    )
    with progress_bars(console) as bar:
        runs = variants.compare(setting, chunk=options.chunk, progress=bar("training"))
    seconds = step_times(setting)
    runs = {
        key: run._replace(seconds_per_step=seconds["scheduled"])
        for key, run in runs.items()
    }
    best = {way: best_peak(runs, way) for way in WAYS}
    shown = [
        runs[best[way], way]._replace(name=f"{way.name}, {best[way]:g}") for way in WAYS
    ]
    console.print()
    console.print(evaluation.table(shown, "return", TARGET, largest=True, digits=0))
    console.print("Each at its best peak rate, chosen on the same seeds.")
    conclude(console, runs, seconds)
    draw(runs, best[WAYS[0]], TARGET, options.output)
    console.print(f"Picture  {options.output}")
    console.print(f"Took     {time.perf_counter() - began:.0f} s")
    return 0


def best_peak(runs: Runs, way: Way) -> float:
    """The peak with the highest mean return; a run that diverged comes last."""
    means = {peak: run.final().mean() for (peak, w), run in runs.items() if w is way}
    return max(
        means, key=lambda peak: -math.inf if math.isnan(means[peak]) else means[peak]
    )


def conclude(console: Console, runs: Runs, seconds: dict[str, float]) -> None:
    """Prints the sensitivity to the peak learning rate, and the overheads."""
    losses = {key: -float(run.final().mean()) for key, run in runs.items()}
    highest = max(run.final().max() for run in runs.values())
    lost = evaluation.sensitivities(losses, worst=-20.0, best=-float(highest))
    for way, mean in lost.items():
        console.print(f"Return lost on average over peaks, {way.name}: {mean:.0f}")
    schedules = evaluation.cost(seconds, "constant", "scheduled")
    record = evaluation.cost(seconds, "scheduled", "recorded")
    console.print(f"Cost of both schedules: {schedules}; of record_moments: {record}")


def step_times(setting: Setting) -> dict[str, float]:
    """Seconds per update: without schedules, with both, and with the record."""
    rate, entropy = variants.make_schedules(1e-3, 80, 0.1, setting)
    scheduled = variants.make_optimizer(rate)
    recorded = ow.record_moments(scheduled, b1=0.9, b2=0.999, eps=1e-5)
    timed = variants.timed_step
    return evaluation.seconds_per_step(
        {
            "constant": timed(
                setting, variants.make_optimizer(1e-3), ow.constant(0.01)
            ),
            "scheduled": timed(setting, scheduled, entropy),
            "recorded": timed(setting, recorded, entropy),
        }
    )


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = make_parser(
        "reinforcement", "PPO on CartPole, with warmups of the rate and of exploration."
    )
    add = parser.add_argument
    add("--iterations", type=positive_int, default=Size().iterations,
        help="rollouts, of 16 updates each")  # fmt: skip
    add("--seeds", type=positive_int, default=Setting().seeds, help="runs of each kind")
    add("--chunk", type=positive_int, help="runs at a time; all by default")
    add("--output", type=Path, default=Path("runs/reinforcement.png"),
        help="the picture")  # fmt: skip
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
