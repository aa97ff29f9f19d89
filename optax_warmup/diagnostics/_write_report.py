"""A record as one HTML page that needs no server and no other file."""

import datetime
from collections.abc import Mapping
from html import escape
from pathlib import Path

from optax_warmup._drawing import svg
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
from optax_warmup.diagnostics._page_style import STYLE
from optax_warmup.diagnostics._table import line, rows


def write_report(
    path: str | Path,
    runs: MomentHistory | Mapping[str, MomentHistory],
    *,
    losses: LossesLike | Mapping[str, LossesLike] | None = None,
    forecasts: ForecastsLike = None,
) -> Path:
    """Writes one HTML file about the warmup of a run, or of several runs side by side.

    It has the advice with an explanation of each, charts, and a table of the groups.
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
    figures = [_figure(p, svg.chart(p)) for p in charts(runs, losses, forecasts)]
    figures += [_figure(p, svg.heat_map(p)) for p in heat_maps(runs)]
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
{_key(runs)}
<section class="advice">
{"".join(_advice(i, n, a, len(runs) > 1) for i, (n, a) in enumerate(advice.items()))}
</section>
<section class="figures">
{"".join(figures)}
</section>
{"".join(_table(i, n, h) for i, (n, h) in enumerate(runs.items()))}
<footer>{_footer(runs)}</footer>
</main>
</body>
</html>
"""


def _key(runs: dict[str, MomentHistory]) -> str:
    """Returns the colour, name and last recorded step of each run."""
    rows = "".join(
        f'<li><span class="dot run{i % 6}"></span><b>{escape(name)}</b> '
        f"<span>{escape(line(history).replace('  ', ' · '))}</span></li>"
        for i, (name, history) in enumerate(runs.items())
    )
    return f'<ul class="key">{rows}</ul>'


def _advice(index: int, name: str, found: tuple[Advice, ...], several: bool) -> str:
    head = (
        f'<h2><span class="dot run{index % 6}"></span>{escape(name)}</h2>'
        if several
        else ""
    )
    if not found:
        return f'{head}<p class="card fine">No issues found.</p>'
    return head + "".join(map(_card, found))


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
        f"{escape(advice.explanation)}</details></article>"
    )


def _figure(panel: Chart | HeatMap, picture: str) -> str:
    return (
        f"<figure><figcaption><b>{escape(panel.title)}</b> {escape(panel.caption)}"
        f"</figcaption>{picture}</figure>"
    )


def _table(index: int, name: str, history: MomentHistory) -> str:
    head, *groups = rows(history)
    if not groups:
        return ""
    header = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>"
        for row in groups
    )
    title = f"{escape(name)} at step {history.steps[-1]:,}"
    return (
        f'<section class="table"><h2><span class="dot run{index % 6}"></span>'
        f"{title}</h2><div><table><thead><tr>{header}</tr></thead><tbody>{body}</tbody>"
        "</table></div></section>"
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
