"""Frozen dataclasses of settings that are checked when they are made.

Each field carries its explanation and its limits; the command line is generated from
them.
"""

import dataclasses
import math
import typing
from dataclasses import dataclass
from typing import Any, Self


class InputError(ValueError):
    """The user gave something invalid; the message names it and the way out."""


def option(
    section: str,
    default: Any,
    help: str,
    *,
    at_least: float | None = None,
    above: float | None = None,
    at_most: float | None = None,
    below: float | None = None,
    choices: tuple[str, ...] | None = None,
) -> Any:
    """A dataclass field with an explanation and limits.

    `section` is the heading under which `--help` lists it.
    """
    metadata = {
        "section": section,
        "help": help,
        "at_least": at_least,
        "above": above,
        "at_most": at_most,
        "below": below,
        "choices": choices,
    }
    return dataclasses.field(default=default, metadata=metadata)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Base class: checks every field. Subclasses add checks across fields."""

    def __post_init__(self) -> None:
        hints = typing.get_type_hints(type(self))
        for field in dataclasses.fields(self):
            check(field, hints[field.name], getattr(self, field.name))

    def replace(self, **changes: Any) -> Self:
        """A copy with other values, checked again."""
        return dataclasses.replace(self, **changes)


def check(field: dataclasses.Field, hint: Any, value: Any) -> None:
    """Rejects values such as 0.5 steps, NaN, "1e-3" or b2=1 before the run starts."""

    def require(condition: bool, what: str) -> None:
        if not condition:
            raise InputError(f"{field.name}={value!r} is invalid: it must be {what}.")

    if hint in (int, float):
        numbers = int if hint is int else (int, float)
        number = isinstance(value, numbers) and not isinstance(value, bool)
        require(number, "a whole number" if hint is int else "a number")
        require(math.isfinite(value), "finite")
    else:
        require(isinstance(value, hint), f"of type {getattr(hint, '__name__', hint)}")
    limits = field.metadata
    if (bound := limits["at_least"]) is not None:
        require(value >= bound, f"{bound} or more")
    if (bound := limits["above"]) is not None:
        require(value > bound, f"above {bound}")
    if (bound := limits["at_most"]) is not None:
        require(value <= bound, f"{bound} or less")
    if (bound := limits["below"]) is not None:
        require(value < bound, f"below {bound}")
    if (choices := limits["choices"]) is not None:
        require(value in choices, "one of " + ", ".join(choices))
