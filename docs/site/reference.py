"""Writes the pages of the API reference: every public name, page by page."""

import inspect
import re
import typing
from pathlib import Path
from typing import Any

import docstrings
from docstrings import purpose
from names import members, namespaces

KINDS = (Path(__file__).parents[1] / "own_schedules.md").read_text()

# The names at the top by where they are defined: the first match has them.
SUBJECTS = {
    "presets": ("Presets", ("._presets.",)),
    "schedules": ("Schedules", ("._schedules.", "._numerics")),
    "transforms": ("Transforms", ("._transforms.", "._record.", "._adopt.")),
    "tools": ("Read, inspect, save, compile", ("",)),
}


def write(folder: Path) -> None:
    """One page for each namespace, and the names at the top in pages by subject."""
    folder.mkdir(parents=True, exist_ok=True)
    listed = []
    for name, room in namespaces().items():
        if name == "optax_warmup":
            left = members(room)
            for page, (title, rooms) in SUBJECTS.items():
                mine = {n: t for n, t in left.items() if _home(t, rooms)}
                left = {n: t for n, t in left.items() if n not in mine}
                _page(folder / f"{page}.md", name, title, "", mine)
                listed.append((page, f"ow: {title.lower()}", mine))
        else:
            page = name.partition(".")[2]
            title = f"ow.{page}"
            about = (inspect.getdoc(room) or "").split("\n\n")[0]
            _page(folder / f"{page}.md", name, title, about, members(room))
            listed.append((page, title, members(room)))
    (folder / "index.md").write_text(_index(listed))


def _home(thing: Any, rooms: tuple[str, ...]) -> bool:
    module = getattr(thing, "__module__", "") or ""
    return any(room in module for room in rooms)


def _page(
    path: Path, module: str, title: str, about: str, things: dict[str, Any]
) -> None:
    parts = [f"# {title}\n", f"{about}\n" if about else ""]
    parts.append(f"```{{eval-rst}}\n.. currentmodule:: {module}\n```\n")
    for name, thing in things.items():
        parts.append(f"## {name}\n\n```{{eval-rst}}\n{_directive(name, thing)}\n```\n")
    path.write_text("\n".join(parts))


def _directive(name: str, thing: Any) -> str:
    if inspect.isclass(thing):
        own = [
            key
            for key, value in vars(thing).items()
            if not key.startswith("_")
            and (inspect.isfunction(value) or isinstance(value, property | classmethod))
            and inspect.getdoc(value if not isinstance(value, classmethod) else None)
            and key not in ("value_at", "start_value", "tree_flatten")
        ]
        listed = f"\n   :members: {', '.join(own)}" if own else ""
        return f".. autoclass:: {name}{listed}"
    if inspect.isroutine(thing):
        return f".. autofunction:: {name}"
    if _is_alias(thing):  # autodoc would print what `Annotated` is, and addresses
        about = _meaning(name)
        return (
            f".. py:data:: {name}\n\n   An annotation: {docstrings.as_rst([about])[0]}."
        )
    return f".. autodata:: {name}\n   :no-value:"


def _is_alias(thing: Any) -> bool:
    return typing.get_origin(thing) is typing.Annotated


def _meaning(name: str) -> str:
    """What a field with this annotation holds, from the table of kinds."""
    row = re.search(rf"^\|[^|]*`(?:\w+\.)*{name}`[^|]*\| ([^|]*) \|", KINDS, re.M)
    if not row:
        raise ValueError(f"{name} has no row in docs/own_schedules.md")
    return row[1]


def _index(listed: list[tuple[str, str, dict[str, Any]]]) -> str:
    parts = ["# API reference\n"]
    parts.append(
        "Every public name, with its arguments, units and errors. `ow` stands for "
        "`import optax_warmup as ow`. The source of each is behind its *[source]*.\n"
    )
    pages = "\n".join(page for page, *_ in listed)
    for page, title, things in listed:
        parts.append(f"## [{title}]({page}.md)\n")
        rows = [
            f"| [`{n}`]({page}.md#{n.lower()}) | {_cell(n, t)} |"
            for n, t in things.items()
        ]
        parts.append("\n".join(["| name | purpose |", "|---|---|", *rows]) + "\n")
    parts.append(f"```{{toctree}}\n:hidden:\n\n{pages}\n```\n")
    return "\n".join(parts)


def _cell(name: str, thing: Any) -> str:
    if not (inspect.isclass(thing) or inspect.isroutine(thing)):
        return _meaning(name) if _is_alias(thing) else purpose(type(thing))
    return purpose(thing).replace("|", "\\|").replace("*", "\\*")
