"""What a notebook shows of a schedule and of its description."""

import jax
import numpy as np

from optax_warmup import _check
from optax_warmup._drawing import svg
from optax_warmup._drawing.notebook import code, never_raises, output, paragraph
from optax_warmup._drawing.numbers import count, number
from optax_warmup._drawing.panel import Chart, Line, Mark
from optax_warmup._inspect.describe import Description, described
from optax_warmup._inspect.effort import is_small
from optax_warmup._inspect.sampled import evaluated
from optax_warmup._inspect.simulate import at_steps, length_of, sample_steps
from optax_warmup._schedules.schedule import Schedule

_OWNER = "_repr_html_"
_MOST = 2**17  # steps that are evaluated at first: in milliseconds
_BUSY = 2**12
_POINTS = 700  # of a curve; a picture has no more columns


@never_raises
def schedule_html(schedule: Schedule) -> str:
    """Returns a schedule's code, its curve, and what `describe` says of it."""
    leaves = jax.tree.leaves(schedule)
    if any(_check.is_traced(x) or np.ndim(x) for x in leaves):
        raise ValueError("it is no single curve")
    text = code(repr(schedule))
    if not is_small(schedule):
        words = "Too large to be drawn in passing: ow.plot(schedule) draws it."
        return output(text, paragraph(words))
    steps = length_of(_OWNER, schedule, None, minimum=2, most=_MOST)
    try:
        seen, values = evaluated(_OWNER, schedule, steps, most=_MOST, busy=_BUSY)
    except ValueError:  # it is not finite, or it changes too often for exact facts
        seen = sample_steps(steps, _MOST).astype(np.int64)
        values = at_steps(_OWNER, schedule, seen.astype(np.int32)).astype(np.float64)
        words = "It changes too often for more than its outline."
        if not np.isfinite(values).all():
            words = "It is not finite at every step."
        return output(text, svg.chart(_chart(seen, values, [])), paragraph(words))
    found = described(steps, seen, values)
    top = float(values[np.searchsorted(seen, found.warmup_end)])
    curve = svg.chart(_chart(seen, values, _marks(found, top)))
    return output(text, curve, found.as_table())


def _chart(seen: np.ndarray, values: np.ndarray, marks: list[Mark]) -> Chart:
    kept = _outline(seen, values)
    line = Line(seen[kept].astype(np.float64), values[kept], 0)
    title = "Curve of the schedule"
    zero = (0.0, 0.0)
    return Chart("curve", title, "", [line], marks, False, zero, log_steps=False)


def _outline(seen: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Returns the indices of a curve's extremes in each column of a picture."""
    column = seen * (_POINTS // 2) // max(int(seen[-1]), 1)
    starts = np.flatnonzero(np.diff(column, prepend=-1))
    order = np.lexsort((values, column))
    highest = np.append(starts[1:], len(seen)) - 1
    return np.unique(
        np.concatenate([[0], order[starts], order[highest], [len(seen) - 1]])
    )


def _marks(found: Description, top: float) -> list[Mark]:
    if found.peak_value == found.first_value == found.last_value:
        return []
    peak = f"{number(found.peak_value, 4)} at step {count(found.peak_step)}"
    marks = [Mark(found.peak_step, found.peak_value, 0, peak, falls=True)]
    if found.warmup_end not in (0, found.peak_step):
        ends = f"warmup ends at step {count(found.warmup_end)}"
        marks.append(Mark(found.warmup_end, top, 0, ends))
    if found.first_zero is not None:
        zeros = (
            f"{count(found.zero_updates)} zero update{'s'[: found.zero_updates > 1]}"
        )
        marks.append(Mark(found.first_zero, 0.0, 0, zeros, falls=True))
    return marks


Schedule._html = staticmethod(schedule_html)
