"""Large batches of digits, without and with a warmup: `python -m examples.images`."""

import argparse
import sys
import time
from pathlib import Path

import jax
from rich.console import Console

import optax_warmup as ow

from .. import evaluation
from ..command import make_parser, positive_float, positive_int, progress_bars
from ..evaluation import Run
from . import data, recipes
from .figure import draw
from .recipes import Setting
from .training import Size, init

TARGET = 0.7  # validation accuracy


def main(arguments: list[str] | None = None) -> int:
    began = time.perf_counter()
    options = parse(arguments)
    console = Console(highlight=False, soft_wrap=True)
    evaluation.use_all_cores()
    setting = Setting(
        base_rate=options.base_rate,
        images=options.images,
        warmup_images=options.images // 4,
        seeds=options.seeds,
        size=Size(width=options.width, layers=options.layers),
    )
    digits = data.load()
    console.print(
        f"A vision transformer with {parameters(setting):,} parameters; "
        f"{len(digits.train_N)} digits for training, {len(digits.validation_N)} for "
        f"validation; {setting.images:,} images in each run."
    )
    small, large = train_all(digits, setting, options.chunk, console)
    seconds = step_times(digits, setting)
    small = small._replace(seconds_per_step=seconds["small"])
    large = {
        key: run._replace(seconds_per_step=seconds["large"])
        for key, run in large.items()
    }
    k = float(setting.scale)
    shown = [small, large[1.0, False], large[k, False], large[k, True]]
    console.print()
    console.print(evaluation.table(shown, "accuracy", TARGET, largest=True, digits=3))
    conclude(console, large, seconds)
    draw(shown, large, TARGET, options.output)
    console.print(f"Picture  {options.output}")
    console.print(f"Took     {time.perf_counter() - began:.0f} s")
    return 0


def train_all(
    digits: data.Digits, setting: Setting, chunk: int | None, console: Console
) -> tuple[Run, dict[tuple[float, bool], Run]]:
    with progress_bars(console) as bar:
        small = recipes.small_batch(
            digits, setting, progress=bar(f"batch {setting.small_batch}")
        )
        large = recipes.large_batch(
            digits, setting, chunk=chunk, progress=bar(f"batch {setting.large_batch}")
        )
    return small, large


def conclude(
    console: Console,
    large: dict[tuple[float, bool], Run],
    seconds: dict[str, float],
) -> None:
    """Prints the sensitivity to the peak learning rate, and the overheads."""
    errors = {key: float(1 - run.final().mean()) for key, run in large.items()}
    factors = [factor for factor, _ in large]
    for warmup, lost in evaluation.sensitivities(errors, worst=0.9).items():
        console.print(
            f"Sensitivity to the peak rate, {'with' if warmup else 'without'} warmup: "
            f"{100 * lost:.1f} points of accuracy lost on average over rates "
            f"x{min(factors):g} to x{max(factors):g}"
        )
    schedule = evaluation.cost(seconds, "constant", "large")
    record = evaluation.cost(seconds, "large", "recorded")
    console.print(f"Cost of the schedule: {schedule}; of record_moments: {record}")


def step_times(digits: data.Digits, setting: Setting) -> dict[str, float]:
    """Seconds per update: small batch, large batch, and variants of the latter."""
    adamw = recipes.make_optimizer(recipes.make_schedule(1e-3, 2, 0.0, 8))
    small, large = map(setting.of_batch, (setting.small_batch, setting.large_batch))
    optimizers = {
        "small": (small, adamw),
        "large": (large, adamw),
        "constant": (large, recipes.make_optimizer(1e-3)),
        "recorded": (large, ow.record_moments(adamw, b1=0.9, b2=0.95)),
    }
    calls = {
        name: recipes.timed_step(digits, size, optimizer)
        for name, (size, optimizer) in optimizers.items()
    }
    return evaluation.seconds_per_step(calls)


def parameters(setting: Setting) -> int:
    shapes = jax.eval_shape(lambda: init(setting.size, 0)[1])
    return sum(leaf.size for leaf in jax.tree.leaves(shapes))


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = make_parser(
        "images", "A vision transformer on digits: does a large batch need a warmup?"
    )
    add = parser.add_argument
    default = Setting()
    add("--base-rate", type=positive_float, default=default.base_rate,
        help="learning rate of the small batch")  # fmt: skip
    add("--images", type=positive_int, default=default.images,
        help="images in each run")  # fmt: skip
    add("--seeds", type=positive_int, default=default.seeds, help="runs of each kind")
    add("--width", type=positive_int, default=default.size.width,
        help="width of the transformer")  # fmt: skip
    add("--layers", type=positive_int, default=default.size.layers,
        help="layers of the transformer")  # fmt: skip
    add("--chunk", type=positive_int, help="runs at a time; all by default")
    add("--output", type=Path, default=Path("runs/images.png"), help="the picture")
    options = parser.parse_args(arguments)
    if options.images < 2 * default.large_batch:
        parser.error(f"--images must be at least {2 * default.large_batch}")
    if options.width % default.size.heads:
        parser.error(f"--width must be a multiple of {default.size.heads}")
    return options


if __name__ == "__main__":
    sys.exit(main())
