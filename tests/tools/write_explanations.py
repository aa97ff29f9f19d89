"""Writes the section on advice in docs/diagnostics.md from the package's explanations.

Run `python tests/tools/write_explanations.py` after changing one. A test compares them.
"""

import textwrap
from pathlib import Path

from optax_warmup.diagnostics._explanations import EXPLANATIONS

PAGE = Path(__file__).parents[2] / "docs" / "diagnostics.md"
WIDTH = 120


def rewritten(page: str) -> str:
    """The page, with the sections of all codes, from the first one to its end, anew."""
    begin = page.index(f"### {next(iter(EXPLANATIONS))}\n")
    sections = [
        f"### {code}\n\n{textwrap.fill(text, WIDTH, break_on_hyphens=False)}\n"
        for code, text in EXPLANATIONS.items()
    ]
    return page[:begin] + "\n".join(sections)


if __name__ == "__main__":
    PAGE.write_text(rewritten(PAGE.read_text()))
