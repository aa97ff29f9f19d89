"""Settings that travel: the config.json of a run, or a file that someone wrote."""

import dataclasses
import difflib
import tomllib
from pathlib import Path
from typing import Any

from ..core import files
from ..core.settings import InputError
from . import contents
from .config import Config
from .records import parse

NAME = "config.json"


def read_settings(path: str | Path) -> dict[str, Any]:
    """The settings in a file, which may lack some and may name a preset.

    Args:
        path: a JSON file, a TOML file (by its suffix), or a folder with a config.json.

    Raises:
        InputError: it cannot be read, or a setting is unknown or invalid.
    """
    file = Path(path).expanduser()
    file = file / NAME if file.is_dir() else file
    try:
        text = file.read_text("utf-8")
        found = tomllib.loads(text) if file.suffix == ".toml" else parse(text)
    except FileNotFoundError:
        raise InputError(
            f"config={str(path)!r} does not exist (looked in {Path.cwd()}). Name a "
            f"file of settings, or the folder of a run."
        ) from None
    except (OSError, ValueError) as error:
        raise InputError(
            f"{file} cannot be read ({error}). It must hold settings as JSON or TOML, "
            f"as the config.json of a run does."
        ) from None
    settings = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in found.items()
    }
    check(file, settings)
    return settings


def check(file: Path, settings: dict[str, Any]) -> None:
    """Raises `InputError` at a name that is no setting, and at a value that is none."""
    known = [each.name for each in dataclasses.fields(Config)]
    for name in settings.keys() - {"preset", *known}:
        near = difflib.get_close_matches(name.replace("-", "_"), known, 1)
        way_out = f"Did you mean {near[0]}?" if near else "--help lists the settings."
        raise InputError(f"{file}: {name!r} is no setting. {way_out}")
    try:
        Config.check_fields(settings)
    except InputError as error:
        raise InputError(f"{file}: {error}") from None


def read_config(folder: Path) -> Config:
    """All settings of a run, from its folder."""
    try:
        settings = read_settings(folder)
        settings.pop("preset", None)
        return Config(**settings)
    except InputError as error:
        raise InputError(
            f"{error} Put {folder / NAME} back from a copy, or repeat the run."
        ) from None


def read_run(path: str) -> Config:
    """The settings of a run that is to go on, wherever its folder is now.

    Args:
        path: RUN_DIR or RUN_DIR.incomplete.
    """
    run = Path(str(path).rstrip("/")).expanduser()
    run = run.with_name(run.name.removesuffix(files.INCOMPLETE))
    real = contents.run_path(run)
    incomplete = files.incomplete(real)
    there = [folder for folder in (incomplete, real) if folder.is_dir()]
    if not there:
        raise InputError(
            f"--resume {path}: there is no run in {run} nor in {run}.incomplete "
            f"(looked in {Path.cwd()}). To start one, give its settings and --run-dir."
        )
    if not (there[0] / NAME).is_file():
        raise InputError(
            f"--resume {path}: {there[0]} has no {NAME}, and so does not say how it "
            f"was started. Give its settings and --run-dir, and --resume without a "
            f"folder."
        )
    return read_config(there[0]).replace(run_dir=str(run))
