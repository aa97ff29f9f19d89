"""Checks of the arguments that `sweep` and `search` share."""

import inspect
from collections.abc import Callable, Iterable
from typing import Any

import jax
import numpy as np

from optax_warmup import _check


def check_arguments(
    owner: str, train: Any, shared: Any, progress: Any, devices: Any
) -> None:
    if not callable(train) or isinstance(train, type):
        raise TypeError(f"{owner}: train must be a function, got {train!r}.")
    if not isinstance(shared, tuple):
        raise TypeError(
            f"{owner}: shared must be a tuple of arrays, got {type(shared).__name__}; "
            "a single one is (array,)."
        )
    if progress is not None:
        _check.function(owner, "progress", progress, "done", "total")
    if devices is None:
        return
    flat = np.ravel(devices) if isinstance(devices, np.ndarray) else devices
    if not isinstance(flat, list | tuple | np.ndarray) or not all(
        isinstance(device, jax.Device) for device in flat
    ):
        raise TypeError(f"{owner}: devices must be a list of devices, got {devices!r}.")
    if not len(devices):
        raise ValueError(f"{owner}: devices must hold at least one device, got none.")


def check_names(
    owner: str,
    name: str,
    function: Callable[..., Any],
    positional: int,
    names: Iterable[str],
    origin: str,
) -> None:
    """Refuses a function that cannot be called with these arguments."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return  # a builtin does not tell its arguments
    try:
        signature.bind(*[None] * positional, **dict.fromkeys(names))
    except TypeError as error:
        raise TypeError(
            f"{owner}: {name} must take {positional} positional arguments (the shared "
            f"arrays), then the names {', '.join(names)} that {origin}; {function!r} "
            f"takes {signature} ({error})."
        ) from None
