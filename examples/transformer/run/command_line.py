"""The command line: tyro makes it from the fields of the settings.

A command starts from exactly one of `--preset NAME`, `--config FILE` and, for training,
`--resume RUN_DIR`, and each other option changes one setting.
"""

import dataclasses
import typing
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated, Any, Literal, TypeVar

import tyro

from ..core.settings import InputError, Settings, option
from .config import Config
from .config_file import read_run, read_settings
from .presets import PRESETS

start_option = partial(option, "start")
process_option = partial(option, "several processes")


@dataclass(frozen=True, kw_only=True)
class Options(Settings):
    """What a command is told besides the settings of the run."""

    preset: Literal["demo", "small", "gpt2", "1b"] | None = start_option(
        None,
        "settings to start from; without it those of demo",
        metavar="{demo,small,gpt2,1b}",
    )
    config: str | None = start_option(
        None,
        "settings to start from: a JSON or TOML file, or a run's folder; what it lacks "
        'is as in the demo, or as in the preset that it names ("preset": "small")',
        metavar="FILE",
    )
    overwrite: bool = start_option(
        False, "replace the run in RUN_DIR; without it an existing run is an error"
    )


@dataclass(frozen=True, kw_only=True)
class TrainOptions(Options):
    """Those of training alone: the demo, which trains twice, cannot resume."""

    resume: tuple[str, ...] | None = start_option(
        None,
        "with a run's folder: continue it, with its own settings; without one: "
        "continue the run in --run-dir, or start if there is none, so that the same "
        "command can be repeated after each interruption",
        metavar="[RUN_DIR]",
    )
    accept_changes: bool = start_option(
        False,
        "resume even if the model, the data, the schedule or another part of the "
        "training has changed",
    )
    find_rate: bool = start_option(
        False,
        "run a learning-rate range test instead, and say which peak it suggests",
    )
    dry_run: bool = start_option(
        False,
        "train nothing: count the parameters, compile the step, and say what it needs "
        "of each device's memory, and whether that fits",
    )
    devices: int = start_option(
        0, "with --dry-run: for so many devices, which need not be here", at_least=0
    )
    target: str | None = start_option(
        None,
        "with --dry-run: compile for the GPU that a file describes, or for a TPU such "
        "as v5e:4x4; neither needs to be here",
        metavar="FILE|TPU",
    )
    device_memory: float = start_option(
        0.0, "with --dry-run: bytes of memory of a device; 0: look it up", at_least=0
    )
    distributed: bool = process_option(
        False,
        "this is one of several processes; on SLURM, Open MPI, TPU pods and "
        "Kubernetes this is enough, elsewhere also give the next three options",
    )
    coordinator: str | None = process_option(
        None, "address of process 0", metavar="HOST:PORT"
    )
    processes: int | None = process_option(None, "number of processes", metavar="N")
    process: int | None = process_option(
        None, "index of this process, from 0", metavar="I"
    )


AnyOptions = TypeVar("AnyOptions", bound=Options)


def parse(
    kind: type[AnyOptions],
    command: str,
    description: str,
    arguments: Sequence[str] | None = None,
    **defaults: Any,
) -> tuple[AnyOptions, Config]:
    """Reads a command line. A mistake in it ends the program with exit code 2.

    Args:
        kind: the options of the command.
        command: its name.
        description: for `--help`.
        arguments: by default those of the program.
        defaults: of this command, in place of those of `Config` and of the presets; a
            file and an option override them.

    Raises:
        InputError: a value is invalid, or a file cannot be read.
    """
    # First where to start from, since that decides the values that --help shows.
    # The program of the second call explains all options, so this one has no help.
    call = partial(tyro.cli, args=arguments, config=(tyro.conf.OmitArgPrefixes,))
    start: Any = call(as_sections(kind()), return_unknown_args=True, add_help=False)
    base = starting_point(made(kind, start[0]), defaults)
    found = call(
        as_sections(kind(), base),
        prog=f"python -m examples.transformer.{command}",
        description=description,
    )
    return made(kind, found), made(Config, found)


def starting_point(options: Options, defaults: dict[str, Any]) -> Config:
    """The settings before the options that change single ones."""
    resume = getattr(options, "resume", None) or ()
    if len(resume) > 1:
        raise InputError(f"--resume takes one folder, got {', '.join(resume)}.")
    named = {
        "--preset": options.preset, "--config": options.config, "--resume": resume
    }  # fmt: skip
    if len(given := [name for name, value in named.items() if value]) > 1:
        raise InputError(
            f"{' and '.join(given)} each say what to start from. Give one of them, and "
            f"change single settings by options; a file may name its preset."
        )
    if resume:
        return read_run(resume[0])
    settings = read_settings(options.config) if options.config else {}
    preset = settings.pop("preset", options.preset or "demo")
    if preset not in PRESETS:
        raise InputError(
            f"{options.config}: preset={preset!r} is none. Choose one of "
            f"{', '.join(PRESETS)}."
        )
    return PRESETS[preset].replace(**defaults | settings)


def as_sections(*defaults: Settings) -> type:
    """The fields as a dataclass of dataclasses, one for each section of `--help`."""
    sections: dict[str, list[tuple[str, Any, Any]]] = {}
    for settings in defaults:
        hints = typing.get_type_hints(type(settings))
        for each in dataclasses.fields(settings):
            about = each.metadata
            kind: Any = Annotated[
                hints[each.name],
                tyro.conf.arg(help=about["help"], metavar=about["metavar"]),
            ]
            if isinstance(settings, Options):  # no preset says --overwrite
                kind = Annotated[kind, tyro.conf.FlagCreatePairsOff]
            default = field(default=getattr(settings, each.name))
            section = sections.setdefault(about["section"].replace(" ", "_"), [])
            section.append((each.name, kind, default))
    groups = {
        name: dataclasses.make_dataclass(name, fields)
        for name, fields in sections.items()
    }
    return dataclasses.make_dataclass(
        "Arguments",
        [(name, group, field(default_factory=group)) for name, group in groups.items()],
    )


AnySettings = TypeVar("AnySettings", bound=Settings)


def made(kind: type[AnySettings], found: Any) -> AnySettings:
    """The settings of a kind from those of all sections."""
    values: dict[str, Any] = {}
    for section in vars(found).values():
        values |= vars(section)
    names = [each.name for each in dataclasses.fields(kind)]
    return kind(**{name: values[name] for name in names})
