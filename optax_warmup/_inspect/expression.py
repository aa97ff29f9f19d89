"""A schedule from text, which is parsed and never evaluated as Python.

The caller hands in the vocabulary. Only calls of its functions, its shapes, literals
and arithmetic of numbers are allowed; everything else is an error.
"""

import ast
import inspect
import math
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from optax_warmup._elsewhere import nearest
from optax_warmup._schedules.schedule import Schedule
from optax_warmup.shapes._shape import Shape

# Schedules, shapes and functions that build them, by name: "wsd", "shapes.power".
Vocabulary: TypeAlias = Mapping[str, Any]

_PREFIXES = ("ow.", "optax_warmup.")  # of text pasted from a program
_LONGEST = 4000  # characters
_DEEPEST = 60  # levels of nested calls, lists and operators
_BITS = 128  # of an integer; no argument needs more than 31
_AROUND = 60  # characters shown on each side of a mistake in a long text
_TOTALS = ("total_steps", "num_training_steps")
_OPERATORS: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: lambda x, y: x + y,
    ast.Sub: lambda x, y: x - y,
    ast.Mult: lambda x, y: x * y,
    ast.Div: lambda x, y: x / y,
    ast.Pow: lambda x, y: _power(x, y),
}


class ExpressionError(ValueError):
    """Says what is wrong with a text, and where."""


@dataclass(frozen=True)
class Parsed:
    """A schedule, and the total number of updates if its text names one."""

    schedule: Schedule
    total_steps: int | None


def parse(text: str, vocabulary: Vocabulary) -> Parsed:
    """Builds the schedule of a text such as "warmup_cosine(3e-4, 2000, 100_000)"."""
    if len(text) > _LONGEST:
        raise ExpressionError(f"the text has more than {_LONGEST:,} characters.")
    reader = _Reader(text.strip(), vocabulary)
    schedule = reader.read()
    return Parsed(schedule, max(reader.totals, default=None))


