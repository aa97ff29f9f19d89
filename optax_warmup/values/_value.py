"""What a value is: a frozen dataclass whose numbers are the leaves of a pytree.

Shapes and schedules are values. So their `repr` is the code that rebuilds them, two
equal ones compare equal, they pickle, and they can be arguments of a jitted function:
other numbers compile nothing.
"""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any, TypeVar, cast, dataclass_transform

import jax
import numpy as np

from optax_warmup import _check

_Class = TypeVar("_Class", bound="type[Value]")


class Value:
    """The base of every value; subclasses are decorated with `value`."""

    _namespace = ""  # where the public name lives, for repr

    def _set(self, **fields: Any) -> None:
        """Replaces fields while the value is being built, by their checked form."""
        for name, field in fields.items():
            object.__setattr__(self, name, field)

    def _arguments(self) -> Iterator[tuple[str | None, Any]]:
        """The (name, value) pairs that rebuild it; None stands for positional."""
        for index, field in enumerate(dataclasses.fields(cast(Any, self))):
            argument = getattr(self, field.name)
            if index == 0:
                yield None, argument
            elif not same(argument, field.default):
                yield field.name, argument

    def __repr__(self) -> str:
        arguments = (
            repr(argument) if name is None else f"{name}={argument!r}"
            for name, argument in self._arguments()
        )
        return f"{self._namespace}{type(self).__name__}({', '.join(arguments)})"

    def __eq__(self, other: object) -> bool:
        if type(self) is not type(other):
            return NotImplemented
        structures: tuple[Any, Any]
        leaves, structures = zip(*map(jax.tree.flatten, (self, other)), strict=True)
        return structures[0] == structures[1] and all(map(same, *leaves))

    def __hash__(self) -> int:
        """Raises TypeError where a number is an array."""
        leaves, structure = jax.tree.flatten(self)
        return hash((structure, tuple(leaves)))


def same(x: Any, y: Any) -> bool:
    """Whether two fields are equal; arrays by their numbers, tracers by identity."""
    if x is y:
        return True
    if _check.is_traced(x) or _check.is_traced(y):
        return False
    if isinstance(x, np.ndarray | jax.Array) or isinstance(y, np.ndarray | jax.Array):
        x, y = np.asarray(x), np.asarray(y)
        # A gradient with respect to a length has no numbers to compare.
        return jax.dtypes.float0 not in (x.dtype, y.dtype) and np.array_equal(x, y)
    return bool(x == y)


@dataclass_transform(frozen_default=True)
def value(cls: _Class) -> _Class:
    """Makes a subclass of `Value` a frozen dataclass and a pytree of its fields.

    `jax.tree_util.register_dataclass` calls the constructor to unflatten, and would so
    run the checks on whatever JAX puts in a leaf's place; this one does not.
    """
    dataclasses.dataclass(frozen=True, repr=False, eq=False)(cls)
    fields = dataclasses.fields(cast(Any, cls))
    static = tuple(field.name for field in fields if field.type is bool)
    names = tuple(field.name for field in fields if field.name not in static)
    keys = tuple(jax.tree_util.GetAttrKey(name) for name in names)

    def flatten(self: Value) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        return (
            tuple(getattr(self, name) for name in names),
            tuple(getattr(self, name) for name in static),
        )

    def flatten_with_keys(self: Value) -> tuple[Any, tuple[Any, ...]]:
        leaves, flags = flatten(self)
        return zip(keys, leaves, strict=True), flags

    def unflatten(flags: tuple[Any, ...], leaves: Any) -> Value:
        self = object.__new__(cls)
        self._set(**dict(zip(names, leaves, strict=True)))
        self._set(**dict(zip(static, flags, strict=True)))
        return self

    jax.tree_util.register_pytree_with_keys(cls, flatten_with_keys, unflatten, flatten)
    return cls


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True, repr=False)
class Static:
    """A callable of the user's, kept as structure: it has no numbers to trace."""

    function: Callable[..., Any]

    def __repr__(self) -> str:
        name = getattr(self.function, "__qualname__", None)
        if name is None or "<" in name:
            return repr(self.function)
        return name
