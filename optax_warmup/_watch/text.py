"""Numbers of a run in words."""

import math

from optax_warmup._drawing.numbers import count, number
from optax_warmup._watch.run import SAMPLES as SAMPLES
from optax_warmup.diagnostics._metrics_file import LOSSES as LOSSES

_LABELS = {
    "learning_rate": "rate",
    "moments/learning_rate": "rate",
    SAMPLES: "effective samples",
}


def label(name: str) -> str:
    """The name of a number, as it is shown."""
    return _LABELS.get(name, name.replace("_", " "))


def value(name: str, x: float) -> str:
    """A number as it is shown; NaN is said, not left out."""
    if math.isnan(x):
        return "NaN"
    if name == SAMPLES:
        return f"{x:,.0f}"
    return number(x, 4 if "loss" in name else 3)


def row_line(row: dict[str, float]) -> str:
    """One row of metrics in one line."""
    step = f"step {int(row['step']):,}" if "step" in row else "step unknown"
    hidden = {"step"}
    if "learning_rate" in row:
        hidden.add("moments/learning_rate")
    shown = [f"{label(n)} {value(n, x)}" for n, x in row.items() if n not in hidden]
    return "  ".join([step, *shown])


def duration(seconds: float) -> str:
    """Seconds, minutes, hours or days, whichever says it shortest."""
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:,.0f} {unit}"
    return f"{seconds:,.0f} s"


def progress(step: int | None, total: int | None) -> str:
    """How far a run is."""
    if step is None:
        return "no row yet" if total is None else f"no row yet of {count(total)} steps"
    if total is None:
        return f"step {step:,}"
    return f"step {step:,} of {total:,} ({min(step / total, 1):.0%})"
