"""A record as one HTML page that needs no server and no other file."""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping
from html import escape
from importlib import resources
from pathlib import Path

from optax_warmup._drawing import svg
from optax_warmup._drawing.palette import LIGHT
from optax_warmup._drawing.panel import Chart, HeatMap
from optax_warmup._files import as_path, write_atomically
from optax_warmup.diagnostics._advice import Advice
from optax_warmup.diagnostics._advise import advise
from optax_warmup.diagnostics._arguments import Losses, LossesLike, as_runs
from optax_warmup.diagnostics._charts import charts
from optax_warmup.diagnostics._forecast import (
    Forecast,
    ForecastsLike,
    as_forecasts,
)
from optax_warmup.diagnostics._heat_maps import heat_maps
from optax_warmup.diagnostics._history import MomentHistory
from optax_warmup.diagnostics._page_data import page_data
from optax_warmup.diagnostics._page_style import STYLE
from optax_warmup.diagnostics._table import line, rows
from optax_warmup.diagnostics._verdict import verdict

_FIRST = ("loss", "expected", "learning_rate")  # the charts on the first screen


def write_report(
    path: str | Path,
    runs: MomentHistory | Mapping[str, MomentHistory],
    *,
    losses: LossesLike | Mapping[str, LossesLike] | None = None,
    forecasts: ForecastsLike = None,
) -> Path:
    """Writes one HTML file about the warmup of a run, or of several runs side by side.

    It has a verdict in one sentence, charts, the advice with an explanation of each,
    and a table of the groups. Values are shown where the pointer is, or where the arrow
    keys lead; runs can be hidden, and the axis of steps can be linear or logarithmic.
    The file is self-contained: it opens offline, on a phone, in light and dark mode.

    Args:
        path: where to write, ending in .html or .htm. An existing file is replaced only
            once the new one is complete.
        runs: the history of a run, or a mapping of names to histories.
        losses: the training losses: for one history as in `advise`, for several a
            mapping of their names to such. Runs without losses may be left out.
        forecasts: what the rest of a run is expected to do, from `LossLaw.forecast`:
            one for one history, or a mapping of names to them. The loss is drawn on as
            a dashed line with a band. Give the kind of loss that the law was fitted to.

    Returns:
        The path of the file.

    Raises:
        TypeError: a run is not a `MomentHistory`, or a loss is not a number.
        ValueError: there is no run, `losses` or `forecasts` name one that does not
            exist, a run with a forecast has no losses, or `path` ends in something else
            than .html or .htm.
        OSError: the file cannot be written.

    Example:
        >>> import pathlib, tempfile, jax.numpy as jnp, optax, optax_warmup as ow
        >>> state = ow.record_moments(optax.adam(1e-3)).init({"w": jnp.ones(3)})
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     page = ow.diagnostics.write_report(
        ...         pathlib.Path(folder) / "report.html", ow.read_moments(state)
        ...     )
        ...     "No update is recorded yet." in page.read_text()
        True
    """
    file_path = as_path("write_report", path, (".html", ".htm"))
    named, known = as_runs("write_report", runs, losses)
    expected = as_forecasts("write_report", list(named), forecasts, known)
    advice = {n: advise(h, losses=known.get(n)) for n, h in named.items()}
    with write_atomically(file_path) as file:
        file.write(_page(named, known, expected, advice).encode())
    return file_path


