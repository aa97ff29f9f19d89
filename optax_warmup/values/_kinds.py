"""Kinds of fields: how a field is checked, and how `stretch` changes it.

A field's annotation, such as `steps: Length`, gives its kind. The kind decides how the
field is treated: the constructor checks it, `stretch` multiplies it if it is a length,
and a jitted function takes it as an argument or, if it is a flag, as structure.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Callable
from typing import Annotated, Any, TypeAlias

from jax.typing import ArrayLike

from optax_warmup import _check

Change: TypeAlias = Callable[[Any], Any]


class Kind:
    """Base class of kinds: what a field or an argument holds.

    Example:
        >>> from optax_warmup import values
        >>> issubclass(values.Number, values.Kind)
        True
    """

    static = False  # whether it is pytree structure rather than a leaf

    def check(self, owner: str, name: str, x: Any) -> Any:
        """Returns `x` as the field stores it; raises if it is not of this kind."""
        raise TypeError(
            f"{owner}: {name} cannot be checked, as {type(self).__name__} has no check."
        )

    def stretch(self, x: Any, length: Change, time: Change) -> Any:
        """Returns `x` with `length` or `time` applied, if it is a length or a time."""
        return x


@dataclasses.dataclass(frozen=True)
class Number(Kind):
    """A finite number within bounds.

    Use it in an annotation: `Annotated[ArrayLike, values.Number(minimum=0)]`.

    Args:
        minimum: the lower bound, inclusive.
        maximum: the upper bound, inclusive.
        above: the lower bound, exclusive.
        below: the upper bound, exclusive.
        hint: a few words that are added to the error message.

    Example:
        >>> from optax_warmup import values
        >>> values.Number(above=0).check("mine", "power", 0.5)
        0.5
    """

    minimum: float = -_check.INFINITY
    maximum: float = _check.INFINITY
    above: float = -_check.INFINITY
    below: float = _check.INFINITY
    hint: str = ""

    def check(self, owner: str, name: str, x: Any) -> Any:
        if (
            type(x) is float
            and self.minimum < x < self.maximum
            and self.above < x < self.below
            and -_check.LARGEST < x < _check.LARGEST
        ):
            return x  # fast path: a schedule is built in a few microseconds
        return _check.number(
            owner,
            name,
            x,
            minimum=self.minimum,
            maximum=self.maximum,
            above=self.above,
            below=self.below,
            hint=self.hint,
        )


class _Time(Number):
    """A time in steps, not necessarily whole; `stretch` multiplies it."""

    def stretch(self, x: Any, length: Change, time: Change) -> Any:
        return time(x)


@dataclasses.dataclass(frozen=True)
class WholeNumber(Kind):
    """A whole number up to 2**31 - 1 that is not a length, such as a count or a seed.

    Args:
        minimum: the lower bound, inclusive.
        hint: a few words that are added to the error message.

    Example:
        >>> from optax_warmup import values
        >>> values.WholeNumber(minimum=1).check("mine", "period", 3.0)
        3
    """

    minimum: int = 0
    hint: str = ""

    def check(self, owner: str, name: str, x: Any) -> Any:
        if type(x) is int and self.minimum <= x <= _check.MAX_STEP:
            return x  # fast path
        return _check.length(owner, name, x, minimum=self.minimum, hint=self.hint)


class Steps(WholeNumber):
    """A number of steps, or a step; `stretch` multiplies it."""

    def stretch(self, x: Any, length: Change, time: Change) -> Any:
        stretched = length(x)
        if isinstance(stretched, int) and stretched < self.minimum:
            raise ValueError(
                f"stretch: a length of {x} updates cannot become {stretched}; it must "
                f"stay >= {self.minimum}. Stretch by a larger factor."
            )
        return stretched


class _Flag(Kind):
    static = True

    def check(self, owner: str, name: str, x: Any) -> Any:
        return _check.flag(owner, name, x)


@dataclasses.dataclass(frozen=True)
class OrNone(Kind):
    """Another kind, or None."""

    kind: Kind

    def check(self, owner: str, name: str, x: Any) -> Any:
        return None if x is None else self.kind.check(owner, name, x)

    def stretch(self, x: Any, length: Change, time: Change) -> Any:
        return None if x is None else self.kind.stretch(x, length, time)


@dataclasses.dataclass(frozen=True)
class Each(Kind):
    """A sequence of items of another kind."""

    kind: Any  # an annotation

    def check(self, owner: str, name: str, x: Any) -> Any:
        kind = kind_of(self.kind)
        return tuple(
            kind.check(owner, f"{name}[{index}]", item) for index, item in enumerate(x)
        )

    def stretch(self, x: Any, length: Change, time: Change) -> Any:
        kind = kind_of(self.kind)
        return tuple(kind.stretch(item, length, time) for item in x)


@dataclasses.dataclass(frozen=True)
class Rows(Kind):
    """A non-empty list of tuples such as (steps, value).

    Args:
        columns: the name and the annotation of each item of a tuple.
        defaults: for the last items, which may then be left out.
    """

    columns: tuple[tuple[str, Any], ...]
    defaults: tuple[Any, ...] = ()

    def check(self, owner: str, name: str, x: Any) -> Any:
        if not isinstance(x, list | tuple) or not x:
            raise self._refusal(owner, name, name, x)
        fewest = len(self.columns) - len(self.defaults)
        rows = []
        for index, row in enumerate(x):
            place = f"{name}[{index}]"
            if not isinstance(row, list | tuple) or not (
                fewest <= len(row) <= len(self.columns)
            ):
                raise self._refusal(owner, name, place, row)
            full = (*row, *self.defaults[len(row) - fewest :])
            rows.append(
                tuple(
                    kind_of(annotation).check(owner, f"{place} {column}", item)
                    for (column, annotation), item in zip(
                        self.columns, full, strict=True
                    )
                )
            )
        return tuple(rows)

    def stretch(self, x: Any, length: Change, time: Change) -> Any:
        kinds = [kind_of(annotation) for _, annotation in self.columns]
        return tuple(
            tuple(
                kind.stretch(item, length, time)
                for kind, item in zip(kinds, row, strict=True)
            )
            for row in x
        )

    def _refusal(self, owner: str, name: str, place: str, got: Any) -> Exception:
        names = [column for column, _ in self.columns]
        wanted = [f"({', '.join(names)})"]
        if self.defaults:
            wanted.insert(0, f"({', '.join(names[: -len(self.defaults)])})")
        listed = isinstance(got, list | tuple)
        kind = "" if listed else f" (a {type(got).__name__})"
        error = ValueError if listed else TypeError
        return error(
            f"{owner}: {name} must be a list of {' or '.join(wanted)}, with at least "
            f"one entry; {place} is {got!r}{kind}."
        )


Rate: TypeAlias = Annotated[
    ArrayLike,
    Number(
        minimum=0.0,
        hint="a schedule's values are >= 0; optax flips the sign when it descends",
    ),
]
PositiveRate: TypeAlias = Annotated[ArrayLike, Number(above=0)]
Length: TypeAlias = Annotated[ArrayLike, Steps()]
PositiveLength: TypeAlias = Annotated[ArrayLike, Steps(minimum=1)]
Timescale: TypeAlias = Annotated[ArrayLike, _Time(above=0)]
Count: TypeAlias = Annotated[ArrayLike, WholeNumber(minimum=1)]
Seed: TypeAlias = Annotated[ArrayLike, WholeNumber()]
Flag: TypeAlias = Annotated[bool, _Flag()]


def kind_of(annotation: Any) -> Kind:
    """The kind of an annotation such as `Length` or `Rate | None`."""
    kind = find_kind(annotation)
    if kind is None:
        raise TypeError(
            f"the annotation {annotation!r} does not say what the field holds. Use one "
            "of optax_warmup.values (Rate, Length, ...), ScheduleLike, "
            "shapes.ShapeLike, or Annotated[ArrayLike, values.Number(...)]."
        )
    return kind


def find_kind(annotation: Any) -> Kind | None:
    if annotation is bool:
        return _Flag()
    if isinstance(annotation, type):
        own: Kind | None = vars(annotation).get("_kind")
        return own
    for extra in getattr(annotation, "__metadata__", ()):
        if isinstance(extra, Kind):
            return extra
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        kinds = map(find_kind, typing.get_args(annotation))
        found = next((kind for kind in kinds if kind is not None), None)
        return None if found is None else OrNone(found)
    return None


def kinds_of(cls: type[Any]) -> dict[str, Kind]:
    """The kind of each field of a value class, in order."""
    kinds: dict[str, Kind] | None = cls.__dict__.get("_kinds")
    if kinds is None:
        kinds = _read_kinds(cls)
        cls._kinds = kinds
    return kinds


def _read_kinds(cls: type[Any]) -> dict[str, Kind]:
    try:
        annotations = typing.get_type_hints(cls, include_extras=True)
    except NameError as error:
        raise TypeError(
            f"{cls.__name__}: an annotation uses a name that its module does not "
            f"define: {error}. Import it at the top of the module."
        ) from error
    kinds = {}
    for field in dataclasses.fields(cls):
        try:
            kinds[field.name] = kind_of(annotations[field.name])
        except TypeError as error:
            raise TypeError(f"{cls.__name__}.{field.name}: {error}") from None
    return kinds
