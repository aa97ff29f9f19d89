"""The site: what its generators make of docstrings, and the built pages."""

import importlib.util
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from browser import DESKTOP, PHONE, browser as browser, needs_chromium

import optax_warmup as ow

ROOT = Path(__file__).parent.parent
SITE = ROOT / "docs" / "site"
needs_sphinx = pytest.mark.skipif(
    not all(importlib.util.find_spec(n) for n in ("sphinx", "myst_nb", "furo")),
    reason="the site needs pip install -e '.[docs]'",
)

WIDER_THAN_THE_SCREEN = """
document.documentElement.scrollWidth > document.documentElement.clientWidth
"""
WITHOUT_PICTURE = """
[...document.images].map(i => { i.loading = "eager"; return i; })
  .filter(i => i.complete && !i.naturalWidth && i.getAttribute("src")).map(i => i.src)
"""


@pytest.fixture(autouse=True)
def generators(monkeypatch):
    monkeypatch.syspath_prepend(SITE)


def test_formulas_are_typeset_as_mathematics():
    from typeset import typeset

    fraction = typeset("value(step) = peak / (1 + step)**2")
    assert "<mfrac><mrow><mi>peak</mi></mrow>" in fraction
    assert "<msup>" in fraction and "**" not in fraction and "/ " not in fraction
    assert "<msqrt>" in typeset("x = sqrt(a - b)") and "−" in typeset("x = a - b")
    assert "<mtext>" not in typeset("x = a * |b - c| - 2 * |d|")
    assert "<mo>/</mo>" in typeset("x = r**(a / b)")  # a fraction would be too small
    assert "<msqrt>" not in typeset("x = sqrt(a / b)")  # it would have to grow
    assert "<munder>" in typeset("x = sum_k (a - b)")
    assert "<mtext>in</mtext>" in typeset("with u in (-1, 1)")
    cases = typeset("for step < begin:  schedule(step)\nfrom begin on:  0")
    assert cases.count("<mtr>") == 2 and "<mtext>for step &lt; begin:</mtext>" in cases


def test_every_formula_of_the_library_can_be_parsed():
    import typeset
    from docstrings import formulas
    from names import public_names

    seen = 0
    for address, thing in public_names().items():
        for formula in formulas(thing):
            seen += 1
            words = typeset.typeset(formula)
            assert words.count("<mrow") == words.count("</mrow>"), address
            if address != "optax_warmup.sweeps.sweep":  # **keywords, which is code
                assert "**" not in words, f"{address} is not parsed: {formula}"
    assert seen > 60


def test_prose_is_no_formula():
    from docstrings import formulas

    assert len(formulas(ow.clip_update_rms)) == 1
    assert len(formulas(ow.warmup)) == 1
    assert formulas(ow.plot) == []


def test_docstrings_have_no_accidental_emphasis():
    from docstrings import as_rst

    lines = [
        "Purpose.",
        "",
        "Returns:",
        "    a*b of `x`s, `f(x)*2` and |y|",
        ">>> 2**3",
    ]
    assert as_rst(lines)[-2:] == [
        r"    a\*b of `x`\ s, ``f(x)*2`` and \|y\|",
        ">>> 2**3",
    ]


def test_the_reference_has_the_names_that_the_house_has():
    from names import public_names
    from test_house import public_names as of_the_house

    assert set(public_names()) == {address for address, _ in of_the_house()}


def test_each_schedule_has_a_page_in_the_gallery():
    pytest.importorskip("matplotlib")
    import gallery
    from docstrings import formulas
    from names import public_names

    from optax_warmup._vocabulary import vocabulary

    calls = {
        name: call for group in gallery.CALLS.values() for name, call in group.items()
    }
    wanted = {n for n in vocabulary() if not n.startswith(("shapes.", "compat."))}
    assert set(calls) == wanted
    for name, call in calls.items():
        assert isinstance(gallery.evaluate(call), ow.Schedule), name
        assert call.startswith(f"{name}("), name
        assert formulas(public_names()[f"optax_warmup.{name}"]), f"{name}: no formula"


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("[a](schedules.md#presets)", "[a](schedules.md#presets)"),
        ("[`b`](../benchmarks/results/finder.md)", "[`b`](benchmarks/finder.md)"),
        ("![c](images/schedules.png)", "![c](files/docs/images/schedules.png)"),
        (
            "[compare.md](compare.md#conclusions)",
            "[Schedules compared on the examples](compare.md#conclusions)",
        ),
        ("[d](https://example.com) `f[i](x)`", "[d](https://example.com) `f[i](x)`"),
        ("[e](../examples/transformer)", "[e](examples/transformer.md)"),
        ("[f](../tests/faults)", "f"),
    ],
)
def test_links_lead_to_where_the_site_has_the_page(text, wanted, tmp_path):
    pytest.importorskip("matplotlib")
    from stage import relinked

    assert relinked(text, ROOT / "docs" / "faults.md", "faults.md", tmp_path) == wanted


