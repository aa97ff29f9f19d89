"""What a release is made of agrees with itself."""

import re
import runpy
import tomllib
from pathlib import Path

import pytest

import optax_warmup as ow
from optax_warmup._command import main

ROOT = Path(__file__).parent.parent
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_the_version_is_the_same_everywhere(capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["--version"])
    assert capsys.readouterr().out == f"optax_warmup {ow.__version__}\n"
    citation = (ROOT / "CITATION.cff").read_text()
    assert f"\nversion: {ow.__version__}\n" in citation
    assert f"\n## {ow.__version__} - " in (ROOT / "CHANGELOG.md").read_text()


def test_links_of_the_readme_work_on_a_package_index():
    build = runpy.run_path(str(ROOT / "setup.py"))
    repository = SETTINGS["urls"]["Repository"]
    readme = build["readme"]()
    links = re.findall(r"(!?)\[[^\]]*\]\(([^)\s]+)\)", readme)
    assert len(links) > 10
    for picture, target in links:
        kind = "raw" if picture else "blob"
        begin = f"{repository}/{kind}/v{ow.__version__}/"
        assert target.startswith(begin), target
        assert (ROOT / target.removeprefix(begin)).is_file(), target


def test_only_links_are_changed():
    change = runpy.run_path(str(ROOT / "setup.py"))["with_addresses"]
    for text in ("`f[i](x)`", "[a](https://b.c)", "[a](#part)", "```\n[a](b)\n```"):
        assert change(text, "https://r", "1") == text
    assert change("[a `b`](c.md#d)", "https://r", "1") == (
        "[a `b`](https://r/blob/v1/c.md#d)"
    )


def test_classifiers_and_extras_are_those_of_the_readme():
    readme = (ROOT / "README.md").read_text()
    support = readme.partition("## Support")[2]
    versions = re.findall(r"Python :: (\d\.\d+)", " ".join(SETTINGS["classifiers"]))
    newest = versions[-1]
    assert f"Python {versions[0]}" in support and f"Python {newest}" in support
    for extra in SETTINGS["optional-dependencies"]:
        assert f"`{extra}`" in support, extra
