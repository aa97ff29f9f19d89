"""The rules of the house: one door, one direction, small rooms, documented names."""

import ast
import inspect
import operator
import re
import subprocess
import sys
import typing
from pathlib import Path

import pytest

import optax_warmup as ow

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "optax_warmup"

# A module may import from its own floor and from those above it in this list:
# step -> schedule -> transform -> state -> record -> report.
FLOORS = (
    "_check",
    "_elsewhere",
    "values",
    "_numerics",
    "_files",
    "_drawing",
    "_sample",
    "_gate",
    "shapes",
    "_schedules",
    "_presets",
    "factors",
    "compat",
    "_vocabulary",
    "_config",
    "_state",
    "_transforms",
    "averages",
    "_record",
    "guards",
    "groups",
    "states",
    "_adopt",
    "runs",
    "curvature",
    "diagnostics",
    "_inspect",
    "_precompile",
    "sweeps",
    "finder",
    "loss_laws",
    "_watch",
    "_arguments",
    "_command",
    "__main__",
)
# The namespaces that users see, by their dotted names.
NAMESPACES = (
    "",
    "averages",
    "compat.optax",
    "compat.transformers",
    "curvature",
    "diagnostics",
    "factors",
    "finder",
    "groups",
    "guards",
    "loss_laws",
    "runs",
    "shapes",
    "states",
    "sweeps",
    "values",
)
RUNTIME = {"jax", "optax", "numpy"}
# Only inside functions: matplotlib to draw, scipy to fit a loss law, optuna to search,
# rich to redraw a terminal.
LAZY = {"matplotlib", "optuna", "rich", "scipy"}


def modules():
    return sorted(PACKAGE.rglob("*.py"))


def imports(path, *, lazy):
    """The modules that a file imports: inside functions (lazy) or when it is loaded.

    What only a type checker imports counts as lazy.
    """
    tree = ast.parse(path.read_text())
    inside = {
        node
        for block in ast.walk(tree)
        if isinstance(block, ast.FunctionDef)
        or (isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING")
        for node in ast.walk(block)
    }
    for node in ast.walk(tree):
        if (node in inside) is not lazy:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def floor(name):
    """The index of the floor that a module of the package lies on."""
    return FLOORS.index(name.split(".")[1])


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_go_one_way(path):
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    if path == PACKAGE / "__init__.py":
        return  # the door opens on every floor
    if path.stem == "_command":
        return  # the command comes in through the door
    for lazy in (False, True):
        for imported in imports(path, lazy=lazy):
            if not imported.startswith("optax_warmup"):
                continue
            if imported.count(".") == 1 and imported.split(".")[1] not in FLOORS:
                pytest.fail(f"{name} imports from the door: {imported}")
            assert floor(imported) <= floor(name), f"{name} imports {imported}"


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_the_package_needs_little(path):
    allowed = RUNTIME | set(sys.stdlib_module_names) | {"optax_warmup"}
    for name in imports(path, lazy=False):
        assert name.split(".")[0] in allowed, f"{path} imports {name}"
        assert "._src" not in name
    for name in imports(path, lazy=True):
        assert name.split(".")[0] in allowed | LAZY, f"{path} imports {name}"


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_rooms_are_small(path):
    assert len(path.read_text().splitlines()) <= 350, (
        "split it: two concepts, two rooms"
    )


def test_import_loads_neither_flax_nor_matplotlib():
    code = "import sys, optax_warmup; print(*sorted(sys.modules))"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert "optax_warmup.diagnostics._history" in loaded
    roots = {name.split(".")[0] for name in loaded}
    unwanted = {"flax", "matplotlib", "optuna", "pandas", "rich", "orbax", "chex"}
    assert not roots & unwanted


def public_names():
    """Every public name and its address, in the package and in its namespaces."""
    for namespace in NAMESPACES:
        room = operator.attrgetter(namespace)(ow) if namespace else ow
        prefix = f"{namespace}." if namespace else ""
        for name, thing in sorted(vars(room).items()):
            if not name.startswith("_") and not inspect.ismodule(thing):
                yield f"optax_warmup.{prefix}{name}", thing


def test_each_name_has_one_address():
    things = [id(thing) for _, thing in public_names()]
    assert len(things) == len(set(things)), "a name has two addresses"


def test_the_namespaces_are_those_that_are_said():
    """A module is public where its name is, and explains what is in it."""
    for path in PACKAGE.rglob("*.py"):
        name = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
        name = name.removesuffix("__init__").removesuffix(".")
        if any(part.startswith("_") for part in name.split(".")):
            continue
        assert name in (*NAMESPACES, "compat"), f"{name} is a namespace nobody knows"
        assert ast.get_docstring(ast.parse(path.read_text())), f"{name} says nothing"


def test_signatures_are_as_short_as_they_are_written():
    """Not the unions of classes that the names in them stand for."""
    for address, thing in public_names():
        if not callable(thing):
            continue
        try:
            signature = str(inspect.signature(thing))
        except (TypeError, ValueError):
            continue
        assert not re.search(r"jaxlib|optax_warmup\._", signature), address


def test_the_door_is_not_crowded():
    names = [
        name
        for name, thing in vars(ow).items()
        if not (name.startswith("_") or inspect.ismodule(thing))
    ]
    assert len(names) <= 80, "does it stand in a training script? else: a namespace"
    assert ow.__version__


@pytest.mark.parametrize(("address", "thing"), list(public_names()))
def test_every_public_name_is_documented(address, thing):
    if typing.get_origin(thing) is not None or hasattr(thing, "__metadata__"):
        return  # a kind of field, explained in its namespace
    doc = inspect.getdoc(thing)
    assert doc, f"{address} has no docstring"
    assert re.match(r"[A-Z].*\.$", doc.splitlines()[0]), "one line of purpose first"
    assert "Example:\n    >>> " in doc, f"{address} has no doctest"
    is_type = typing.is_typeddict(thing) or hasattr(thing, "_fields")
    if not is_type and inspect.isfunction(thing):
        assert "Returns:" in doc, f"{address} does not say what it returns"
        if inspect.signature(thing).parameters:
            assert "Args:" in doc, f"{address} does not describe its arguments"


def test_examples_and_benchmarks_enter_through_the_door():
    for folder in ("examples", "benchmarks"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            for lazy in (False, True):
                for name in imports(path, lazy=lazy):
                    assert not name.startswith("optax_warmup._"), f"{path}: {name}"
                    assert "._src" not in name, f"{path}: {name}"


def blocks(page):
    """The Python of a page, each block on its line, so that a traceback shows it."""
    text = page.read_text()
    for match in re.finditer(r"^```python\n(.*?)^```", text, re.M | re.S):
        line = text[: match.start()].count("\n") + 1
        yield compile("\n" * line + match.group(1), str(page), "exec")


PAGES = [
    page
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
    if any(blocks(page))
]


@pytest.mark.train
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_in_the_pages_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # where the page writes what it writes
    scope = {"__name__": page.stem}
    for block in blocks(page):
        exec(block, scope)


def test_there_is_python_in_the_pages():
    assert {"README.md", "training.md"} <= {page.name for page in PAGES}
