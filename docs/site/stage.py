"""Makes the folder that Sphinx reads: pages of the repository, and generated ones.

The Markdown of the repository stays as it is, and reads well there. Here its links are
rewritten to where the site has those pages; other files that they name are copied.
"""

import os
import re
import shutil
from pathlib import Path

import gallery
import illnesses
import mathematics
import measures
import reference

from optax_warmup._vocabulary import vocabulary

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
# A link, or a piece of code, which is left alone: "f[i](x)" is no link.
LINK = re.compile(
    r"(!?\[(?:[^\]`]|`[^`]*`)*\]\()([^)#\s]*)(#[^)]*)?\)|^```.*?^```|`[^`\n]+`",
    re.M | re.S,
)
FILE_NAME = re.compile(r"`?[\w./-]+\.md`?")  # on the site a page goes by its title
UNCERTAIN = re.compile(r"(?<=\d) ([±+]) (?=\d[^\n]*\|$)", re.M)  # in tables: one line
EXAMPLES = "\n```{toctree}\n:glob:\n:hidden:\n\n*\n```\n"
GENERATED = ("gallery/", "api/", "mathematics.md", "advice.md", "reading.md")
# Pages from the repository, by their place in the site.
PAGES = {
    **{f"docs/{path.name}": path.name for path in (ROOT / "docs").glob("*.md")},
    **{f"docs/site/{path.name}": path.name for path in HERE.glob("*.md")},
    **{
        f"benchmarks/results/{path.name}": f"benchmarks/{path.name}"
        for path in (ROOT / "benchmarks/results").glob("*.md")
    },
    **{
        str(path.relative_to(ROOT)): f"examples/{path.parent.name}.md"
        for path in (ROOT / "examples").glob("*/README.md")
    },
    "benchmarks/results/warmup_quality/report.md": "benchmarks/warmup_quality.md",
    "examples/README.md": "examples/index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "README.md": "index.md",
}


def stage(folder: Path) -> None:
    """Fills a folder with everything that the site is made of."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for origin, place in PAGES.items():
        if origin == "README.md":
            continue  # the site has its own first page
        target = folder / place
        target.parent.mkdir(parents=True, exist_ok=True)
        text = UNCERTAIN.sub("\u00a0\\1\u00a0", (ROOT / origin).read_text())
        text = relinked(text, ROOT / origin, place, folder)
        target.write_text(text + (EXAMPLES if place == "examples/index.md" else ""))
    gallery.write(folder / "gallery", vocabulary())
    mathematics.write(folder / "mathematics.md")
    reference.write(folder / "api")
    illnesses.write(folder)
    measures.write(folder)


def relinked(text: str, origin: Path, place: str, folder: Path) -> str:
    """The text of a page, with its links leading to where the site has their ends."""

    def new(match: re.Match[str]) -> str:
        if match[1] is None:
            return match[0]
        before, target, anchor = match[1], match[2], match[3] or ""
        outside = "://" in target or target.startswith("mailto:")
        generated = origin.parent == HERE and target.startswith(GENERATED)
        if not target or outside or generated:
            return match[0]
        found = (origin.parent / target).resolve()
        if found.is_dir() and not (found / "README.md").is_file():
            return before[1:-2]  # its name alone: the site has no folders to look into
        if FILE_NAME.fullmatch(before[1:-2]) and found.is_file():
            before = f"[{_title(found)}]("
        return f"{before}{_place(found, place, folder)}{anchor})"

    return LINK.sub(new, text)


def _title(page: Path) -> str:
    found = re.search(r"^# (.+)$", page.read_text(), re.M)
    return found[1] if found else page.stem


def _place(found: Path, page: str, folder: Path) -> str:
    """Where the site has a file of the repository, seen from one of its pages."""
    if found.is_dir():
        found = found / "README.md"
    name = found.relative_to(ROOT).as_posix()
    if not found.is_file():
        raise FileNotFoundError(f"{page} has a link to {name}, which does not exist")
    if name not in PAGES:
        copy = folder / "files" / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(found, copy)
    return os.path.relpath(PAGES.get(name, f"files/{name}"), Path(page).parent)
