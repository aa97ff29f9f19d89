"""Rules about the batch: whether it is far from the critical one."""

from collections.abc import Iterator

import numpy as np

from optax_warmup._drawing.numbers import number, two_digits
from optax_warmup.diagnostics._advice import Advice
from optax_warmup.diagnostics._evidence import Evidence

_ROWS = 8
_LARGE, _SMALL = 1 / 8, 4  # batches
_NO_NOISE = 1e-3  # as in full-batch training


def batch(e: Evidence) -> Iterator[Advice]:
    """batch-large and batch-small."""
    scale, bound = e.overall("noise_scale"), e.overall("noise_scale_bound")
    if bound is None:
        return
    late = e.history.steps >= e.history.steps[-1] / 2
    bounded = late & np.isfinite(bound)
    most = float(np.max(bound[bounded], initial=0))
    if bounded.sum() >= _ROWS and _NO_NOISE < most <= _LARGE:
        yield Advice(
            "batch-large",
            "note",
            f"The gradient noise scale was at most {_batches(e, most)}: the batch is "
            "far above the critical one, and most of it is spent on noise that is "
            "small already.",
            "Unless examples are cheap, try a smaller batch, or a higher rate at the "
            "same one.",
            steps=e.steps_of(bounded),
        )
        return
    if scale is None:
        return
    known = late & np.isfinite(scale)
    if known.sum() >= _ROWS and np.median(scale[known]) > _SMALL:
        middle = float(np.median(scale[known]))
        yield Advice(
            "batch-small",
            "note",
            f"The gradient noise scale was about {_batches(e, middle)}: the batch is "
            "far below the critical one.",
            "If larger batches run at nearly the same time an update, a larger batch "
            "with a higher rate needs fewer updates for about as many examples.",
            steps=e.steps_of(known),
        )


def _batches(e: Evidence, batches: float) -> str:
    text = f"{number(batches, 2)} batches"
    if e.batch_size is None:
        return text
    return f"{text} ({two_digits(batches * e.batch_size):,} examples)"


RULES = (batch,)
