"""What a notebook shows of an object: HTML that fits a light and a dark page.

The text has the notebook's own colour, and curves have colours that stand out from
white and from black, since an output cannot know the page that it is on.
"""

import functools
from collections.abc import Callable, Iterable, Sequence
from html import escape
from typing import Any, TypeVar

from optax_warmup._drawing.labels import shorten
from optax_warmup._drawing.style import colors, rules

_CLASS = "optax-warmup"
_MIDDLE = ("#2a8fb3", "#d9573f", "#5a9a35", "#9a6bc0", "#c07f1e", "#858585")
_LONGEST = 400  # characters of a line of code
_CELL = 80  # characters of a cell of a table
_ROWS = 100  # of a table; more are counted

_STYLE = f"""<style>
.{_CLASS} {{ --ink: currentColor; --pale: #7a7a7a; --reference: #7a7a7a;
  --grid: rgba(128, 128, 128, .25); --paper: transparent; {colors(_MIDDLE)}
  max-width: 720px; line-height: 1.4; }}
.{_CLASS} > svg {{ max-width: 520px; }}
{rules(f".{_CLASS}")}
.{_CLASS} pre {{ margin: 0 0 4px; white-space: pre-wrap; overflow-wrap: anywhere; }}
.{_CLASS} table {{ border-collapse: collapse; margin: 4px 0; font-size: .9em; }}
.{_CLASS} th, .{_CLASS} td {{ padding: 2px 10px; text-align: right; border: 0;
  background: none; color: inherit; }}
.{_CLASS} th {{ font-weight: 600; }}
.{_CLASS} tr > :first-child, .{_CLASS} td.text {{ text-align: left; }}
.{_CLASS} .scroll {{ overflow-x: auto; }}
.{_CLASS} .charts {{ display: grid; gap: 12px;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 280px), 1fr)); }}
.{_CLASS} .card {{ border-left: 4px solid #7a7a7a; padding: 2px 12px; margin: 6px 0; }}
.{_CLASS} .card.problem {{ border-color: #d9573f; }}
.{_CLASS} .card.warning {{ border-color: #c07f1e; }}
</style>"""

_Build = TypeVar("_Build", bound=Callable[..., str])


def never_raises(build: _Build) -> Callable[..., str | None]:
    """Returns None in place of any error: a notebook then shows the `repr`.

    A cell whose last line is a value must not fail because of how it is shown.
    """

    @functools.wraps(build)
    def call(*args: Any) -> str | None:
        try:
            return build(*args)
        except Exception:
            return None

    return call


def output(*parts: str) -> str:
    """Returns one output of a notebook, made of parts that are HTML."""
    return f'<div class="{_CLASS}">{_STYLE}{"".join(parts)}</div>'


def paragraph(text: str) -> str:
    """Returns a line of text."""
    return f"<p>{escape(text)}</p>"


def code(text: str) -> str:
    """Returns a line of code, cut if it is long."""
    return f"<pre><code>{escape(shorten(text, _LONGEST))}</code></pre>"


def table(
    head: Sequence[str], rows: Iterable[Sequence[str]], *, text: Iterable[int] = ()
) -> str:
    """Returns a table; the columns in `text`, and the first, begin at their left."""
    rows, words = list(rows), {0, *text}

    def line(cells: Sequence[str], tag: str) -> str:
        made = (
            f"<{tag}{' class=text' * (i in words)}>{_short(cell)}</{tag}>"
            for i, cell in enumerate(cells)
        )
        return f"<tr>{''.join(made)}</tr>"

    top = f"<thead>{line(head, 'th')}</thead>" if head else ""
    body = "".join(line(cells, "td") for cells in rows[:_ROWS])
    more = f"<p>and {len(rows) - _ROWS:,} more</p>" if len(rows) > _ROWS else ""
    return f'<div class="scroll"><table>{top}<tbody>{body}</tbody></table></div>{more}'


def _short(text: str) -> str:
    return escape(shorten(text, _CELL))
