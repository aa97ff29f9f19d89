"""Writes the page of all formulas, from the docstrings."""

from pathlib import Path

from docstrings import formulas, linked, purpose, sources
from names import members, namespaces, short
from typeset import typeset

INTRO = """# The mathematics

Every formula of the library, once, with its source. They come from the docstrings, and
tests compare them with independent float64 oracles. The step counts completed updates,
so the first update has step 0. `n` is the number of updates of the moments, `b1` and
`b2` are Adam's decays, and `g` is a gradient.
"""


def write(path: Path) -> None:
    parts = [INTRO]
    for module, room in namespaces().items():
        found = {n: t for n, t in members(room).items() if formulas(t)}
        if not found:
            continue
        parts.append(f"## {module.replace('optax_warmup', 'ow', 1)}\n")
        for name, thing in found.items():
            parts.append(f"### {name}\n\n{purpose(thing)}\n")
            parts += [typeset(formula) + "\n" for formula in formulas(thing)]
            if sources(thing):
                parts.append(f"Source: {linked(sources(thing))}\n")
            parts.append(
                f"Arguments: {{py:obj}}`{short(module)}.{name} <{module}.{name}>`\n"
            )
    path.write_text("\n".join(parts))
