"""The command `optax-warmup`: looks at schedules written as text, and at runs."""

import argparse
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import optax_warmup as ow
from optax_warmup._inspect import expression, terminal
from optax_warmup._inspect.describe import describe
from optax_warmup._inspect.expression import ExpressionError, Parsed
from optax_warmup._inspect.plot import plot
from optax_warmup._inspect.simulate import natural_length
from optax_warmup._schedules.schedule import Schedule
from optax_warmup.diagnostics._report_command import report_command

_EXAMPLE = "warmup_cosine(3e-4, 2000, 100_000)"
_KINDS = (".png", ".svg", ".pdf")


class _Refusal(Exception):
    """What to tell the user before leaving with status 2."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status: 0, or 2 where something is wrong."""
    options = _parser().parse_args(arguments)
    try:
        if options.command == "report":
            _report(options.run, options.output)
            return 0
        parsed = {text.strip(): _parsed(text) for text in options.schedule}
        if options.command == "describe":
            _describe(parsed, options.steps)
        else:
            _plot(parsed, options)
    except _Refusal as refusal:
        print(f"optax-warmup: {refusal}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        # The reader, such as `head`, has left. What is still in the buffer would
        # complain at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="optax-warmup",
        description="Look at learning-rate schedules before you train, and at what "
        "Adam's moments did while you trained.",
        epilog=f'Example: optax-warmup plot "{_EXAMPLE}"',
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    plotting = commands.add_parser(
        "plot", help="draw schedules in the terminal, or into a file"
    )
    describing = commands.add_parser(
        "describe", help="say where they peak, jump and end"
    )
    for command in (plotting, describing):
        command.add_argument(
            "schedule",
            nargs="+",
            help=f'a schedule as in Python, such as "{_EXAMPLE}"',
        )
        command.add_argument(
            "--steps",
            type=_steps,
            metavar="N",
            help="updates to look at (by default all that the schedule says)",
        )
    plotting.add_argument(
        "--output",
        type=Path,
        metavar="FILE",
        help="write the picture to FILE (.png, .svg or .pdf) and draw nothing here",
    )
    plotting.add_argument(
        "--log", action="store_true", help="logarithmic axis of the values"
    )
    reporting = commands.add_parser(
        "report", help="say how the warmups of some runs went, and write a page"
    )
    reporting.add_argument(
        "run",
        nargs="+",
        metavar="RUN_DIR",
        help="a folder with moments.npz, and with metrics.jsonl (step, loss) if any",
    )
    reporting.add_argument(
        "--output",
        type=Path,
        default=Path("warmup_report.html"),
        metavar="FILE",
        help="the page to write (default: %(default)s)",
    )
    return parser


def _steps(text: str) -> int:
    try:
        steps = float(text)
    except ValueError:
        steps = 0.5
    if not 2 <= steps <= 1e9 or steps != int(steps):
        raise argparse.ArgumentTypeError(
            f"must be a whole number from 2 to 1e9, got {text!r}"
        )
    return int(steps)


def vocabulary() -> dict[str, Any]:
    """The public names that build a schedule or a shape."""
    return expression.vocabulary(
        {
            "": ow,
            "shapes.": ow.shapes,
            "factors.": ow.factors,
            "compat.optax.": ow.compat.optax,
            "compat.transformers.": ow.compat.transformers,
        }
    )


def _parsed(text: str) -> Parsed:
    try:
        return expression.parse(text, vocabulary())
    except ExpressionError as error:
        raise _Refusal(error) from None


def _describe(parsed: dict[str, Parsed], steps: int | None) -> None:
    for index, (text, found) in enumerate(parsed.items()):
        # A run of n updates ends before the schedule's value at step n is used.
        total = steps or found.total_steps or natural_length(found.schedule)
        lines = str(_looked(text, describe, found.schedule, total)).splitlines()
        print("\n" * (index > 0) + text, *(f"  {line}" for line in lines), sep="\n")


def _plot(parsed: dict[str, Parsed], options: argparse.Namespace) -> None:
    steps = options.steps or max(
        _looked(text, natural_length, found.schedule, found.total_steps)
        for text, found in parsed.items()
    )
    schedules = {text: found.schedule for text, found in parsed.items()}
    if options.output is not None:
        _write(schedules, steps, options)
        return
    columns, rows = shutil.get_terminal_size()
    picture = terminal.draw(
        schedules,
        steps,
        width=min(columns, 120),
        height=min(max(rows - len(schedules) - 6, 8), 20),
        log=options.log,
        color=sys.stdout.isatty() and "NO_COLOR" not in os.environ,
        braille=_can_write("⠿│└"),
    )
    print(picture)


def _report(run_dirs: Sequence[str], output: Path) -> None:
    try:
        print(report_command(run_dirs, output))
    except (OSError, ValueError) as error:
        raise _Refusal(error) from None


def _looked(text: str, look: Callable[..., Any], *arguments: Any) -> Any:
    """What `look` returns; a schedule that is no number a step is the user's error."""
    try:
        return look(*arguments)
    except ValueError as error:
        raise _Refusal(f"{error}\n    {text}") from None


def _can_write(text: str) -> bool:
    try:
        text.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return False
    return True


def _write(
    schedules: dict[str, Schedule], steps: int, options: argparse.Namespace
) -> None:
    path = options.output
    if path.suffix.lower() not in _KINDS:
        raise _Refusal(f"--output must end in {', '.join(_KINDS)}, got {str(path)!r}.")
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise _Refusal(
            "--output needs matplotlib: pip install 'optax_warmup[plot]'."
        ) from None
    # Not pyplot, which would look for a screen.
    figure = Figure(figsize=(8, 4.2), dpi=150, layout="constrained")
    axes = figure.subplots()
    plot(schedules, steps, log=options.log, axes=axes)
    try:
        figure.savefig(path)
    except OSError as error:
        raise _Refusal(f"--output cannot be written: {error}.") from None
    print(f"{path}: {steps:,} updates")
