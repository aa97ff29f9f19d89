"""A record as text: one line for a progress bar, and a table of its groups."""

from typing import TYPE_CHECKING

import numpy as np

from optax_warmup._drawing.labels import shorten_path
from optax_warmup._drawing.numbers import number

if TYPE_CHECKING:
    from optax_warmup.diagnostics._history import MomentHistory

# Heading and statistic of each column; what was not recorded has no column.
COLUMNS = (
    ("sqrt(nu_hat)", "nu_hat_rms"),
    ("largest", "nu_hat_max"),
    ("update", "update_rms"),
    ("g/sqrt(nu_hat)", "normalized_gradient_rms"),
    ("alignment", "alignment"),
    ("update/weight", "update_to_weight"),
    ("below eps", "eps_dominated"),
    ("not finite", "nonfinite"),
)
_LONGEST = 32  # characters of a group's name


def line(history: "MomentHistory") -> str:
    """Returns the last recorded step in one line."""
    if not len(history.steps):
        return "no update recorded yet"
    overall = {name: x[-1] for name, x in history.overall.items()}
    most = (1 + history.b2) / (1 - history.b2)
    samples = history.effective_sample_size[-1]
    parts = [
        f"step {history.steps[-1]:,}",
        f"rate {number(history.learning_rate[-1])}",
        f"sample size {samples:,.0f} of {most:,.0f}",
        f"update {number(overall['update_rms'])}"
        f" (noise {number(history.noise_rms[-1])})",
    ]
    for heading, name in COLUMNS:
        if name in ("normalized_gradient_rms", "update_to_weight") and name in overall:
            parts.append(f"{heading} {number(overall[name])}")
    if overall["nonfinite"]:
        parts.append("NOT FINITE")
    return "  ".join(parts)


def rows(history: "MomentHistory") -> list[list[str]]:
    """Returns the table's cells: a heading, a row for each group, and one for all."""
    columns = [(heading, key) for heading, key in COLUMNS if key in history.overall]
    cells = [["group", "size", *(heading for heading, _ in columns)]]
    if not len(history.steps):
        return cells
    for index, group in enumerate(history.groups):
        values = [history.statistics[key][-1, index] for _, key in columns]
        cells.append([group, f"{history.sizes[index]:,}", *map(number, values)])
    values = [history.overall[key][-1] for _, key in columns]
    total = f"{np.sum(history.sizes):,}"
    return [*cells, ["all", total, *map(number, values)]]


def table(history: "MomentHistory") -> str:
    """Returns the last recorded step as a table with a row for each group."""
    cells = [[shorten_path(row[0], _LONGEST), *row[1:]] for row in rows(history)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in cells
    ]
    rule = "-" * sum(widths, 2 * (len(widths) - 1))
    return "\n".join([line(history), "", lines[0], rule, *lines[1:]])
