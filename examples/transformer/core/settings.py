"""Frozen dataclasses of settings that are checked when they are made.

Each field carries its explanation and its limits; the command line is generated from
them.
"""

import dataclasses
import math
import types
import typing
from dataclasses import dataclass
from typing import Any, Literal, Self, Union


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
    metavar: str | None = None,
) -> Any:
    """A dataclass field with an explanation and limits.

    `section` is the heading under which `--help` lists it, and `metavar` what it shows
    in place of a value.
    """
    metadata = {
        "section": section,
        "help": help,
        "at_least": at_least,
        "above": above,
        "at_most": at_most,
        "below": below,
        "metavar": metavar,
    }
    return dataclasses.field(default=default, metadata=metadata)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Base class: checks every field. Subclasses add checks across fields."""

    def __post_init__(self) -> None:
        self.check_fields(vars(self))

    @classmethod
    def check_fields(cls, values: dict[str, Any]) -> None:
        """Raises `InputError` at the first value that its field does not take."""
        hints = typing.get_type_hints(cls)
        for field in dataclasses.fields(cls):
            if field.name in values:
                check(field, hints[field.name], values[field.name])

    def replace(self, **changes: Any) -> Self:
        """A copy with other values, checked again."""
        return dataclasses.replace(self, **changes)


def check(field: dataclasses.Field, hint: Any, value: Any) -> None:
    """Rejects values such as 0.5 steps, NaN, "1e-3" or b2=1 before the run starts."""

    def require(condition: bool, what: str) -> None:
        if not condition:
            raise InputError(f"{field.name}={value!r} is invalid: it must be {what}.")

    require(fits(value, hint), describe(hint))
    if isinstance(value, float):
        require(math.isfinite(value), "finite")
    if value is None:
        return
    limits = field.metadata
    if (bound := limits["at_least"]) is not None:
        require(value >= bound, f"{bound} or more")
    if (bound := limits["above"]) is not None:
        require(value > bound, f"above {bound}")
    if (bound := limits["at_most"]) is not None:
        require(value <= bound, f"{bound} or less")
    if (bound := limits["below"]) is not None:
        require(value < bound, f"below {bound}")


def fits(value: Any, hint: Any) -> bool:
    """Whether a value is of an annotated type; True is no number, and 1 is a float."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        return isinstance(value, str) and value in arguments
    if origin in (Union, types.UnionType):
        return any(fits(value, each) for each in arguments)
    if origin is tuple:  # of any length
        return isinstance(value, tuple) and all(fits(x, arguments[0]) for x in value)
    if hint in (int, float):
        numbers = int if hint is int else (int, float)
        return isinstance(value, numbers) and not isinstance(value, bool)
    return isinstance(value, hint)


def describe(hint: Any) -> str:
    """An annotated type in words."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        return "one of " + ", ".join(arguments)
    if origin in (Union, types.UnionType):
        return " or ".join(describe(each) for each in arguments)
    if origin is tuple:
        return "a list, each " + describe(arguments[0])
    words = {
        int: "a whole number", float: "a number", bool: "true or false", str: "a text",
        type(None): "left out",
    }  # fmt: skip
    return words[hint]
