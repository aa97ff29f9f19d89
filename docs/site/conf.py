"""Settings of Sphinx. `make docs` runs it, through build.py."""

import os
import re
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(HERE), str(ROOT)]
# The kernel that executes the cells imports the package from here, too.
os.environ["PYTHONPATH"] = os.pathsep.join(
    [str(ROOT), str(ROOT / "tests/support"), os.environ.get("PYTHONPATH", "")]
)

from docstrings import as_rst  # noqa: E402

import optax_warmup  # noqa: E402

project = "optax_warmup"
author = "The authors of optax_warmup"
release = version = optax_warmup.__version__
extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
]
html_theme = "furo"
html_title = "optax_warmup"
html_static_path = [str(HERE / "static")]
html_css_files = ["site.css"]
html_copy_source = html_show_sourcelink = False
html_show_copyright = False
exclude_patterns = ["files/**"]

# The same page, wherever and by whomever it is built.
default_role = "py:obj"
python_use_unqualified_type_names = True
toc_object_entries = False
add_module_names = False
autodoc_typehints = "none"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
napoleon_use_rtype = napoleon_use_param = False
napoleon_use_ivar = True
viewcode_line_numbers = True

myst_heading_anchors = 4
myst_enable_extensions = ["attrs_inline"]
suppress_warnings = [
    "misc.highlighting_failure",  # sketches are not whole programs
    "myst.header",  # generated tables have no sections between title and table
]

nb_execution_mode = "force"
nb_execution_timeout = 300
nb_execution_raise_on_error = True
nb_execution_show_tb = True
nb_merge_streams = True


def _docstring(
    app: Any, what: str, name: str, thing: Any, options: Any, lines: list[str]
) -> None:
    lines[:] = as_rst(lines)


def _public_types(
    app: Any, what: str, name: str, thing: Any, options: Any, lines: list[str]
) -> None:
    """Types of attributes under their public names."""
    for index, line in enumerate(lines):
        if line.startswith(":vartype"):
            line = line.replace("jax.jaxlib._jax.", "jax.")
            lines[index] = re.sub(r"(?:\w+\.)+_\w+\.", "", line)


def _without_builtins(app: Any) -> list[Any]:
    """viewcode lists the module of aliases such as `int | float`, without a page."""
    getattr(app.env, "_viewcode_modules", {}).pop("builtins", None)
    return []


def _back_links(
    app: Any, page: str, template: str, context: dict[str, Any], doctree: Any
) -> None:
    """Leads the links from sources back to entries of the reference.

    viewcode takes all names of a file for those of one namespace.
    """
    if not page.startswith("_modules/"):
        return
    known = app.env.domains.python_domain.objects

    def right(match: re.Match[str]) -> str:
        url, address = match.groups()
        if address not in known:
            last = "." + address.rpartition(".")[2]
            at_page = [
                name
                for name, entry in known.items()
                if name.endswith(last) and url.endswith(f"{entry.docname}.html")
            ]
            address = at_page[0] if at_page else address
        return f'href="{url}#{address}"'

    context["body"] = re.sub(r'href="([^"#]+)#([\w.]+)"', right, context["body"])


def setup(app: Any) -> None:
    """Docstrings are read before napoleon turns their sections into fields."""
    app.connect("autodoc-process-docstring", _docstring, priority=100)
    app.connect("autodoc-process-docstring", _public_types, priority=900)
    app.connect("html-collect-pages", _without_builtins, priority=100)
    app.connect("html-page-context", _back_links)
