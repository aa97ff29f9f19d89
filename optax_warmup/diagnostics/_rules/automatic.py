"""Rules about the automatic warmup: whether it has started, and what it holds back."""

from collections.abc import Iterator

import numpy as np

from optax_warmup._drawing.numbers import number, percent
from optax_warmup.diagnostics._advice import Advice
from optax_warmup.diagnostics._evidence import Evidence
from optax_warmup.diagnostics._history import MomentHistory

_HELD = 0.5  # a factor at the end of the record that is worth a word
# What no decay means: a schedule this near to its peak after so many updates.
_NEAR, _UPDATES = 0.95, 200


def automatic_warmup(e: Evidence) -> Iterator[Advice]:
    """automatic-no-start, automatic-limits and automatic-no-decay."""
    for name, size in e.history.scalars.items():
        if name.rpartition("/")[2] == "relative_size" and np.isfinite(size).any():
            yield from _of_one(e, name.removesuffix("relative_size"), size)


def _of_one(e: Evidence, prefix: str, size: np.ndarray) -> Iterator[Advice]:
    """The same of one of several, whose names in the record have a prefix."""
    history = e.history
    which = f" of {prefix[:-1]!r}" if prefix else ""
    if size[np.isfinite(size)][-1] == 0:
        yield Advice(
            "automatic-no-start",
            "problem",
            f"The automatic warmup{which} found no start by step "
            f"{history.steps[-1]:,}: none had a gradient and a step that were finite "
            "and not zero, so nothing was learned.",
            "Look for gradients that are zero or not finite, and for a learning rate "
            "that stays 0.",
            steps=e.steps_of(np.isfinite(size)),
        )
        return
    factor = _scalar(history, prefix, "warmup_factor")
    known = np.isfinite(factor) & (factor > 0)
    if not known.any():
        return
    rate = _scalar(history, prefix, "learning_rate")
    feedback = np.isfinite(_scalar(history, prefix, "coherence")).any()
    last = float(factor[known][-1])
    if last < _HELD:
        now = rate[known][-1]
        applied = f", {number(now)}" if np.isfinite(now) and now > 0 else ""
        arrival = (history.steps[known][-1] + 1) / last**2
        more = (
            "" if feedback else f" All of it comes at about update {number(arrival)}."
        )
        yield Advice(
            "automatic-limits",
            "note",
            f"The automatic warmup{which} still applied {percent(last)} of the "
            f"schedule's rate{applied} at step {history.steps[known][-1]:,}.{more}",
            "If the run is far from its end, the factor may still rise. If not, the "
            "peak is higher than the run could use: nothing is lost by lowering it.",
            steps=e.steps_of(known & (factor < _HELD)),
        )
    schedule = np.where(known, rate / np.where(known, factor, 1), np.nan)
    if feedback or factor[known][0] >= 1 or not np.isfinite(schedule[known]).all():
        return
    stays = schedule >= _NEAR * np.max(schedule[known])
    if stays[known][-1] and history.steps[known][-1] >= _UPDATES:
        yield Advice(
            "automatic-no-decay",
            "note",
            f"The schedule{which} is still at its peak at step "
            f"{history.steps[known][-1]:,}, and the factor of the automatic warmup "
            "rises whether or not the run bears it.",
            "If the schedule does not decay, or only at its end (WSD), use "
            "automatic_warmup(..., feedback=True): gradients then lower a rate that is "
            "too high. Under a decay that begins soon, leave it as it is.",
            steps=e.steps_of(stays),
        )


def _scalar(history: MomentHistory, prefix: str, name: str) -> np.ndarray:
    """A number by step of this warmup's own, NaN where none is known."""
    if not prefix:
        values: np.ndarray = getattr(history, name)
        return values
    own = f"learning_rate/{prefix[:-1]}" if name == "learning_rate" else prefix + name
    return history.scalars.get(own, np.full(len(history.steps), np.nan))


RULES = (automatic_warmup,)
