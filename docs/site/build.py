"""Builds the site: python docs/site/build.py [folder], by default build/site.

Every cell is executed. A warning of Sphinx, a public name without an entry in the
reference, a dead internal link and a page that is too large are errors.
"""

import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests/support")]


def main(folder: Path) -> int:
    """Makes the pages, runs Sphinx over them and checks the result."""
    import check
    from sphinx.cmd.build import main as sphinx
    from stage import stage

    source, html = folder / "source", folder / "html"
    stage(source)
    shutil.rmtree(html, ignore_errors=True)
    options = ["-q", "-W", "--keep-going", "-j", "1", "-c", str(Path(__file__).parent)]
    cache = str(folder / "doctrees")
    if code := sphinx([*options, "-E", "-d", cache, str(source), str(html)]):
        return code
    (html / ".nojekyll").touch()  # else GitHub Pages leaves out folders with a _
    found = check.faults(html)
    print("\n".join(found or [f"The site is {html / 'index.html'}"]))
    return bool(found)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "build/site")))
