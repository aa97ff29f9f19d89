"""Values: frozen dataclasses whose numbers are the leaves of a pytree.

Shapes and schedules are values. Their `repr` is the code that rebuilds them, they
compare by content, they pickle, and they can be arguments of a jitted function, which
is not compiled again for other numbers.
"""

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from typing import Any, ClassVar, Self, TypeAlias, TypeVar, cast, dataclass_transform

import jax
import numpy as np

from optax_warmup import _check
from optax_warmup.values._checked import require_known
from optax_warmup.values._kinds import Change, Kind, kinds_of

Flat: TypeAlias = tuple[Iterable[Any], tuple[Any, ...]]


# The constructors that dataclasses have written: their arguments are the fields.
_generated: set[Any] = set()


@dataclass_transform(frozen_default=True)
class Value:
    """Base class of schedules and shapes: a frozen dataclass with checked fields.

    A subclass needs no decorator. It is a pytree: numbers, schedules and shapes are its
    children, flags are structure. Annotate each field with what it holds (see
    `optax_warmup.values`); it is checked when the value is built.

    Example:
        >>> import jax, optax_warmup as ow
        >>> class Interval(ow.values.Value):
        ...     low: ow.values.Rate
        ...     high: ow.values.Rate = 1.0
        >>> Interval(0)
        Interval(0.0)
        >>> jax.tree.leaves(Interval(0, 2))
        [0.0, 2.0]
        >>> Interval(-1)
        Traceback (most recent call last):
            ...
        ValueError: Interval: low must be a finite number >= 0, got -1 (a schedule's \
values are >= 0; optax flips the sign when it descends).
    """

    _namespace = ""  # where the public name lives, for repr and messages
    # The kind of a field that is annotated with the class itself.
    _kind: ClassVar[Kind | None] = None

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        if kwargs and cls.__init__ in _generated:
            known = kinds_of(cls)
            if not kwargs.keys() <= known.keys():
                require_known(public_name(cls), kwargs, tuple(known))
        return super().__new__(cls)

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        own = "__init__" in cls.__dict__
        dataclasses.dataclass(frozen=True, repr=False, eq=False)(cls)
        if not own:
            _generated.add(cls.__init__)
        _register(cls)

    def __post_init__(self) -> None:
        owner = public_name(type(self))
        for name, kind in kinds_of(type(self)).items():
            given = getattr(self, name)
            held = kind.check(owner, name, given)
            if held is not given:
                object.__setattr__(self, name, held)
        self.__check_init__()

    def __check_init__(self) -> None:
        """Checks the fields against each other, once each is valid; override it."""

    def _set(self, **fields: Any) -> None:
        """Sets fields while the value is being built."""
        for name, field in fields.items():
            object.__setattr__(self, name, field)

    def _replaced(self, **fields: Any) -> Self:
        """Returns a copy with other fields, unchecked: they may be traced numbers."""
        result = object.__new__(type(self))
        own = {name: getattr(self, name) for name in kinds_of(type(self))}
        result._set(**own | fields)
        return result

    def _stretched(self, length: Change, time: Change) -> Self:
        """Returns a copy with its lengths and times changed."""
        return self._replaced(
            **{
                name: kind.stretch(getattr(self, name), length, time)
                for name, kind in kinds_of(type(self)).items()
            }
        )

    def _arguments(self) -> Iterator[tuple[str | None, Any]]:
        """The (name, value) arguments that rebuild it; name is None if positional."""
        for index, field in enumerate(_fields(type(self))):
            argument = getattr(self, field.name)
            if index == 0 and not field.kw_only:
                yield None, argument
            elif not same(argument, field.default):
                yield field.name, argument

    def __repr__(self) -> str:
        arguments = (
            repr(argument) if name is None else f"{name}={argument!r}"
            for name, argument in self._arguments()
        )
        return f"{public_name(type(self))}({', '.join(arguments)})"

    def __eq__(self, other: object) -> bool:
        if type(self) is not type(other):
            return NotImplemented
        structures: tuple[Any, Any]
        leaves, structures = zip(*map(jax.tree.flatten, (self, other)), strict=True)
        return structures[0] == structures[1] and all(map(same, *leaves))

    def __hash__(self) -> int:
        """Raises TypeError if a number is traced."""
        leaves, structure = jax.tree.flatten(self)
        return hash((structure, tuple(map(_hashable, leaves))))


