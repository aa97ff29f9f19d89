"""Sweeps peak rate, warmup length and seed: `python -m examples.sweep`."""

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

import optax_warmup as ow

from .. import evaluation
from ..command import make_parser
from ..images import data
from ..images.training import Size
from .advice import recommend
from .figure import draw
from .task import SIZE, make_train


def main(arguments: list[str] | None = None) -> int:
    began = time.perf_counter()
    options = parse(arguments)
    console = Console(highlight=False, soft_wrap=True)
    evaluation.use_all_cores()
    size = SIZE._replace(total_steps=options.total_steps)
    try:
        if options.search is not None:
            return search_all(size, options, console)
        points = configurations(options)
        console.print(
            f"{len(points)} trainings of {size.total_steps} updates, "
            f"{min(options.chunk, len(points))} at a time in one program"
        )
        results = train_all(points, size, options, console)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(
            f"interrupted: {options.folder}/ keeps what is finished; the same command "
            "goes on from there",
            file=sys.stderr,
        )
        return 130
    final = results["validation_loss"][:, -1]
    ranked = ow.sweeps.rank(points, final)
    console.print()
    for line in recommend(ranked, size.total_steps):
        console.print(line)
    lost = int((~np.isfinite(final)).sum())
    console.print(f"Diverged  {lost} of {len(points)} trainings")
    print_sensitivity(console, ranked)
    picture = options.folder / "heat_map.png"
    title = (
        f"Validation loss after {size.total_steps} updates, {options.seeds} seeds\n"
        "framed: best; bold: equal within the noise"
    )
    draw(ranked, title, picture)
    console.print(f"Picture   {picture}")
    console.print(f"Took      {time.perf_counter() - began:.0f} s")
    return 0


def configurations(options: argparse.Namespace) -> list[dict[str, Any]]:
    """A grid, or random points, of peaks and lengths; each with every seed."""
    low, high = options.peaks
    seeds = range(options.seeds)
    if options.random is None:
        return ow.sweeps.grid(
            peak_value=ow.sweeps.log_space(low, high, options.peak_count),
            warmup_steps=options.warmups,
            seed=seeds,
        )
    points = ow.sweeps.random_search(
        options.random,
        peak_value=(low, high),
        warmup_steps=(1, max(2, *options.warmups)),
    )
    return [point | {"seed": seed} for point in points for seed in seeds]


def search_all(size: Size, options: argparse.Namespace, console: Console) -> int:
    """Lets Optuna choose, and prints the best."""
    try:
        from .search import search
    except ModuleNotFoundError as error:
        print(f"error: {error}: pip install 'optax_warmup[search]'", file=sys.stderr)
        return 2
    try:
        best = search(
            make_train(size),
            options,
            lambda done, total: console.print(f"trained {done} of {total} trials"),
        )
    except (ValueError, OSError, RuntimeError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    console.print(
        f"Best      peak_value={best.params['peak_value']:.3g}, "
        f"warmup_steps={best.params['warmup_steps']}: {best.value:.4f} "
        f"(mean of {options.seeds} seeds)"
    )
    return 0


def train_all(
    points: list[dict[str, Any]],
    size: Size,
    options: argparse.Namespace,
    console: Console,
) -> dict[str, np.ndarray]:
    columns = ("{task.description}", BarColumn(), MofNCompleteColumn())
    bars = Progress(*columns, TimeRemainingColumn(), console=console)
    with bars:
        task = bars.add_task("compiling", total=len(points))

        def show(done: int, total: int) -> None:
            bars.update(task, description="trained", completed=done)
            if not console.is_terminal:
                console.print(f"trained {done} of {total}")

        return ow.sweeps.sweep(
            make_train(size),
            points,
            shared=(data.load(),),
            chunk=options.chunk,
            folder=options.folder,
            progress=show,
        )


def print_sensitivity(console: Console, ranked: list[ow.sweeps.Ranked]) -> None:
    """Prints what each warmup length loses on average over the peaks of a grid."""
    lengths = {each.configuration["warmup_steps"] for each in ranked}
    peaks = {each.configuration["peak_value"] for each in ranked}
    if len(lengths) * len(peaks) != len(ranked):
        return  # random points are no grid
    losses = {
        (each.configuration["peak_value"], each.configuration["warmup_steps"]): (
            np.nan if each.diverged else each.mean
        )
        for each in ranked
    }
    lost = evaluation.sensitivities(losses, worst=np.log(10), best=ranked[0].mean)
    for length, mean in sorted(lost.items()):
        console.print(f"Warmup of {length:>3}: {mean:.3f} lost on average over peaks")


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = make_parser(
        "sweep", "Which peak learning rate, and how long a warmup? All in one sweep."
    )
    add = parser.add_argument
    add("--peaks", type=float, nargs=2, default=(1e-3, 3.2e-1),
        metavar=("LOW", "HIGH"), help="range of peak rates")  # fmt: skip
    add("--peak-count", type=int, default=6, help="how many of them in the grid")
    add("--warmups", type=int, nargs="+", default=[0, 10, 40, 100],
        metavar="STEPS", help="warmup lengths")  # fmt: skip
    add("--seeds", type=int, default=3, help="runs of each configuration")
    add("--random", type=int, metavar="N",
        help="N random points instead of the grid")  # fmt: skip
    add("--search", type=int, metavar="N",
        help="N trials that Optuna chooses instead of the grid")  # fmt: skip
    add("--total-steps", type=int, default=SIZE.total_steps, help="updates in each")
    add("--chunk", type=int, default=24, help="trainings at a time, saved together")
    add("--folder", type=Path, default=Path("runs/sweep"),
        help="keeps results; the same command continues the sweep")  # fmt: skip
    options = parser.parse_args(arguments)
    if options.search is not None and (options.search < 1 or options.random):
        parser.error("--search takes a number of trials, and no --random beside it")
    if not all(0 <= steps <= options.total_steps for steps in options.warmups):
        parser.error("--warmups must be from 0 to --total-steps")
    if options.total_steps < SIZE.eval_every:
        parser.error(f"--total-steps must be at least {SIZE.eval_every}")
    return options


if __name__ == "__main__":
    sys.exit(main())