class _Reader:
    """Builds the schedule of one text, and collects the totals its calls are given."""

    def __init__(self, text: str, vocabulary: Vocabulary) -> None:
        self.text = text
        self.vocabulary = vocabulary
        self.totals: list[int] = []

    def read(self) -> Schedule:
        try:
            with warnings.catch_warnings():
                # Of what is no error yet, such as 1if; the reader refuses it.
                warnings.simplefilter("ignore")
                tree = ast.parse(self.text, mode="eval").body
        except SyntaxError as error:
            place = max((error.offset or 1) - 1, 0) if error.lineno in (None, 1) else 0
            raise ExpressionError(self._at(place, 1, f"{error.msg}.")) from None
        except (ValueError, MemoryError, RecursionError) as error:
            raise ExpressionError(f"the text cannot be parsed: {error}.") from None
        schedule = self._build(tree, 0)
        if isinstance(schedule, int | float) and not isinstance(schedule, bool):
            raise self._error(tree, f"this is a number; write constant({schedule!r}).")
        if not isinstance(schedule, Schedule):
            raise self._error(
                tree, "this is not a schedule; call one, such as wsd(...)."
            )
        return schedule

    def _build(self, node: ast.expr, depth: int) -> Any:
        if depth > _DEEPEST:
            raise self._error(node, "this is nested too deeply.")
        match node:
            case ast.Constant(value=value):
                return self._constant(node, value)
            case ast.UnaryOp(op=ast.USub() | ast.UAdd(), operand=operand):
                value = self._number(operand, depth + 1)
                return -value if isinstance(node.op, ast.USub) else value
            case ast.BinOp(left=left, op=operator, right=right):
                return self._operate(node, operator, left, right, depth)
            case ast.List(elts=items) | ast.Tuple(elts=items):
                built = [self._build(item, depth + 1) for item in items]
                return built if isinstance(node, ast.List) else tuple(built)
            case ast.Call():
                return self._call(node, depth)
            case ast.Name() | ast.Attribute():
                named = self._named(node)
                if not isinstance(named, Shape):
                    name = ast.unparse(node)
                    raise self._error(node, f"give it arguments: {name}(...).")
                return named
        raise self._error(
            node, "only schedules, shapes, numbers and lists are allowed."
        )

    def _constant(self, node: ast.expr, value: Any) -> Any:
        if value is None or isinstance(value, bool | str):
            return value
        if not isinstance(value, int | float):
            raise self._error(
                node, f"a value of type {type(value).__name__} is not allowed."
            )
        return self._bounded(node, value)

    def _bounded(self, node: ast.expr, value: Any) -> Any:
        if isinstance(value, int) and value.bit_length() > _BITS:
            raise self._error(node, "this integer is too large.")
        if not isinstance(value, int) and not math.isfinite(value):
            raise self._error(node, "this number is not finite.")
        return value

    def _number(self, node: ast.expr, depth: int) -> Any:
        value = self._build(node, depth)
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise self._error(
                node, "only numbers can be calculated with; see multiply and delay."
            )
        return value

    def _operate(
        self,
        node: ast.expr,
        operator: ast.operator,
        left: ast.expr,
        right: ast.expr,
        depth: int,
    ) -> Any:
        operate = _OPERATORS.get(type(operator))
        if operate is None:
            raise self._error(node, "the only operators are + - * / **.")
        x, y = self._number(left, depth + 1), self._number(right, depth + 1)
        try:
            return self._bounded(node, operate(x, y))
        except (ArithmeticError, TypeError) as error:
            raise self._error(node, f"{error}.") from None

    def _named(self, node: ast.expr) -> Any:
        written = ast.unparse(node)
        prefix = next((p for p in _PREFIXES if written.startswith(p)), "")
        name = written.removeprefix(prefix)
        if name not in self.vocabulary:
            likely = _likely(name, prefix, list(self.vocabulary))
            raise self._error(node, f"there is no {written}.{likely}")
        return self.vocabulary[name]

    def _call(self, node: ast.Call, depth: int) -> Any:
        if not isinstance(node.func, ast.Name | ast.Attribute):
            raise self._error(node.func, "only schedules and shapes can be called.")
        function = self._named(node.func)
        for part in (*node.args, *node.keywords):
            if isinstance(part, ast.Starred) or getattr(part, "arg", "") is None:
                raise self._error(
                    node, "write out each argument; * and ** are not allowed."
                )
        arguments = [self._build(part, depth + 1) for part in node.args]
        names = [str(part.arg) for part in node.keywords]
        for name in names:
            if names.count(name) > 1:
                raise self._error(node, f"the argument {name} is given twice.")
        keywords = {
            str(part.arg): self._build(part.value, depth + 1) for part in node.keywords
        }
        try:
            bound = inspect.signature(function).bind(*arguments, **keywords).arguments
            built = function(*arguments, **keywords)
        except (TypeError, ValueError, ArithmeticError) as error:
            raise self._error(node, str(error)) from None
        self.totals += [
            int(bound[name])
            for name in _TOTALS
            if isinstance(bound.get(name), int | float)
        ]
        return built

    def _error(self, node: ast.expr, reason: str) -> ExpressionError:
        source = ast.get_source_segment(self.text, node) or ""
        # The columns that ast counts are bytes of UTF-8.
        line = self.text.splitlines()[node.lineno - 1].encode()
        start = len(line[: node.col_offset].decode()) if node.lineno == 1 else 0
        width = len(source) if node.end_lineno == 1 else 1
        return ExpressionError(self._at(start, width, reason))

    def _at(self, start: int, width: int, reason: str) -> str:
        first = (self.text.splitlines() or [""])[0]
        if len(first) > 2 * _AROUND:
            begin = max(start - _AROUND, 0)
            first, start = first[begin : begin + 2 * _AROUND], start - begin
        pointer = " " * start + "^" * max(min(width, len(first) - start), 1)
        return f"{reason}\n    {first}\n    {pointer}"


def _likely(name: str, prefix: str, known: list[str]) -> str:
    if close := nearest(name, known):
        return f" Did you mean {prefix}{close}?"
    return f" Known: {', '.join(sorted(known))}."


def _power(base: Any, exponent: Any) -> Any:
    """Computes a power, unless it is too large: 9**9**9 would fill the memory."""
    whole = isinstance(base, int) and isinstance(exponent, int)
    if whole and base.bit_length() * exponent > _BITS:
        raise OverflowError("this power is too large")
    try:
        result = base**exponent
    except OverflowError:
        raise OverflowError("this power is too large") from None
    if isinstance(result, complex):
        raise ArithmeticError("this power is not a real number")
    return result
