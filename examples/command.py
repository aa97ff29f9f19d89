"""Command-line helpers shared by the examples."""

import argparse
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import Progress


def make_parser(name: str, description: str) -> argparse.ArgumentParser:
    """A parser for `python -m examples.NAME`; `--help` shows the defaults."""
    return argparse.ArgumentParser(
        prog=f"python -m examples.{name}",
        description=description,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )


def positive_int(text: str) -> int:
    """An argparse type: a whole number above 0."""
    number = int(text)
    if number <= 0:
        raise argparse.ArgumentTypeError(f"{text} must be above 0")
    return number


def positive_float(text: str) -> float:
    """An argparse type: a finite number above 0."""
    number = float(text)
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"{text} must be above 0, and finite")
    return number


@contextmanager
def progress_bars(
    console: Console,
) -> Iterator[Callable[[str], Callable[[int, int], None]]]:
    """Yields a function that adds a bar; a bar is called with (done, total)."""
    with Progress(console=console, disable=not console.is_terminal) as bars:

        def add(name: str) -> Callable[[int, int], None]:
            task = bars.add_task(name, total=None)
            return lambda done, total: bars.update(task, completed=done, total=total)

        yield add
