"""Finds the best schedules of model problems: `python -m examples.optimal_shape`."""

import argparse
import sys
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from ..command import make_parser, positive_float, positive_int
from .figure import draw
from .problem import Task
from .search import Found, Size, fitted_power, optimise, stable_share

TASKS = (Task(1.5, 0.15), Task(2.0, 0.25), Task(1.5, 1.0), Task(2.0, 0.8))


def main(arguments: list[str] | None = None) -> int:
    options = parse(arguments)
    size = Size(options.dimension, options.steps, options.knots, options.largest,
        options.updates)  # fmt: skip
    console = Console(highlight=False, soft_wrap=True)
    began = time.perf_counter()
    found = {task: optimise(task, size) for task in TASKS}
    console.print(as_table(found, size))
    path = options.folder / "optimal_shape.png"
    draw(path, found, size)
    console.print(f"Picture   {path}")
    console.print(f"Took      {time.perf_counter() - began:.0f} s")
    return 0


def as_table(found: dict[Task, Found], size: Size) -> Table:
    """The shape of each best schedule, and how far the families are behind it."""
    names = list(next(iter(found.values())).families)
    table = Table("task", "stable", "power", "theory", *names)
    for task, result in found.items():
        risks = [risk for _, risk in result.families.values()]
        table.add_row(
            str(task),
            f"{stable_share(result.schedule, size.steps):.0%}",
            "" if task.hard else f"{fitted_power(result.schedule, size.steps):.2f}",
            "" if task.hard else f"{task.power:g}",
            *(f"{risk / result.risk - 1:+.1%}" for risk in risks),
        )
    return table


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = make_parser(
        "optimal_shape", "Which schedule is best, if its shape may be any?"
    )
    size = Size()
    add = parser.add_argument
    add("--dimension", type=positive_int, default=size.dimension, help="coordinates")
    add("--steps", type=positive_int, default=size.steps, help="updates of SGD")
    add("--knots", type=positive_int, default=size.knots,
        help="free rates of the schedule")  # fmt: skip
    add("--largest", type=positive_float, default=size.largest, help="largest rate")
    add("--updates", type=positive_int, default=size.updates,
        help="updates of the search")  # fmt: skip
    add("--folder", type=Path, default=Path("runs/optimal_shape"),
        help="where the picture goes")  # fmt: skip
    options = parser.parse_args(arguments)
    if not 2 <= options.knots <= options.steps // 2:
        parser.error("--knots must be at least 2, and at most half of --steps")
    return options


if __name__ == "__main__":
    sys.exit(main())
