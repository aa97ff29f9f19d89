"""The public names that build a schedule or a shape, for texts and configurations."""

import functools
import importlib
import inspect
from typing import Any

from optax_warmup._schedules.schedule import Schedule
from optax_warmup.shapes._shape import Shape

# Modules by the prefix of their names.
_ROOMS = {
    "": "",
    "shapes.": ".shapes",
    "factors.": ".factors",
    "compat.optax.": ".compat.optax",
    "compat.transformers.": ".compat.transformers",
}


@functools.cache
def vocabulary() -> dict[str, Any]:
    """Returns what builds a schedule or a shape, and the shapes, by public name."""
    # A name is public if the package has it, and the package imports this module:
    # so it is imported here, when it is complete.
    package = __name__.split(".")[0]
    return {
        f"{prefix}{name}": thing
        for prefix, room in _ROOMS.items()
        for name, thing in vars(importlib.import_module(f"{package}{room}")).items()
        if not name.startswith("_") and _has_meaning(thing)
    }


def _has_meaning(thing: Any) -> bool:
    return isinstance(thing, Shape) or any(
        _builds(thing, kind) for kind in (Schedule, Shape)
    )


def _builds(thing: Any, wanted: type) -> bool:
    if isinstance(thing, type):
        return issubclass(thing, wanted) and not inspect.isabstract(thing)
    if not inspect.isfunction(thing):
        return False
    return inspect.signature(thing).return_annotation in (wanted, wanted.__name__)
