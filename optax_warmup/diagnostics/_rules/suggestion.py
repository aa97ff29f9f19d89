"""A suggested warmup, where other rules found fault with it or with the peak rate."""

from collections.abc import Iterator

import numpy as np

from optax_warmup._drawing.numbers import number, two_digits
from optax_warmup.diagnostics._advice import Advice
from optax_warmup.diagnostics._evidence import Evidence

WARMUP_SHARE = 0.2  # of the known updates: no longer warmup is ever suggested
_SLOPE, _BATCH = 5e-4, 12  # of our runs; see the explanation
_FAULTS = {"warmup-short", "beyond-stability", "updates-large", "update-spikes"}


def suggestion(e: Evidence, faults: set[str]) -> Iterator[Advice]:
    """suggested-warmup: only beside one of certain other faults, given as codes."""
    weights = e.overall("parameter_rms")
    if not e.history.corrected or not faults & _FAULTS:
        return  # rmsprop-start covers rmsprop
    if weights is None or not e.peak > 0:
        return
    weight_rms = float(weights[np.isfinite(weights)][0])
    if not weight_rms > 0:
        return
    slope = rate_per_update(weight_rms, e.batch_size)
    length = e.peak / slope
    if e.peak_row is not None and e.history.steps[e.peak_row] >= length:
        return
    longest = WARMUP_SHARE * e.updates
    if length <= longest:
        yield _of_length(e, slope, length, weight_rms)
    else:
        yield _of_peak(e, slope, longest, weight_rms)


def rate_per_update(weight_rms: float, batch_size: int | None) -> float:
    """Returns the slope of a linear warmup: how much the rate rises per update."""
    batch = 1.0 if batch_size is None else (batch_size / _BATCH) ** 0.5
    return _SLOPE * weight_rms * batch


def _of_length(e: Evidence, slope: float, length: float, weight_rms: float) -> Advice:
    row = e.peak_row
    used = f" (this run took {e.history.steps[row]:,})" if row is not None else ""
    return Advice(
        "suggested-warmup",
        "note",
        f"A linear warmup of about {two_digits(length):,} updates{used} reaches the "
        f"peak rate of {number(e.peak)} at a slope of {_slope(e, slope, weight_rms)}",
        "Try it as a starting point.",
    )


def _of_peak(e: Evidence, slope: float, longest: float, weight_rms: float) -> Advice:
    peak = slope * longest
    return Advice(
        "suggested-warmup",
        "note",
        f"No warmup within {WARMUP_SHARE:.0%} of the {e.updates:,} updates seen so far "
        f"reaches the peak rate of {number(e.peak)} at a slope of "
        f"{_slope(e, slope, weight_rms)}",
        f"If the run is about this long, lower the peak rate to about "
        f"{number(peak, 2)}. If it is longer, raise the rate by at most "
        f"{number(slope, 2)} per update.",
    )


def _slope(e: Evidence, slope: float, weight_rms: float) -> str:
    batch = "" if e.batch_size is None else f" times sqrt({e.batch_size} / {_BATCH})"
    return (
        f"{number(slope, 2)} per update. That is {_SLOPE:g} of the weights' RMS "
        f"({number(weight_rms)}){batch}, the slope that did well on small "
        f"transformers; it is not a measurement of this run."
    )
