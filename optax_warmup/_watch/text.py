"""Numbers of a run in words."""

import math
from collections.abc import Iterable

from optax_warmup._drawing.numbers import count, number
from optax_warmup._watch.run import SAMPLES
from optax_warmup.diagnostics._metrics_file import LOSSES

_LABELS = {
    "heldout_loss": "held-out loss",
    "learning_rate": "rate",
    "moments/learning_rate": "rate",
    SAMPLES: "effective samples",
}
_FIRST = ("loss", *LOSSES, "learning_rate", "moments/learning_rate", SAMPLES)


def in_order(names: Iterable[str]) -> list[str]:
    """The names that are shown, losses first, then the rate."""
    shown = [name for name in names if name != "step"]
    if "learning_rate" in shown and "moments/learning_rate" in shown:
        shown.remove("moments/learning_rate")
    place = {name: index for index, name in reversed(list(enumerate(_FIRST)))}
    return sorted(shown, key=lambda name: place.get(name, len(_FIRST)))


def named(name: str, x: float) -> str:
    """A number with its name; NaN is said, not left out."""
    label = _LABELS.get(name, name.replace("_", " "))
    if math.isnan(x):
        return f"{label} NaN"
    if name == SAMPLES:
        return f"{label} {x:,.0f}"
    return f"{label} {number(x, 4 if 'loss' in name else 3)}"


def row_line(row: dict[str, float]) -> str:
    """One row of metrics in one line."""
    step = f"step {int(row['step']):,}" if "step" in row else "no step"
    return "  ".join([step, *(named(name, row[name]) for name in in_order(row))])


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
