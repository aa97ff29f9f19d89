"""Large batches of digits, with and without a warmup: `python -m examples.images`."""

import argparse
import sys
import time
from pathlib import Path

import jax
from rich.console import Console
from rich.progress import Progress

import optax_warmup as ow

from .. import evaluation
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
        f"Vision transformer, {parameters(setting):,} parameters; "
        f"{len(digits.train_N)} digits to train on, {len(digits.validation_N)} held "
        f"out; {setting.images:,} images a run."
    )
    with Progress(console=console, disable=not console.is_terminal) as bars:
        small = recipes.small_batch(
            digits, setting, progress=bar(bars, f"batch {setting.small_batch}")
        )
        large = recipes.large_batch(
            digits,
            setting,
            chunk=options.chunk,
            progress=bar(bars, f"batch {setting.large_batch}"),
        )
        costs = step_times(digits, setting)
    small = small._replace(seconds_a_step=costs["small"])
    large = {
        key: run._replace(seconds_a_step=costs["large"]) for key, run in large.items()
    }
    k = float(setting.scale)
    shown = [small, large[1.0, False], large[k, False], large[k, True]]
    console.print()
    console.print(evaluation.table(shown, "accuracy", TARGET, largest=True, digits=3))
    conclude(console, large, setting, costs)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    draw(shown, large, TARGET, options.output)
    console.print(f"Picture  {options.output}")
    console.print(f"Took     {time.perf_counter() - began:.0f} s")
    return 0


def conclude(console: Console, large: dict, setting: Setting, costs: dict) -> None:
    """Sensitivity to the rate, and overheads."""
    errors = {
        warm: {f: 1 - run.final().mean() for (f, w), run in large.items() if w is warm}
        for warm in (False, True)
    }
    best = min(min(each.values()) for each in errors.values())
    for warm, name in ((False, "without warmup"), (True, "with warmup")):
        spread = evaluation.sensitivity(errors[warm], worst=0.9, best=best)
        console.print(
            f"Sensitivity to the peak rate, {name}: {100 * spread:.1f} points of "
            f"accuracy lost on average over rates x {min(errors[warm]):g} to "
            f"x {max(errors[warm]):g}"
        )
    for name, what in (("constant", "the schedule"), ("recorded", "record_moments")):
        low, high = ("constant", "large") if name == "constant" else ("large", name)
        added = costs[high] / costs[low] - 1
        console.print(f"{what.capitalize()} adds {100 * added:+.1f}% to a step")


def step_times(digits: data.Digits, setting: Setting) -> dict[str, float]:
    """Seconds of an update: small batch, large batch, and what is added to that."""
    schedule = recipes.make_schedule(1e-3, 2, 0.0, 8)
    small, large = map(setting.of_batch, (setting.small_batch, setting.large_batch))
    adamw = recipes.make_optimizer(schedule)
    optimizers = {
        "small": (small, adamw),
        "large": (large, adamw),
        "constant": (large, recipes.make_optimizer(1e-3)),
        "recorded": (large, ow.record_moments(adamw, b1=0.9, b2=0.95)),
    }
    found = evaluation.overhead(
        {
            name: recipes.step_on(digits, size, optimizer)
            for name, (size, optimizer) in optimizers.items()
        }
    )
    return {name: seconds / recipes.TIMED for name, seconds in found.items()}


def bar(bars: Progress, name: str):
    task = bars.add_task(name, total=None)
    return lambda done, total: bars.update(task, completed=done, total=total)


def parameters(setting: Setting) -> int:
    shapes = jax.eval_shape(lambda: init(setting.size, 0)[1])
    return sum(leaf.size for leaf in jax.tree.leaves(shapes))


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m examples.images",
        description="A vision transformer on digits: does a large batch need a warmup?",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    default = Setting()
    add("--base-rate", type=float, default=default.base_rate,
        help="learning rate of the small batch")  # fmt: skip
    add("--images", type=int, default=default.images, help="images in each run")
    add("--seeds", type=int, default=default.seeds, help="runs of each kind")
    add("--width", type=int, default=default.size.width, help="of the transformer")
    add("--layers", type=int, default=default.size.layers, help="of the transformer")
    add("--chunk", type=int, help="runs at a time")
    add("--output", type=Path, default=Path("runs/images.png"), help="the picture")
    options = parser.parse_args(arguments)
    for name in ("base_rate", "images", "seeds", "width", "layers", "chunk"):
        value = getattr(options, name)
        if value is not None and not 0 < value < float("inf"):
            parser.error(f"--{name.replace('_', '-')} must be above 0")
    if options.images < 2 * default.large_batch:
        parser.error(f"--images must be at least {2 * default.large_batch}")
    if options.width % default.size.heads:
        parser.error(f"--width must be a multiple of {default.size.heads}")
    return options


if __name__ == "__main__":
    sys.exit(main())
