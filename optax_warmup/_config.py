"""Converts schedules and shapes to JSON and back, and fingerprints them.

So a checkpoint or a run's metadata can record its schedule. Reading a configuration
only calls constructors, of this library's classes and of those that the caller passes:
it imports nothing and evaluates no code.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import math
import sys
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from optax_warmup import _check
from optax_warmup._elsewhere import nearest
from optax_warmup._vocabulary import vocabulary
from optax_warmup.values._checked import require_known
from optax_warmup.values._kinds import kinds_of
from optax_warmup.values._value import Static, Value, public_name

Functions = Mapping[str, Callable[..., Any]]

_DEEPEST = 60  # levels of schedules inside schedules


def to_config(schedule: Value, functions: Functions | None = None) -> dict[str, Any]:
    """Converts a schedule or a shape to a dict that can be saved as JSON.

    A schedule or a shape becomes {"type": its public name, argument: value, ...} with
    all its arguments; an array becomes {"type": "array", "values": [...]}.

    Args:
        schedule: a `Schedule` or a shape without traced numbers.
        functions: names for your own callables inside the schedule. A callable that is
            not listed must be defined at the top level of a module; it is saved under
            its own name.

    Returns:
        A dict of dicts, lists, strings and numbers.

    Raises:
        TypeError: a number is traced, or `schedule` is neither a schedule nor a shape
            of this library.
        ValueError: an unlisted callable has no name of its own, such as a lambda or a
            closure.

    Example:
        >>> import optax_warmup as ow
        >>> ow.to_config(ow.transition(1.0, 0.0, 10))["steps"]
        10
        >>> schedule = ow.warmup_cosine(1e-3, 10, 100)
        >>> ow.from_config(ow.to_config(schedule)) == schedule
        True
    """
    return _to_config("to_config", schedule, functions)


def from_config(config: Mapping[str, Any], functions: Functions | None = None) -> Any:
    """Builds a schedule or a shape from a dict, such as one of `to_config`.

    Args:
        config: {"type": a public name, argument: value, ...}: what `to_config`
            returned, possibly saved as JSON in between, or written by hand. A type may
            be a preset too.
        functions: your own callables and schedule or shape classes that the config
            uses, by name.

    Returns:
        A `Schedule` or a shape, equal to the one that was saved.

    Raises:
        TypeError: an argument is missing, unknown or of the wrong type.
        ValueError: a type or a function is unknown, an argument is out of range, or
            schedules are nested more than 60 deep.

    Example:
        >>> import optax_warmup as ow
        >>> ow.from_config({"type": "constant", "value": 0.5})
        constant(0.5)
        >>> config = {"type": "warmup_constant", "peak_value": 0.5, "warmup_steps": 10}
        >>> ow.from_config(config) == ow.warmup_constant(0.5, 10)
        True
    """
    if not isinstance(config, Mapping) or "type" not in config:
        other = type(config).__name__
        kind = "" if isinstance(config, Mapping) else f", a {other}: convert it first"
        raise TypeError(
            f'from_config: config must be a dict with "type", got {config!r}{kind}.'
        )
    return _build(config, _named("from_config", functions))


def fingerprint(schedule: Value, functions: Functions | None = None) -> str:
    """Hashes a schedule or a shape: equal ones have the same fingerprint.

    It is the SHA-256 of the configuration, with sorted keys and floats rounded to
    float32; schedules that differ beyond that rounding have different fingerprints. It
    is the same in every process, on every machine and in every Python version, also
    for a schedule that a jitted function has returned.

    Args:
        schedule: as for `to_config`.
        functions: as for `to_config`; only a callable's name is hashed, not its code.

    Returns:
        64 hexadecimal digits.

    Raises:
        TypeError, ValueError: as `to_config`.

    Example:
        >>> import optax_warmup as ow
        >>> ow.fingerprint(ow.constant(1)) == ow.fingerprint(ow.constant(1.0))
        True
        >>> ow.fingerprint(ow.constant(1))[:8]
        '83f5db3e'
    """
    config = _floats(_to_config("fingerprint", schedule, functions))
    text = json.dumps(config, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _to_config(
    owner: str, schedule: Any, functions: Functions | None
) -> dict[str, Any]:
    if not isinstance(schedule, Value):
        raise TypeError(
            f"{owner}: schedule must be a schedule or a shape of this library, got "
            f"{schedule!r}."
        )
    names = {id(function): name for name, function in _named(owner, functions).items()}
    config: dict[str, Any] = _plain(schedule, names)
    return config


def _named(owner: str, functions: Functions | None) -> Functions:
    if functions is None:
        return {}
    _check.mapping(owner, "functions", functions, "a dict of functions by name")
    for name, function in functions.items():
        if not isinstance(name, str) or not callable(function):
            raise TypeError(
                f"{owner}: functions must be a dict of functions by name, got "
                f"{name!r}: {function!r}."
            )
    return functions


def _plain(x: Any, names: dict[int, str]) -> Any:
    if _check.is_traced(x):
        raise TypeError(
            "to_config: schedule holds a traced number, which has no value to save; "
            "call to_config outside of jit and vmap."
        )
    if isinstance(x, Static):
        return {"type": "function", "name": names.get(id(x.function)) or _own_name(x)}
    if isinstance(x, Value):
        holder = _held_function(x)
        if holder is not None:
            return _plain(holder, names)
        if not _is_own(type(x)) and public_name(type(x)) in vocabulary():
            raise ValueError(
                f"to_config: a class of yours is called {type(x).__name__}, as one of "
                "this library's is; rename it, or from_config would build that one."
            )
        fields = {name: _plain(getattr(x, name), names) for name in kinds_of(type(x))}
        return {"type": public_name(type(x)), **fields}
    if isinstance(x, tuple | list):
        return [_plain(item, names) for item in x]
    if isinstance(x, np.ndarray | np.generic | jax.Array):
        values = np.asarray(x).tolist()
        # A jitted function returns numbers as zero-dimensional arrays.
        return _plain(values, names) if np.ndim(x) == 0 else _array(values)
    if isinstance(x, float) and not math.isfinite(x):
        return {"type": "float", "value": repr(x)}  # JSON has no infinity
    if x is None or isinstance(x, int | float | str):
        return x
    raise TypeError(f"to_config: cannot save {x!r}: it is not a number or a value.")


def _array(values: list[Any]) -> dict[str, Any]:
    return {"type": "array", "values": values}


def _build(x: Any, functions: Functions, depth: int = 0) -> Any:
    if depth > _DEEPEST:
        raise ValueError(
            f"from_config: config must not be nested more than {_DEEPEST} deep."
        )
    if isinstance(x, list | tuple):
        return tuple(_build(item, functions, depth + 1) for item in x)
    if not isinstance(x, Mapping):
        return x
    fields = dict(x)
    kind = fields.pop("type", None)
    if kind == "array":
        return _numbers(_only(kind, fields, "values"))
    if kind == "float":
        return _not_finite(_only(kind, fields, "value"))
    if kind == "function":
        name = _only(kind, fields, "name")
        return _look_up(name, functions, kind, "pass it as functions={its name: it}")
    # A user's own class is built only if the caller passes it.
    known = vocabulary() | {
        name: given
        for name, given in functions.items()
        if isinstance(given, type) and issubclass(given, Value)
    }
    build = _look_up(kind, known, "type", f"the types are {', '.join(sorted(known))}")
    if isinstance(build, Value):  # a shape, which has no arguments
        if fields:
            raise TypeError(f"from_config: {kind} takes no arguments, got {fields!r}.")
        return build
    built = {
        name: _build(field, functions, depth + 1) for name, field in fields.items()
    }
    return _call(f"from_config: {kind}", build, built)


def _call(owner: str, build: Callable[..., Any], given: dict[str, Any]) -> Any:
    parameters = {
        name: parameter
        for name, parameter in inspect.signature(build).parameters.items()
        if parameter.kind is not parameter.VAR_POSITIONAL  # it has a name beside it
    }
    require_known(owner, map(str, given), tuple(parameters))
    for name, parameter in parameters.items():
        if parameter.default is parameter.empty and name not in given:
            raise TypeError(
                f"{owner}: the argument {name!r} is missing; the arguments are "
                f"{', '.join(parameters)}."
            )
    return build(**given)


def _numbers(values: Any) -> np.ndarray:
    try:
        array = np.asarray(values)
    except ValueError:  # lists of different lengths
        array = np.asarray(None)
    if not _check.is_real(array.dtype):
        raise TypeError(
            f"from_config: the values of an array must be numbers, got {values!r}."
        )
    return array


def _not_finite(text: Any) -> float:
    if text not in ("inf", "-inf", "nan"):
        raise ValueError(
            f"from_config: the value of a float must be 'inf', '-inf' or 'nan', got "
            f"{text!r}; write finite numbers as they are."
        )
    return float(text)


def _only(kind: str, fields: dict[str, Any], name: str) -> Any:
    if set(fields) != {name}:
        raise TypeError(
            f"from_config: {kind} must have {name!r} and no other key, got {fields!r}."
        )
    return fields[name]


def _look_up(name: Any, table: Mapping[str, Any], kind: str, way_out: str) -> Any:
    if not isinstance(name, str) or name not in table:
        close = nearest(str(name), table)
        way_out = f"did you mean {close!r}? {way_out}" if close else way_out
        raise ValueError(f"from_config: unknown {kind} {name!r} ({way_out}).")
    return table[name]


def _is_own(cls: type[Value]) -> bool:
    """Whether the class is the library's, not a user's."""
    package = __name__.split(".")[0]
    module = sys.modules.get(cls.__module__)
    in_module = getattr(module, cls.__name__, None) is cls
    return in_module and cls.__module__.split(".")[0] == package


def _held_function(x: Value) -> Static | None:
    """The user's callable, if the value only wraps one."""
    held = getattr(x, "function", None)
    return held if type(x).__name__ == "_function" else None


def _own_name(held: Static) -> str:
    name = repr(held)
    if not name.isidentifier():
        raise ValueError(
            f"to_config: {held.function!r} has no name of its own to be saved under; "
            "pass functions={'a_name': it}, here and to from_config."
        )
    return name


def _floats(x: Any) -> Any:
    if isinstance(x, dict):
        return {key: _floats(item) for key, item in x.items()}
    if isinstance(x, list):
        return [_floats(item) for item in x]
    if isinstance(x, bool) or not isinstance(x, int | float):
        return x
    # Equal schedules must hash alike, and their numbers may be equal in float32 only.
    return float(np.float32(x)) if isinstance(x, float) else float(x)
