"""One page that tells of a run, or compares several: no server, no other files."""

import datetime
from collections.abc import Mapping
from html import escape
from pathlib import Path

from jax.typing import ArrayLike

from optax_warmup.diagnostics import _heatmap, _panels as panels, _svg as svg, _text
from optax_warmup.diagnostics._advise import Advice, advise
from optax_warmup.diagnostics._history import MomentHistory
from optax_warmup.diagnostics._run_folders import as_runs
from optax_warmup.diagnostics._style import STYLE


def write_report(
    path: str | Path,
    runs: MomentHistory | Mapping[str, MomentHistory],
    *,
    losses: Mapping[str, ArrayLike | Mapping[int, float]]
    | ArrayLike
    | Mapping[int, float]
    | None = None,
) -> Path:
    """Writes one HTML file about the warmup of a run, or of several side by side.

    The advice stands on top, then pictures, then a table. The file needs nothing else:
    it opens offline and in ten years, on a phone, in light and in dark.

    Args:
        path: where to write; the file is complete or absent.
        runs: the history of a run, or a mapping of names to histories.
        losses: the training losses: for one history as in `advise`, for several a
            mapping of their names to such. Runs without losses may be left out.

    Returns:
        The path of the file.

    Raises:
        TypeError: a run is no `MomentHistory`.
        ValueError: there is no run, or `losses` names one that is not there.

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
    named, known = as_runs("write_report", runs, losses)
    advice = {n: advise(h, losses=known.get(n)) for n, h in named.items()}
    text = _page(named, known, advice)
    path = Path(path)
    partial = path.with_name(f"{path.name}.partial")
    partial.write_text(text, encoding="utf-8")
    return partial.replace(path)


def _page(
    runs: dict[str, MomentHistory],
    losses: dict[str, dict[int, float]],
    advice: dict[str, tuple[Advice, ...]],
) -> str:
    title = f"Warmup report: {', '.join(runs)}"
    charts = [_figure(p, svg.chart(p)) for p in panels.charts(runs, losses)]
    maps = [_figure(p, svg.heat(p)) for p in _heatmap.heats(runs)]
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
{"".join([*charts, *maps])}
</section>
{"".join(_table(i, n, h) for i, (n, h) in enumerate(runs.items()))}
<footer>{_footer(runs)}</footer>
</main>
</body>
</html>
"""


def _key(runs: dict[str, MomentHistory]) -> str:
    """Each run's colour, name and state."""
    rows = "".join(
        f'<li><span class="dot run{i % 6}"></span><b>{escape(name)}</b> '
        f"<span>{escape(_text.line(history).replace('  ', ' · '))}</span></li>"
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
        return f'{head}<p class="card fine">Nothing to complain about.</p>'
    return head + "".join(map(_card, found))


def _card(advice: Advice) -> str:
    change = f"<p><b>{escape(advice.change)}</b></p>" if advice.change else ""
    groups = ""
    if len(advice.groups) > 3:
        names = ", ".join(map(escape, advice.groups))
        groups = (
            f"<details><summary>{len(advice.groups)} groups</summary>{names}</details>"
        )
    return (
        f'<article class="card {advice.severity}"><h3>{advice.severity} '
        f"<code>{advice.code}</code></h3><p>{escape(advice.finding)}</p>{change}{groups}"
        f"</article>"
    )


def _figure(panel: panels.Chart | panels.Heat, picture: str) -> str:
    return (
        f"<figure><figcaption><b>{escape(panel.title)}</b> {escape(panel.about)}"
        f"</figcaption>{picture}</figure>"
    )


def _table(index: int, name: str, history: MomentHistory) -> str:
    head, *rows = _text.rows(history)
    if not rows:
        return ""
    header = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>"
        for row in rows
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
    lines = [
        "Each code of the advice is explained in docs/diagnostics.md.",
        *origins,
        f"Written {when}.",
    ]
    return "".join(f"<p>{escape(line)}</p>" for line in lines)
