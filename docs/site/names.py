"""The public names of the package, by namespace."""

import importlib
import inspect
import pkgutil
from types import ModuleType
from typing import Any

import optax_warmup as ow


def namespaces() -> dict[str, ModuleType]:
    """The package and its public modules that hold names, by dotted name."""
    found = {ow.__name__: ow}
    for module in pkgutil.walk_packages(ow.__path__, f"{ow.__name__}."):
        parts = module.name.split(".")
        if not any(part.startswith("_") for part in parts):
            found[module.name] = importlib.import_module(module.name)
    return {name: room for name, room in found.items() if members(room)}


def members(room: ModuleType) -> dict[str, Any]:
    return {
        name: thing
        for name, thing in vars(room).items()
        if not name.startswith("_")
        and not inspect.ismodule(thing)
        and name != "annotations"
    }


def public_names() -> dict[str, Any]:
    """Every public name by its address."""
    return {
        f"{prefix}.{name}": thing
        for prefix, room in namespaces().items()
        for name, thing in members(room).items()
    }


def short(address: str) -> str:
    return address.replace("optax_warmup", "ow", 1)
