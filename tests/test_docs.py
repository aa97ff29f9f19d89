"""The sessions in the guides print what they say they print."""

import doctest
import importlib
import operator
import re
from pathlib import Path

import jax.numpy as jnp
import optax
import pytest

import optax_warmup as ow

DOCS = Path(__file__).parent.parent / "docs"
SESSION = re.compile(r"^```pycon\n(.*?)^```", re.M | re.S)


def sessions(text: str) -> str:
    """The text with all but its sessions made blank; lines keep their numbers."""
    kept, end = [], 0
    for match in SESSION.finditer(text):
        kept += ["\n" * text[end : match.start(1)].count("\n"), match.group(1)]
        end = match.end(1)
    return "".join(kept)


@pytest.mark.parametrize("page", sorted(DOCS.glob("*.md")), ids=lambda path: path.name)
def test_sessions_print_what_they_say(page):
    test = doctest.DocTestParser().get_doctest(
        sessions(page.read_text()), {}, page.name, str(page), 0
    )
    failures: list[str] = []
    doctest.DocTestRunner().run(test, out=failures.append)
    assert not failures, "".join(failures)


def test_the_guide_to_schedules_has_sessions():
    assert sessions((DOCS / "schedules.md").read_text()).count(">>> ") > 20


def test_expressions_in_the_table_of_cycles_build_schedules():
    text = (DOCS / "schedules.md").read_text()
    section = text.split("## Cycles and stages")[1].split("## ")[0]
    rows = re.findall(r"^\|.*\| `([^`]+)`.*\|$", section, re.MULTILINE)
    assert len(rows) > 5
    for expression in rows:
        assert isinstance(eval(expression, dict(vars(ow))), ow.Schedule), expression


def test_pictures_in_the_guides_exist():
    for page in DOCS.glob("*.md"):
        for name in re.findall(r"!\[.*?\]\((.*?)\)", page.read_text()):
            assert (DOCS / name).is_file(), f"{page.name} shows {name}"


def tree_of_the_house():
    """The paths in the drawing of the rooms in design.md, each from the root."""
    drawing = (DOCS / "design.md").read_text().partition("## The rooms")[2]
    folders: list[str] = []
    for line in re.findall(r"^    ( *\S+)(?:  |$)", drawing, re.M):
        depth = (len(line) - len(line.lstrip())) // 2
        folders[depth:] = [line.strip()]
        yield "".join(folders)


def test_the_tree_in_the_design_is_that_of_the_repository():
    drawn = set(tree_of_the_house())
    missing = sorted(path for path in drawn if not (DOCS.parent / path).exists())
    assert not missing, f"design.md shows what is not there: {', '.join(missing)}"
    package = DOCS.parent / "optax_warmup"
    rooms = {
        f"optax_warmup/{path.name}{'/' if path.is_dir() else ''}"
        for path in package.iterdir()
        if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    assert rooms <= drawn, f"design.md lacks {', '.join(sorted(rooms - drawn))}"


def test_files_named_in_the_design_exist():
    root = DOCS.parent
    named = re.findall(r"`([\w./]+\.py)`", (DOCS / "design.md").read_text())
    assert len(named) > 15
    for name in named:
        places = (root / name, root / "optax_warmup" / name)
        assert any(place.is_file() for place in places), name


def test_what_the_pages_import_from_the_examples_is_there():
    imported = [
        match
        for page in (DOCS.parent / "README.md", *DOCS.glob("*.md"))
        for match in re.findall(
            r"^from (examples\.[\w.]+) import (\w+)$", page.read_text(), re.M
        )
    ]
    assert imported
    for module, name in imported:
        assert hasattr(importlib.import_module(module), name), f"{module} lacks {name}"


def renames():
    """The rows of the changelog's tables of names, as (old names, new names)."""
    text = (DOCS.parent / "CHANGELOG.md").read_text().partition("Fields and")[0]
    for old, new in re.findall(r"^\| (`.*) \| (.*) \|$", text, re.M):
        olds, news = (re.findall(r"`([\w.]+)", cell) for cell in (old, new))
        if new.startswith("the same in "):
            news = [f"{news[0]}.{name}" for name in olds]
        yield olds, news


def test_new_names_in_the_changelog_exist():
    new = [name for _, names in renames() for name in names]
    assert len(new) > 30
    for name in new:
        assert operator.attrgetter(name)(ow), name


def test_old_names_are_in_no_page():
    old = [name for names, _ in renames() for name in names if not hasattr(ow, name)]
    moved = {name.rpartition(".")[2] for _, names in renames() for name in names}
    pages = [DOCS.parent / "README.md", *DOCS.glob("*.md")]
    for page in pages:
        if page.name == "migration.md":
            continue  # it has other libraries' names, and its own tests
        text = page.read_text()
        for name in old:
            prefix = r"\bow\." if name in moved else r"(?<![\w.])"
            found = re.search(rf"{prefix}{name}\(", text)
            assert not found, f"{page.name}: {found and found.group()}"


def test_every_recorded_statistic_is_explained():
    page = (DOCS / "diagnostics.md").read_text()
    table = page.partition("| statistic | meaning")[2].partition("\n\n")[0]
    cells = re.findall(r"^\| (`.*?`) \| ", table, re.M)
    explained = {name for cell in cells for name in re.findall(r"`(\w+)`", cell)}
    optimizer = ow.record_moments(optax.adam(1e-3))
    history = ow.read_moments(optimizer.init(jnp.ones(3)))
    assert explained == set(history.statistics)