def _page(
    runs: dict[str, MomentHistory],
    losses: dict[str, Losses],
    forecasts: dict[str, Forecast],
    advice: dict[str, tuple[Advice, ...]],
) -> str:
    title = f"Warmup report: {', '.join(runs)}"
    shared = charts(runs, losses, forecasts)
    panels: list[Chart | HeatMap] = [*shared, *heat_maps(runs)]
    several = len(runs) > 1
    figures = [_figure(index, panel, several) for index, panel in enumerate(panels)]
    first = sum(panel.key in _FIRST for panel in shared)
    found = verdict(advice)
    sections = [
        _advice(index, name, runs[name], found, several)
        for index, (name, found) in enumerate(advice.items())
    ]
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{escape(title)}</title>
<style>{STYLE}</style>
</head>
<body>
<main>
<h1>Warmup report</h1>
<p class="verdict {found.severity}" role="status">{escape(found.sentence)}</p>
{_controls(runs)}
<section class="figures main" aria-label="Main charts">
{"".join(figures[:first])}
</section>
<section class="advice" aria-label="Advice">
{"".join(sections)}
</section>
<section class="figures" aria-label="More charts">
{"".join(figures[first:])}
</section>
{"".join(_table(i, n, h) for i, (n, h) in enumerate(runs.items()))}
<footer>{_footer(runs)}</footer>
</main>
<script type="application/json" id="data">{page_data(list(runs), panels)}</script>
<script>{_script()}</script>
</body>
</html>
"""


def _script() -> str:
    return resources.files(__package__).joinpath("_report.js").read_text("utf-8")


def _controls(runs: dict[str, MomentHistory]) -> str:
    """Returns the names of the runs, each with a box to hide it, and of the axis."""
    boxes = "".join(
        f'<label><input type="checkbox" value="{i}" checked>{_dot(i)}'
        f"{escape(name)}</label>"
        for i, name in enumerate(runs)
    )
    shown = f'<fieldset class="runs"><legend>runs</legend>{boxes}</fieldset>'
    axis = "".join(
        f'<label><input type="radio" name="axis" value="{kind}"{on}>{kind}</label>'
        for kind, on in (("logarithmic", " checked"), ("linear", ""))
    )
    return (
        f'<div class="controls">{shown if len(runs) > 1 else ""}'
        f'<fieldset class="axis-control"><legend>step axis</legend>{axis}</fieldset>'
        "</div>"
    )


def _dot(run: int) -> str:
    return f'<span class="dot run{run % len(LIGHT)}"></span>'


def _advice(
    index: int,
    name: str,
    history: MomentHistory,
    found: tuple[Advice, ...],
    several: bool,
) -> str:
    head = f"<h2>{_dot(index)}{escape(name)}</h2>" if several else ""
    text = escape(line(history).replace("  ", " · "))
    cards = "".join(map(_card, found))
    if several and not found:
        cards = '<p class="card fine">No issues found.</p>'
    return f'<div data-run="{index}">{head}<p class="summary">{text}</p>{cards}</div>'


def _card(advice: Advice) -> str:
    change = f"<p><b>{escape(advice.change)}</b></p>" if advice.change else ""
    groups = ""
    if len(advice.groups) > 3:
        names = ", ".join(map(escape, advice.groups))
        groups = (
            f"<details><summary>All {len(advice.groups)} groups</summary>{names}"
            "</details>"
        )
    return (
        f'<article class="card {advice.severity}"><h3>{advice.severity} '
        f"<code>{advice.code}</code></h3><p>{escape(advice.finding)}</p>{change}{groups}"
        f"<details><summary>Why this is reported</summary>"
        f"{_linked(escape(advice.explanation))}</details></article>"
    )


def _linked(text: str) -> str:
    """Makes links of the papers that a text names."""
    return re.sub(
        r"arXiv:(\d{4}\.\d{4,5})", r'<a href="https://arxiv.org/abs/\1">\g<0></a>', text
    )


def _figure(index: int, panel: Chart | HeatMap, several: bool) -> str:
    if isinstance(panel, Chart):
        picture, of = svg.chart(panel), ""
    else:
        picture = svg.heat_map(panel)
        of = f' data-run="{panel.run}"' if several else ""
    return (
        f'<figure data-panel="{index}"{of}><figcaption><b>{escape(panel.title)}</b> '
        f'{escape(panel.caption)}</figcaption><div class="plot">{picture}</div>'
        "</figure>"
    )


def _table(index: int, name: str, history: MomentHistory) -> str:
    head, *groups = rows(history)
    if not groups:
        return ""
    header = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in head)
    body = "".join(
        f'<tr><th scope="row"><span>{escape(group)}</span></th>'
        + "".join(f"<td>{escape(cell)}</td>" for cell in cells)
        + "</tr>"
        for group, *cells in groups
    )
    title = f"{escape(name)} at step {history.steps[-1]:,}"
    # It scrolls sideways, and so the keyboard must reach it.
    return (
        f'<section class="table" data-run="{index}"><h2>{_dot(index)}{title}</h2>'
        f'<div tabindex="0" role="region" aria-label="{title}"><table><thead><tr>'
        f"{header}</tr></thead><tbody>{body}</tbody></table></div></section>"
    )


def _footer(runs: dict[str, MomentHistory]) -> str:
    origins = []
    for name, history in runs.items():
        meta = ", ".join(f"{key} {value}" for key, value in history.meta.items())
        constants = f"b1 {history.b1:g}, b2 {history.b2:g}, eps {history.eps:g}"
        origins.append(
            f"{name}: {constants}; {meta}" if meta else f"{name}: {constants}"
        )
    when = datetime.datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z")
    texts = [*origins, f"Written {when}."]
    return "".join(f"<p>{escape(text)}</p>" for text in texts)
