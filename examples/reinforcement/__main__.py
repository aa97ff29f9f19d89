"""PPO with two warmups: `python -m examples.reinforcement`."""

import argparse
import sys
import time
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

import optax_warmup as ow

from .. import evaluation
from . import variants
from .figure import draw
from .ppo import Size
from .variants import WAYS, Setting

TARGET = 400.0  # mean return of an episode; 500 is the most


def main(arguments: list[str] | None = None) -> int:
    began = time.perf_counter()
    options = parse(arguments)
    console = Console(highlight=False, soft_wrap=True)
    evaluation.use_all_cores()
    setting = Setting(seeds=options.seeds, size=Size(iterations=options.iterations))
    size, ways = setting.size, len(WAYS)
    console.print(
        f"PPO on CartPole: {ways} ways x {len(setting.peaks)} peak rates x "
        f"{setting.seeds} seeds in one program; {size.total_steps} updates each, on "
        f"{size.iterations * size.rollout * size.environments:,} steps of the game."
    )
    with Progress(console=console, disable=not console.is_terminal) as bars:
        task = bars.add_task("training", total=None)
        runs = variants.compare(
            setting,
            chunk=options.chunk,
            progress=lambda done, n: bars.update(task, completed=done, total=n),
        )
    costs = step_times(setting)
    runs = {
        key: run._replace(seconds_a_step=costs["scheduled"])
        for key, run in runs.items()
    }
    # Each way may choose its peak: the best mean over the seeds.
    best = {way: best_peak(runs, way) for way in WAYS}
    shown = [
        runs[best[way], way]._replace(name=f"{way.name}, {best[way]:g}") for way in WAYS
    ]
    console.print()
    console.print(evaluation.table(shown, "return", TARGET, largest=True, digits=0))
    console.print("Each at the best of its peak rates, chosen on these same seeds.")
    highest = max(run.final().max() for run in runs.values())
    for way in WAYS:
        losses = {p: -run.final().mean() for (p, w), run in runs.items() if w is way}
        cost = evaluation.sensitivity(losses, worst=-20.0, best=-highest)
        console.print(f"Return lost over the peaks, {way.name}: {cost:.0f}")
    for name, what in (("scheduled", "Both schedules"), ("recorded", "record_moments")):
        before = costs["constant" if name == "scheduled" else "scheduled"]
        console.print(f"{what}: {100 * (costs[name] / before - 1):+.1f}% to an update")
    options.output.parent.mkdir(parents=True, exist_ok=True)
    draw(runs, best[WAYS[0]], TARGET, options.output)
    console.print(f"Picture  {options.output}")
    console.print(f"Took     {time.perf_counter() - began:.0f} s")
    return 0


def best_peak(runs: dict, way: variants.Way) -> float:
    means = {peak: run.final().mean() for (peak, w), run in runs.items() if w is way}
    finite = {peak: mean for peak, mean in means.items() if mean == mean}
    return max(finite or means, key=means.__getitem__)


def step_times(setting: Setting) -> dict[str, float]:
    """Seconds of an update: without schedules, with both, and with the record."""
    rate, entropy = variants.make_schedules(1e-3, 80, 0.1, setting)
    scheduled = variants.make_optimizer(rate)
    calls = {
        "constant": (variants.make_optimizer(1e-3), lambda step: 0.01),
        "scheduled": (scheduled, entropy),
        "recorded": (ow.record_moments(scheduled, b1=0.9, b2=0.999, eps=1e-5), entropy),
    }
    steps = {
        name: variants.step_on(setting, *arguments) for name, arguments in calls.items()
    }
    found = evaluation.overhead({name: call for name, (call, _) in steps.items()})
    return {name: seconds / steps[name][1] for name, seconds in found.items()}


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m examples.reinforcement",
        description="PPO on CartPole, with warmups of the rate and of exploration.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--iterations", type=int, default=Size().iterations,
        help="rollouts, of 16 updates each")  # fmt: skip
    add("--seeds", type=int, default=Setting().seeds, help="runs of each kind")
    add("--chunk", type=int, help="runs at a time")
    add("--output", type=Path, default=Path("runs/reinforcement.png"),
        help="the picture")  # fmt: skip
    options = parser.parse_args(arguments)
    for name in ("iterations", "seeds", "chunk"):
        value = getattr(options, name)
        if value is not None and value <= 0:
            parser.error(f"--{name} must be above 0")
    return options


if __name__ == "__main__":
    sys.exit(main())
