"""The sessions in the guides print what they say they print."""

import doctest
import re
from pathlib import Path

import pytest

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


def test_pictures_in_the_guides_exist():
    for page in DOCS.glob("*.md"):
        for name in re.findall(r"!\[.*?\]\((.*?)\)", page.read_text()):
            assert (DOCS / name).is_file(), f"{page.name} shows {name}"
