"""The command `optax-warmup`: plots and describes schedules, watches and reports runs.

It also reads range tests, and ranks schedules by the loss that runs let expect.
"""

import argparse
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import optax_warmup
from optax_warmup._arguments import make_parser
from optax_warmup._inspect import expression, terminal
from optax_warmup._inspect.describe import describe
from optax_warmup._inspect.expression import ExpressionError, Parsed
from optax_warmup._inspect.plot import plot
from optax_warmup._inspect.simulate import natural_length
from optax_warmup._schedules.schedule import Schedule
from optax_warmup._vocabulary import vocabulary
from optax_warmup._watch.command import watch_command
from optax_warmup.diagnostics._report_command import report_command
from optax_warmup.finder._find_command import find_command
from optax_warmup.loss_laws._rank_command import rank_command

_KINDS = (".png", ".svg", ".pdf")
_PAGES = (".html", ".htm")


class _Refusal(Exception):
    """A message for the user, who gets exit status 2."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit status: 0, or 2 for a mistake.

    Of `watch` it is 130 after Ctrl-C.
    """
    options = make_parser(optax_warmup.__version__).parse_args(arguments)
    try:
        if options.command == "report":
            _report(options.run, options.output)
            return 0
        if options.command == "watch":
            return _watch(options)
        if options.command == "find":
            _find(options.curve, options.output)
            return 0
        parsed = {text.strip(): _parsed(text) for text in options.schedule}
        if options.command == "rank":
            _rank(options, {text: found.schedule for text, found in parsed.items()})
        elif options.command == "describe":
            _describe(parsed, options.steps)
        else:
            _plot(parsed, options)
    except _Refusal as refusal:
        print(f"optax-warmup: {refusal}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        # The reader, such as `head`, has closed the pipe. Without this, flushing the
        # buffer at exit would fail with a traceback.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


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
    _require_suffix(output, _PAGES)
    columns, _ = shutil.get_terminal_size()
    try:
        said = report_command(run_dirs, output, width=min(columns, 100))
    except (OSError, ValueError) as error:
        raise _Refusal(error) from None
    print(said)


def _watch(options: argparse.Namespace) -> int:
    try:
        return watch_command(
            options.run,
            once=options.once,
            plain=options.plain,
            interval=options.interval,
        )
    except ValueError as error:
        raise _Refusal(error) from None


def _find(curve: str, output: Path | None) -> None:
    if output is not None:
        _require_suffix(output, _KINDS)
    try:
        said = find_command(curve, output)
    except ImportError:
        raise _Refusal(
            "--output needs matplotlib: pip install 'optax_warmup[plot]'."
        ) from None
    except (OSError, ValueError) as error:
        raise _Refusal(error) from None
    print(said)


def _rank(options: argparse.Namespace, candidates: dict[str, Schedule]) -> None:
    try:
        said = rank_command(options.run, options.steps, candidates, options.loss)
    except (OSError, ValueError) as error:
        raise _Refusal(error) from None
    print(said)


def _require_suffix(path: Path, suffixes: Sequence[str]) -> None:
    if path.suffix.lower() not in suffixes:
        raise _Refusal(
            f"--output must end in {' or '.join(suffixes)}, got {str(path)!r}."
        )


def _looked(text: str, look: Callable[..., Any], *arguments: Any) -> Any:
    """Calls `look`; its ValueError about a schedule is the user's mistake."""
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
    _require_suffix(path, _KINDS)
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise _Refusal(
            "--output needs matplotlib: pip install 'optax_warmup[plot]'."
        ) from None
    # Not pyplot, which would look for a screen.
    figure = Figure(figsize=(8, 4.2), dpi=150, layout="constrained")
    axes = figure.subplots()
    try:
        plot(schedules, steps, log=options.log, axes=axes)
    except ValueError as error:
        raise _Refusal(error) from None
    try:
        figure.savefig(path)
    except OSError as error:
        raise _Refusal(f"--output cannot be written: {error}.") from None
    print(f"{path}: {steps:,} updates")
