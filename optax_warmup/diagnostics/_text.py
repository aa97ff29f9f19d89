"""A record as text: one line while a run goes on, and a table of its groups."""

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from optax_warmup.diagnostics._history import MomentHistory

# The columns of the table: heading, statistic. A record without gradients or without
# parameters has no such columns.
COLUMNS = (
    ("sqrt nu_hat", "nu_hat_rms"),
    ("largest", "nu_hat_max"),
    ("update", "update_rms"),
    ("grad/sqrt(nu)", "normalized_gradient_rms"),
    ("alignment", "alignment"),
    ("upd/weight", "update_to_weight"),
    ("below eps", "eps_dominated"),
    ("not finite", "nonfinite"),
)
_LONGEST = 32  # characters of a group's name


def number(x: float) -> str:
    """Three digits at most, as people write them."""
    if not math.isfinite(x):
        return "-" if math.isnan(x) else f"{x}"
    if x == 0 or 1e-3 <= abs(x) < 1e4:
        return f"{x:.3g}" if abs(x) < 1000 else f"{x:,.0f}"
    digits, exponent = f"{x:.1e}".split("e")
    return f"{digits.removesuffix('.0')}e{int(exponent)}"


def share(x: float) -> str:
    """A share of one, in percent."""
    percent = 100 * x
    if not math.isfinite(percent):
        return "-"
    return f"{percent:.0f} %" if percent >= 10 else f"{percent:.2g} %"


def line(history: "MomentHistory") -> str:
    """The last recorded step in one line."""
    if not len(history.steps):
        return "no update recorded yet"
    overall = {name: x[-1] for name, x in history.overall.items()}
    ceiling = (1 + history.b2) / (1 - history.b2)
    samples = history.effective_sample_size[-1]
    parts = [
        f"step {history.steps[-1]:,}",
        f"rate {number(history.learning_rate[-1])}",
        f"nu worth {samples:,.0f} of {ceiling:,.0f} gradients",
        f"update {number(overall['update_rms'])}"
        f" (noise {number(history.noise_rms[-1])})",
    ]
    for label, name in (
        ("grad/sqrt(nu)", "normalized_gradient_rms"),
        ("upd/weight", "update_to_weight"),
    ):
        if name in overall:
            parts.append(f"{label} {number(overall[name])}")
    if overall["nonfinite"] or overall.get("gradient_nonfinite"):
        parts.append("NOT FINITE")
    return "  ".join(parts)


def rows(history: "MomentHistory") -> list[list[str]]:
    """The table's cells: a heading, a row a group, and one of all groups."""
    columns = [(label, key) for label, key in COLUMNS if key in history.overall]
    cells = [["group", "numbers", *(label for label, _ in columns)]]
    if not len(history.steps):
        return cells
    for index, group in enumerate(history.groups):
        values = [history.statistics[key][-1, index] for _, key in columns]
        cells.append([group, f"{history.sizes[index]:,}", *map(number, values)])
    values = [history.overall[key][-1] for _, key in columns]
    total = f"{np.sum(history.sizes):,}"
    return [*cells, ["all", total, *map(number, values)]]


def table(history: "MomentHistory") -> str:
    """The last recorded step, a row a group."""
    cells = [[_short(row[0]), *row[1:]] for row in rows(history)]
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


def _short(name: str) -> str:
    """A long path by its end, which tells more than its beginning."""
    return name if len(name) <= _LONGEST else f"...{name[3 - _LONGEST :]}"
