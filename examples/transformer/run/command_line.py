"""The command line, generated from the fields of `Config`."""

import argparse
import dataclasses
import typing
from typing import Any

from . import processes
from .config import Config
from .presets import PRESETS


def make_parser(
    command: str, description: str, **defaults: Any
) -> argparse.ArgumentParser:
    """A parser with `--preset`, `--overwrite` and an option for each field.

    `defaults` of this command override those of the fields and of the presets.
    """
    parser = argparse.ArgumentParser(
        prog=f"python -m examples.transformer.{command}",
        description=description,
        usage="%(prog)s [--preset NAME] [options]",
        formatter_class=lambda prog: argparse.HelpFormatter(prog, max_help_position=28),
        epilog="Values of the demo preset are in square brackets.",
    )
    parser.add_argument(
        "--preset",
        choices=PRESETS,
        default="demo",
        help="settings to start from (default: %(default)s)",
    )
    parser.add_argument(
        "--overwrite",
        action="store_true",
        help="replace the run in RUN_DIR; without it an existing run is an error",
    )
    groups: dict[str, Any] = {}
    hints = typing.get_type_hints(Config)
    for field in dataclasses.fields(Config):
        section = field.metadata["section"]
        if section not in groups:
            groups[section] = parser.add_argument_group(section)
        groups[section].add_argument(
            "--" + field.name.replace("_", "-"),
            # Absent unless given, so that it does not hide the preset's value.
            default=defaults.get(field.name, argparse.SUPPRESS),
            help=f"{field.metadata['help']} "
            f"[{defaults.get(field.name, field.default)}]",
            **parsing(hints[field.name]),
        )
    return parser


def add_resume_options(parser: argparse.ArgumentParser) -> None:
    """Options of training alone: the demo, which trains twice, cannot resume."""
    parser.add_argument(
        "--resume",
        action="store_true",
        help="continue from the newest checkpoint in RUN_DIR, or start if there is "
        "none: after an interruption, run the same command again",
    )
    parser.add_argument(
        "--accept-changes",
        action="store_true",
        help="resume even if the model, the data, the schedule or another part of the "
        "training has changed",
    )
    processes.add_options(parser)


def parsing(hint: Any) -> dict[str, Any]:
    if hint is bool:
        return {"action": argparse.BooleanOptionalAction}
    if hint in (int, float):
        return {"type": hint, "metavar": "N" if hint is int else "X"}
    return {"type": str, "metavar": "TEXT"}


def config_from(arguments: argparse.Namespace) -> Config:
    """The preset, with the options that were given."""
    names = {field.name for field in dataclasses.fields(Config)}
    given = {name: value for name, value in vars(arguments).items() if name in names}
    return PRESETS[arguments.preset].replace(**given)
