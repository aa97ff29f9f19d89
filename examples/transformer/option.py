"""A setting: its default, its explanation, and what it must be."""

import dataclasses
import math
from typing import Any


class InputError(ValueError):
    """Something the user gave is wrong; the message names it and the way out."""


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
    """A field with all that is needed to explain it and to check it."""
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


def check(each: dataclasses.Field, hint: Any, value: Any) -> None:
    """Stops 0.5 steps, NaN, "1e-3" and b2=1 before they travel into the run."""

    def require(condition: bool, what: str) -> None:
        if not condition:
            raise InputError(f"{each.name}={value!r} will not do: it must be {what}.")

    if hint in (int, float):
        numbers = int if hint is int else (int, float)
        number = isinstance(value, numbers) and not isinstance(value, bool)
        require(number, "a whole number" if hint is int else "a number")
        require(math.isfinite(value), "finite")
    else:
        require(isinstance(value, hint), f"of type {getattr(hint, '__name__', hint)}")
    limits = each.metadata
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
