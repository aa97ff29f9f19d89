"""Mutants of a source file: each is the file with one small mistake in it.

    a < b           a <= b, a >= b          a + b, a * b      a - b, a / b
    a and b         a or b                  not a, -a         a
    3, 0.5, True    2 and 4, 1.0, False     min, floor, any   max, ceil, all
    raise error     pass                    check(a)          pass
    a if c else b   b if c else b           return a          return b, of a branch

Annotations, decorators and texts are left as they are; numbers in f-strings are not.
"""

import ast
import dataclasses
import hashlib
from collections.abc import Iterator
from typing import Any

COMPARISONS: dict[type, tuple[type, ...]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
OPERATORS: dict[type, type] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.And: ast.Or,
    ast.Or: ast.And,
}
NAMES = {"min": "max", "minimum": "maximum", "argmin": "argmax"}
NAMES |= {"floor": "ceil", "any": "all"}
NAMES |= {other: name for name, other in NAMES.items()}
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


@dataclasses.dataclass(frozen=True)
class Mutant:
    """A mistake in a file.

    Attributes:
        path: the file, from the root of the repository.
        function: the qualified name of the function around it, "" at the top.
        line: where it is.
        before, after: the code that is changed, in short.
        text: the whole file with the mistake.
        name: the same as long as the function has the same code at this place.
    """

    path: str
    function: str
    line: int
    before: str
    after: str
    text: str = dataclasses.field(repr=False)
    name: str


def mutants(path: str, source: str) -> Iterator[Mutant]:
    """The mutants of a file that compile, in the order of its lines."""
    tree = ast.parse(source)
    seen: dict[str, int] = {}
    lines = source.splitlines()
    for place in _places(tree):
        for new in _changes(place):
            text = _replaced(source, place, new)
            before, after = _short(place.node), _short(new)
            if text is None or text == source:
                continue
            line = lines[place.node.lineno - 1].strip()
            what = f"{path}:{place.function}:{line}:{before}:{after}"
            seen[what] = seen.get(what, 0) + 1
            digest = hashlib.sha256(f"{what}:{seen[what]}".encode()).hexdigest()
            yield Mutant(
                path,
                place.function,
                place.node.lineno,
                before,
                after,
                text,
                digest[:16],
            )


@dataclasses.dataclass(frozen=True)
class _Place:
    """A node that may be changed, and what is around it."""

    node: Any
    holder: Any  # the list or the node that it is in
    key: Any  # at which index, or in which field
    anchor: Any  # what is written anew: the node, or the f-string that it is in
    function: str
    returns: tuple[Any, ...]  # the values that the function returns

    def put(self, new: Any) -> None:
        if isinstance(self.holder, list):
            self.holder[self.key] = new
        else:
            setattr(self.holder, self.key, new)


def _places(tree: ast.Module) -> Iterator[_Place]:
    def walk(
        node: Any, function: str, returns: tuple[Any, ...], text: Any
    ) -> Iterator[_Place]:
        for field, value in ast.iter_fields(node):
            if field in ("annotation", "returns", "decorator_list", "type_params"):
                continue
            many = isinstance(value, list)
            for index, child in enumerate(value if many else [value]):
                if not isinstance(child, ast.AST) or _is_left_alone(child):
                    continue
                inside = text or (child if isinstance(child, ast.JoinedStr) else None)
                if hasattr(child, "lineno"):
                    holder, key = (value, index) if many else (node, field)
                    anchor = inside or child
                    yield _Place(child, holder, key, anchor, function, returns)
                name, values = function, returns
                if isinstance(child, (*FUNCTIONS, ast.ClassDef)):
                    name = f"{function}.{child.name}".removeprefix(".")
                    values = tuple(_returned(child))
                yield from walk(child, name, values, inside)

    yield from walk(tree, "", (), None)


def _is_left_alone(node: Any) -> bool:
    if isinstance(node, ast.If):
        return ast.unparse(node.test) == "TYPE_CHECKING"
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _returned(node: Any) -> Iterator[Any]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Return) and child.value:
            yield child.value
        if not isinstance(child, (*FUNCTIONS, ast.ClassDef, ast.Lambda)):
            yield from _returned(child)


def _changes(place: _Place) -> Iterator[Any]:
    node = place.node
    match node:
        case ast.Compare(left, operators, right):
            for index, operator in enumerate(operators):
                for other in COMPARISONS[type(operator)]:
                    others = [*operators[:index], other(), *operators[index + 1 :]]
                    yield ast.Compare(left, others, right)
        case ast.BinOp(left, operator, right) if type(operator) in OPERATORS:
            yield ast.BinOp(left, OPERATORS[type(operator)](), right)
        case ast.AugAssign(target, operator, value) if type(operator) in OPERATORS:
            yield ast.AugAssign(target, OPERATORS[type(operator)](), value)
        case ast.BoolOp(operator, values):
            yield ast.BoolOp(OPERATORS[type(operator)](), values)
        case ast.UnaryOp(ast.Not() | ast.USub(), operand):
            yield operand
        case ast.Constant(bool(value)):
            yield ast.Constant(not value)
        case ast.Constant(int(value)):
            yield ast.Constant(value + 1)
            yield ast.Constant(value - 1)
        case ast.Constant(float(value)):
            yield ast.Constant(value * 2 if value else 1.0)
        case ast.Call(ast.Name(name), args, keywords) if name in NAMES:
            yield ast.Call(ast.Name(NAMES[name]), args, keywords)
        case ast.Call(ast.Attribute(value, name), args, keywords) if name in NAMES:
            yield ast.Call(ast.Attribute(value, NAMES[name]), args, keywords)
        case ast.Raise() | ast.Expr(ast.Call()):
            yield ast.Pass()
        case ast.IfExp(test, body, other):
            yield ast.IfExp(test, other, other)
            yield ast.IfExp(test, body, body)
        case ast.Return(ast.expr() as value) if value in place.returns:
            index = place.returns.index(value)
            for other in place.returns[index + 1 :] + place.returns[:index]:
                if ast.unparse(other) != ast.unparse(value):
                    yield ast.Return(other)
                    break


def _replaced(source: str, place: _Place, new: Any) -> str | None:
    """The source with the place written anew, or None if that does not compile."""
    place.put(new)
    try:
        text = ast.unparse(new if place.anchor is place.node else place.anchor)
    except ValueError:
        return None  # an f-string that cannot be written anew
    finally:
        place.put(place.node)
    if isinstance(place.anchor, ast.expr):
        text = f"({text})"
    raw = source.splitlines(keepends=True)
    encoded = [line.encode() for line in raw]
    begin = sum(map(len, encoded[: place.anchor.lineno - 1])) + place.anchor.col_offset
    end = sum(map(len, encoded[: place.anchor.end_lineno - 1]))
    end += place.anchor.end_col_offset
    whole = source.encode()
    mutated = (whole[:begin] + text.encode() + whole[end:]).decode()
    try:
        compile(mutated, place.function or "module", "exec")
    except (SyntaxError, ValueError):
        return None
    return mutated


def _short(node: Any) -> str:
    text = " ".join(ast.unparse(node).split())
    return text if len(text) <= 60 else f"{text[:57]}..."