_Class = TypeVar("_Class", bound=type[Value])


def public_name(cls: type[Value]) -> str:
    """The public name of the class, or of its only instance."""
    return f"{cls._namespace}{cls.__name__.lstrip('_')}"


def _fields(cls: type[Value]) -> tuple[dataclasses.Field[Any], ...]:
    return dataclasses.fields(cast(Any, cls))


def _register(cls: type[Value]) -> None:
    """Registers the class as a pytree.

    `jax.tree_util.register_dataclass` would call the constructor to unflatten, and run
    the checks on whatever JAX puts in the place of a leaf. This does not.
    """

    def split() -> tuple[list[str], list[str]]:
        kinds: dict[str, Kind] = kinds_of(cls)
        children = [name for name, kind in kinds.items() if not kind.static]
        return children, [name for name, kind in kinds.items() if kind.static]

    def flatten_with_keys(self: Value) -> Flat:
        children, static = split()
        keyed = (
            (jax.tree_util.GetAttrKey(name), getattr(self, name)) for name in children
        )
        return keyed, tuple(getattr(self, name) for name in static)

    def flatten(self: Value) -> Flat:
        children, static = split()
        return (
            tuple(getattr(self, name) for name in children),
            tuple(getattr(self, name) for name in static),
        )

    def unflatten(structure: tuple[Any, ...], leaves: Iterable[Any]) -> Value:
        children, static = split()
        self = object.__new__(cls)
        self._set(**dict(zip(children, leaves, strict=True)))
        self._set(**dict(zip(static, structure, strict=True)))
        return self

    jax.tree_util.register_pytree_with_keys(cls, flatten_with_keys, unflatten, flatten)


def same(x: Any, y: Any) -> bool:
    """Whether two fields are equal.

    Arrays compare by their numbers, in their own precision: so 1e-3 equals what a
    jitted function returns for 1e-3. A traced number equals only itself.
    """
    if x is y:
        return True
    if y is dataclasses.MISSING:
        return False  # the field has no default
    if _check.is_traced(x) or _check.is_traced(y):
        return False
    arrays = [z for z in (x, y) if isinstance(z, np.ndarray | np.generic | jax.Array)]
    if not arrays:
        return bool(x == y)
    x, y = np.asarray(x), np.asarray(y)
    if jax.dtypes.float0 in (x.dtype, y.dtype):
        return False  # a gradient with respect to a length has no numbers to compare
    floats = [z.dtype for z in arrays if np.issubdtype(z.dtype, np.floating)]
    if floats:
        narrow = min(floats, key=lambda dtype: dtype.itemsize)
        x, y = x.astype(narrow), y.astype(narrow)
    return np.array_equal(x, y)


def _hashable(x: Any) -> Any:
    """Rounds a float to float32, in which equal numbers agree."""
    if isinstance(x, np.ndarray | np.generic | jax.Array) and not _check.is_traced(x):
        if np.ndim(x):
            rounded = np.asarray(x).astype(np.float32) + 0.0  # -0.0 is equal to 0.0
            return rounded.shape, rounded.tobytes()
        x = np.asarray(x).item()
    return float(np.float32(x)) if isinstance(x, float) else x


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True, repr=False)
class Static:
    """A user's callable, kept as pytree structure: it has no numbers to trace."""

    function: Callable[..., Any]

    def __repr__(self) -> str:
        name = getattr(self.function, "__qualname__", None)
        if name is None or "<" in name:
            return repr(self.function)
        return str(name)
