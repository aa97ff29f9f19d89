"""Parts of a docstring: its purpose, its formulas and its sources."""

import inspect
import re
from typing import Any

from typeset import typeset

SECTIONS = (
    "Args|Attributes|Fields|Returns|Yields|Raises|Example|Source|Sources|Note|Notes"
)
HEADER = re.compile(rf"^(?:{SECTIONS}):", re.M)
LEFT_SIDE = re.compile(r"^\s*\S+(?:\(.*?\))? = ", re.M)
CASES = re.compile(r"^(?:for|from|in|after)\b[^.]*:(?:\s|$)", re.M)
# A colon in the first line of "Returns" would end a type, so its word goes on the next.
RETURNED = re.compile(r"(?<=^Returns:\n)(( +)[^:\n]+) ([^ :\n]*:(?:\s|$))", re.M)
SENTENCE = re.compile(r"\w\.\s+[A-Z]")


def is_formula(paragraph: str) -> bool:
    """Whether a paragraph of a docstring is a formula and not prose."""
    if paragraph.startswith(("- ", ">>>", "  ")) or SENTENCE.search(paragraph):
        return False
    return bool(LEFT_SIDE.search(paragraph) or CASES.search(paragraph))


def paragraphs(thing: Any) -> list[str]:
    """What stands between the first line of a docstring and its first section."""
    text = HEADER.split(inspect.getdoc(thing) or "", maxsplit=1)[0]
    return [p.strip("\n") for p in text.split("\n\n")[1:] if p.strip()]


def purpose(thing: Any) -> str:
    return (inspect.getdoc(thing) or "").split("\n\n")[0].replace("\n", " ")


def formulas(thing: Any) -> list[str]:
    return [p for p in paragraphs(thing) if is_formula(p)]


def sources(thing: Any) -> str:
    """What stands under "Source:", as one line; empty if nothing does."""
    found = re.search(
        r"^Sources?:\s*(.*?)(?:\n\n(?=\S)|\Z)",
        inspect.getdoc(thing) or "",
        re.M | re.S,
    )
    return re.sub(r"\s+", " ", found[1]).strip() if found else ""


def linked(text: str) -> str:
    """The text with arXiv numbers as links, for Markdown."""
    return re.sub(r"arXiv:(\d{4}\.\d{4,5})", r"[\g<0>](https://arxiv.org/abs/\1)", text)


def as_rst(lines: list[str]) -> list[str]:
    """The docstring in reStructuredText: formulas typeset, no accidental emphasis."""
    text = "\n".join(lines)
    found = HEADER.search(text)
    body, rest = (text[: found.start()], text[found.start() :]) if found else (text, "")
    parts = [
        _raw(p) if i and is_formula(p.strip("\n")) else p
        for i, p in enumerate(body.split("\n\n"))
    ]
    rest = RETURNED.sub(r"\1\n\2\3", rest)
    safe = "\n".join(
        line if line.lstrip().startswith((">>>", "...")) else _escaped(line)
        for line in rest.splitlines()
    )
    prose = [p if p.startswith(".. raw::") else _escaped(p) for p in parts]
    return ("\n\n".join(prose) + "\n" + safe).splitlines()


def _raw(paragraph: str) -> str:
    return f".. raw:: html\n\n   {typeset(paragraph.strip(chr(10)))}\n"


def _escaped(text: str) -> str:
    """Stars and bars are signs of arithmetic here; names in single quotes are code."""
    pieces = re.split(r"(`[^`]*`)(?=(\w?))", text)
    done = []
    for piece, after in zip(pieces[::3], [*pieces[2::3], ""], strict=True):
        done.append(re.sub(r"([*|]|_\b)", r"\\\1", piece))
        if len(done) <= len(pieces[1::3]):
            code = pieces[1::3][len(done) - 1]
            is_name = re.fullmatch(r"`[A-Za-z_][\w.]*`", code)
            done[-1] += (code if is_name else f"`{code}`") + ("\\ " if after else "")
    return "".join(done)
