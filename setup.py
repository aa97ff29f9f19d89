"""What pyproject.toml cannot say: the README with links that work on a package index.

There a link to docs/ or a picture leads nowhere, so each gets the address of the
repository, at the tag of this version.
"""

import ast
import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent
# A link, or a piece of code, which is left alone.
LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)|^```.*?^```|`[^`\n]+`", re.M | re.S)


def with_addresses(text: str, repository: str, version: str) -> str:
    """A page whose links to files of the repository are absolute."""

    def absolute(match: re.Match[str]) -> str:
        picture, label, target = match.groups()
        if target is None or "://" in target or target.startswith(("#", "mailto:")):
            return match[0]
        kind = "raw" if picture else "blob"
        return f"{picture}[{label}]({repository}/{kind}/v{version}/{target})"

    return LINK.sub(absolute, text)


def version() -> str:
    text = (ROOT / "optax_warmup/__init__.py").read_text(encoding="utf-8")
    return ast.literal_eval(re.search(r"^__version__ = (.*)$", text, re.M)[1])


def readme() -> str:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    repository = settings["project"]["urls"]["Repository"]
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    return with_addresses(text, repository, version())


if __name__ == "__main__":
    from setuptools import setup  # new environments of Python 3.12 lack it

    setup(long_description=readme(), long_description_content_type="text/markdown")
