"""Rules about the automatic warmup: whether it has started, and what it holds back."""

from collections.abc import Iterator

import numpy as np

from optax_warmup._drawing.numbers import number, percent
from optax_warmup.diagnostics._advice import Advice
from optax_warmup.diagnostics._evidence import Evidence

_HELD = 0.5  # a factor at the end of the record that is worth a word


def automatic_warmup(e: Evidence) -> Iterator[Advice]:
    """automatic-no-start and automatic-limits."""
    history = e.history
    known = np.isfinite(history.coherence)
    if not known.any():
        return  # the factor, if there is one, is another warmup's
    factor = float(history.warmup_factor[known][-1])
    if factor == 0:
        yield Advice(
            "automatic-no-start",
            "problem",
            f"The automatic warmup found no start by step {history.steps[-1]:,}: "
            "none had a gradient and a step that were finite and not zero, so nothing "
            "was learned.",
            "Look for gradients that are zero or not finite, and for a learning rate "
            "that stays 0.",
            steps=e.steps_of(known),
        )
    elif factor < _HELD:
        rate = history.learning_rate[known][-1]
        now = f", {number(rate)}" if np.isfinite(rate) and rate > 0 else ""
        yield Advice(
            "automatic-limits",
            "note",
            f"The automatic warmup still applied {percent(factor)} of the schedule's "
            f"rate{now} at step {history.steps[known][-1]:,}.",
            "If the run is far from its end, the factor may still rise. If not, the "
            "peak is higher than the run could use: nothing is lost by lowering it.",
            steps=e.steps_of(known & (history.warmup_factor < _HELD)),
        )


RULES = (automatic_warmup,)