def test_a_link_to_a_missing_file_is_an_error(tmp_path):
    pytest.importorskip("matplotlib")
    from stage import relinked

    with pytest.raises(FileNotFoundError, match=r"no-such\.md"):
        relinked("[x](no-such.md)", ROOT / "docs" / "faults.md", "faults.md", tmp_path)


def test_each_table_is_in_the_list_of_benchmarks():
    listed = (SITE / "benchmarks.md").read_text()
    results = ROOT / "benchmarks" / "results"
    for page in [*results.glob("*.md"), *results.glob("*/report.md")]:
        assert f"({page.relative_to(SITE.parent.parent)})" in listed.replace(
            "../../", ""
        ), page.name


@needs_sphinx
def test_faults_of_a_site_are_found(tmp_path):
    import check
    from sphinx.util.inventory import InventoryFile

    class Domain:
        name = "py"

        def get_objects(self):
            return [("optax_warmup.warmup", "-", "class", "page", "x", 1)]

    class Environment:
        class config:
            project, version = "p", "1"

        class domains:
            sorted = staticmethod(lambda: [Domain()])

    class Builder:
        get_target_uri = staticmethod(lambda name: f"{name}.html")

    InventoryFile.dump(str(tmp_path / "objects.inv"), Environment, Builder)
    page = f'<p id="here">{ROOT}</p><a href="gone.html"></a><a href="#nowhere"></a>'
    (tmp_path / "page.html").write_text(page)
    found = "\n".join(check.faults(tmp_path))
    assert "optax_warmup.wsd is public" in found
    assert not re.search(r"warmup\.warmup is public", found)
    for part in (
        "gone.html leads nowhere",
        "#nowhere has no",
        "path of this",
        "search",
    ):
        assert part in found


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The pages. Each cell is executed; a warning or a fault is an error."""
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, str(SITE / "build.py"), str(folder)],
        capture_output=True,
        text=True,
        timeout=1200,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "html"


@pytest.mark.slow
@needs_sphinx
def test_the_site_builds_without_a_warning_and_is_complete(built):
    assert (built / "searchindex.js").stat().st_size > 10_000
    tutorial = (built / "tutorial.html").read_text()
    assert "warmup-short" in tutorial and "cell_output" in tutorial
    assert "rate of the last update" in tutorial


@pytest.mark.slow
@needs_sphinx
@needs_chromium
@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_no_page_is_wider_than_the_screen_or_lacks_a_picture(built, browser, size):
    for path in sorted(built.rglob("*.html")):
        if "_modules" in path.parts:
            continue
        page = browser.page(path, size)
        wide, missing = page.js(WIDER_THAN_THE_SCREEN), page.js(WITHOUT_PICTURE)
        page.close()
        assert not wide and not missing, (path.name, wide, missing)


@pytest.mark.slow
@needs_sphinx
@needs_chromium
@pytest.mark.parametrize(
    ("words", "page"),
    [
        ("warmup_cosine", "gallery/warmup_cosine.html"),
        ("effective samples", "reading.html"),
        ("RAdam", "gallery/factors.radam.html"),
    ],
)
def test_the_search_finds(built, browser, words, page):
    shown = browser.page(built / "search.html", query=f"q={words}")
    end = time.monotonic() + 30
    while "finished" not in shown.js("document.body.innerText"):
        assert time.monotonic() < end, "the search does not end"
        time.sleep(0.2)
    links = "[...document.querySelectorAll('#search-results a')]"
    assert page in shown.js(f"{links}.map(a => a.getAttribute('href').split('?')[0])")
