"""What a notebook shows of a record."""

from typing import TYPE_CHECKING

from optax_warmup._drawing import svg
from optax_warmup._drawing.labels import shorten_path
from optax_warmup._drawing.notebook import output, paragraph, table
from optax_warmup.diagnostics._charts import charts
from optax_warmup.diagnostics._table import line, rows

if TYPE_CHECKING:
    from optax_warmup.diagnostics._history import MomentHistory

_SHOWN = ("learning_rate", "effective_sample_size", "update_rms", "update_to_weight")
_LONGEST = 40  # characters of a group's name


def history_html(history: "MomentHistory") -> str:
    """Returns the last step in a line, four charts, and the table of the groups."""
    pictures = "".join(
        f"<div><b>{chart.title}</b>{svg.chart(chart)}</div>"
        for chart in charts({"": history}, {})
        if chart.key in _SHOWN and len(history.steps)
    )
    head, *groups = rows(history)
    cells = [[shorten_path(name, _LONGEST), *row] for name, *row in groups]
    return output(
        paragraph(line(history).replace("  ", " · ")),
        f'<div class="charts">{pictures}</div>',
        table(head, [*cells[-1:], *cells[:-1]]) if cells else "",
    )
