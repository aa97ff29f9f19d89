"""The arguments of the command `optax-warmup`."""

import argparse
from pathlib import Path
from typing import Any

_EXAMPLE = "warmup_cosine(3e-4, 2000, 100_000)"


def make_parser(version: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="optax-warmup",
        description="Plot and describe learning-rate schedules before training, and "
        "report on the moments that Adam had in training.",
        epilog=f'Example: optax-warmup plot "{_EXAMPLE}"',
    )
    parser.add_argument(
        "--version",
        action="version",
        version=f"optax_warmup {version}",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    plotting = commands.add_parser(
        "plot", help="plot schedules in the terminal or to a file"
    )
    describing = commands.add_parser(
        "describe", help="describe the peak, warmup, end and jumps of schedules"
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
            help="number of updates (default: the whole schedule)",
        )
    _add_plot_file(plotting, " instead of the terminal")
    plotting.add_argument("--log", action="store_true", help="use a logarithmic y axis")
    reporting = commands.add_parser(
        "report", help="print advice on recorded runs, and write an HTML report"
    )
    reporting.add_argument(
        "run",
        nargs="+",
        metavar="RUN_DIR",
        help="a folder with moments.npz and, optionally, metrics.jsonl (step, loss)",
    )
    reporting.add_argument(
        "--output",
        type=Path,
        default=Path("warmup_report.html"),
        metavar="FILE",
        help="the HTML file to write (default: %(default)s)",
    )
    _add_watch(commands)
    _add_choices(commands)
    return parser


def _add_watch(commands: Any) -> None:
    watching = commands.add_parser(
        "watch", help="show a run while it trains: loss, rate, advice"
    )
    watching.add_argument(
        "run",
        metavar="RUN_DIR",
        help="its folder, with metrics.jsonl (step, loss, learning_rate) or "
        "moments.npz; it may not be there yet",
    )
    watching.add_argument(
        "--once", action="store_true", help="show what is there now, and leave"
    )
    watching.add_argument(
        "--plain",
        action="store_true",
        help="print a line for each row, as is done where there is no terminal",
    )
    watching.add_argument(
        "--interval",
        type=_seconds,
        default=1.0,
        metavar="SECONDS",
        help="how often to look (default: %(default)s)",
    )


def _add_choices(commands: Any) -> None:
    """Adds the commands that help to choose a schedule."""
    finding = commands.add_parser(
        "find", help="suggest a peak rate from the saved curve of a range test"
    )
    finding.add_argument(
        "curve", metavar="CURVE.csv", help="a CSV file with learning_rate and loss"
    )
    _add_plot_file(finding)
    ranking = commands.add_parser(
        "rank", help="rank schedules for a long run by the losses of short ones"
    )
    ranking.add_argument(
        "run",
        nargs="+",
        metavar="RUN_DIR",
        help="a folder with metrics.jsonl (step, learning_rate, and a loss)",
    )
    ranking.add_argument(
        "--steps",
        type=_steps,
        required=True,
        metavar="N",
        help="updates of the long run",
    )
    ranking.add_argument(
        "--schedule",
        nargs="+",
        default=[],
        help="the schedules to rank (default: cooldowns of different length)",
    )
    ranking.add_argument(
        "--loss", metavar="NAME", help="which loss to read (default: the held-out one)"
    )


def _add_plot_file(command: argparse.ArgumentParser, more: str = "") -> None:
    command.add_argument(
        "--output",
        type=Path,
        metavar="FILE",
        help=f"write the plot to FILE (.png, .svg or .pdf){more}",
    )


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


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0.01 <= seconds <= 3600:
        raise argparse.ArgumentTypeError(
            f"must be a number of seconds from 0.01 to 3600, got {text!r}"
        )
    return seconds
