"""Checks a built site: its names, links, search, size, and that it names no machine."""

import re
from html import unescape
from pathlib import Path
from urllib.parse import unquote

from names import public_names
from sphinx.util.inventory import InventoryFile

LARGEST_PAGE = 1_000_000  # bytes of one page
LARGEST_SITE = 40_000_000
ROOT = Path(__file__).parents[2]


def faults(site: Path) -> list[str]:
    """What is wrong with the site, one line each."""
    site = site.resolve()  # as the ends of links are
    pages = sorted(site.rglob("*.html"))
    texts = {page: page.read_text() for page in pages}
    return [
        *_undocumented(site),
        *_dead_links(site, texts),
        *_machine(site, texts),
        *_sizes(site, pages),
        *([] if (site / "searchindex.js").is_file() else ["there is no search index"]),
    ]


def _undocumented(site: Path) -> list[str]:
    inventory = InventoryFile.loads((site / "objects.inv").read_bytes(), uri="")
    known = {
        name
        for kind, names in inventory.data.items()
        if kind.startswith("py:")
        for name in names
    }
    missing = sorted(set(public_names()) - known)
    return [f"{name} is public and has no entry in the reference" for name in missing]


def _dead_links(site: Path, texts: dict[Path, str]) -> list[str]:
    ids = {p: set(re.findall(r'\bid="([^"]+)"', text)) for p, text in texts.items()}
    found = []
    for page, text in texts.items():
        for kind, link in re.findall(r'<[^>]*?\b(href|src)="([^"]+)"', text):
            target, _, anchor = unquote(unescape(link)).partition("#")
            target = target.partition("?")[0]
            if re.match(r"[a-z]+:", target) or target.startswith("//"):
                continue
            end = (page.parent / target).resolve() if target else page
            name = page.relative_to(site)
            if not end.exists():
                found.append(f"{name}: {kind} {link} leads nowhere")
            elif anchor and end in ids and anchor not in ids[end]:
                found.append(f"{name}: {link} has no such place on its page")
    return found


def _machine(site: Path, texts: dict[Path, str]) -> list[str]:
    private = {str(ROOT), str(Path.home())} - {"/"}
    private_path = re.compile("|".join(map(re.escape, sorted(private))))
    return [
        f"{page.relative_to(site)} has a path of this machine: {found.group()}"
        for page, text in texts.items()
        if (found := private_path.search(text))
    ]


def _sizes(site: Path, pages: list[Path]) -> list[str]:
    large = [p for p in pages if p.stat().st_size > LARGEST_PAGE]
    total = sum(p.stat().st_size for p in site.rglob("*") if p.is_file())
    return [
        *(f"{p.relative_to(site)} has {p.stat().st_size:,} bytes" for p in large),
        *([f"the site has {total:,} bytes"] if total > LARGEST_SITE else []),
    ]
