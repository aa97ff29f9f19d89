"""Rules about the learning rate: how the warmup begins, how it ends, how high it goes.

Whether a warmup is long enough is not written in b2: the best length is about the same
for 0.95 and for 0.999, and grows with the peak. So these rules ask for a sign of harm,
and take the age of nu for a reason to look for one.
"""

from collections.abc import Iterator

import numpy as np

from optax_warmup.diagnostics._evidence import Advice, Evidence, mean
from optax_warmup.diagnostics._text import number, share

_FEW = 22  # effective samples at which nu_hat is still off by 30 % of itself
_TURNED = -0.2  # mean alignment that shows harm right after a short warmup
_OVERSHOT, _WINDOW = -0.4, 8  # mean alignment over some rows; healthy runs reach -0.3


def first_update(e: Evidence) -> Iterator[Advice]:
    """first-update-zero."""
    rates, steps = e.history.learning_rate, e.history.steps
    zero = rates == 0
    if zero.all():
        yield Advice(
            "first-update-zero",
            "problem",
            f"The rate was 0 at all {len(steps)} recorded steps: nothing was learned.",
            "Check the schedule: optax's linear_schedule, for example, stays at its "
            "initial value when transition_steps is 0.",
            steps=e.steps_of(zero),
        )
    elif steps[0] == 0 and zero[0]:
        wasted = int(np.argmin(zero))
        what = "The first update" if wasted == 1 else f"The first {wasted} updates"
        yield Advice(
            "first-update-zero",
            "note",
            f"{what} had rate 0 and changed no weight.",
            "Build the warmup with offset=1 to start it one step up the ramp.",
            steps=e.steps_of(zero),
        )


def unknown(e: Evidence) -> Iterator[Advice]:
    """rate-unknown."""
    if np.isnan(e.peak):
        yield Advice(
            "rate-unknown",
            "note",
            "The optimizer remembers no learning rate, or several: nothing can be said "
            "about the warmup's length or the peak.",
            "Put optax_warmup.scale_by_learning_rate(schedule) last in the chain that "
            "record_moments wraps.",
        )


def too_short(e: Evidence) -> Iterator[Advice]:
    """warmup-short."""
    row = e.peak_row
    if row is None or not e.history.corrected:
        return
    samples = e.history.effective_sample_size[row]
    ceiling = (1 + e.history.b2) / (1 - e.history.b2)
    settled = np.sqrt((1 - e.history.b1) / (1 + e.history.b1))
    update = e.history.overall["update_rms"][row]
    if samples > min(_FEW, 0.6 * ceiling) or not update > 1.5 * settled:
        return
    harm = list(_harm(e, row))
    if not harm and (e.overall("alignment") is not None or e.losses):
        return
    step = int(e.history.steps[row])
    signs = f"; {', and '.join(harm)}" if harm else ""
    yield Advice(
        "warmup-short",
        "warning" if harm else "note",
        f"The rate reached its peak of {number(e.peak)} at step {step:,}, when nu was "
        f"worth {samples:.0f} of {ceiling:,.0f} gradients (each nu_hat off by about "
        f"{share(e.history.relative_error[row])}) and the update's RMS was "
        f"{number(update)} (1 where all gradients agree, {number(settled)} in noise)"
        f"{signs}.",
        "Warm up longer."
        if harm
        else "If the loss rises after it, warm up longer; gradients=True shows more.",
        steps=(step,),
    )


def _harm(e: Evidence, row: int) -> Iterator[str]:
    """What went wrong in the 30 updates from the peak on."""
    peak = e.history.steps[row]
    after = e.at_peak & (e.history.steps <= peak + 30)
    moved = e.overall("update_to_weight")
    if moved is not None and moved[row] > 0.03:
        yield f"that update was {share(moved[row])} of the weights"
    alignment = e.overall("alignment")
    if alignment is not None and np.isfinite(alignment[after]).sum() >= 3:
        turn = mean(alignment[after])
        if turn < _TURNED:
            yield f"the gradient then turned against the step before ({turn:.2f})"
    before = [x for s, x in e.losses.items() if peak - 30 <= s <= peak]
    later = [x for s, x in e.losses.items() if peak < s <= peak + 30]
    if before and later:
        # Medians, as single batches differ by more than that.
        base, then = float(np.median(before)), float(np.median(later))
        if not then <= base + max(float(np.std(before)), 0.25 * abs(base)):
            yield f"the loss rose from {number(base)} to {number(then)}"


def too_long(e: Evidence) -> Iterator[Advice]:
    """warmup-long."""
    row, steps = e.peak_row, e.history.steps
    if row is None or steps[row] < max(100, 0.2 * steps[-1]):
        return
    ceiling = (1 + e.history.b2) / (1 - e.history.b2)
    ready = int(np.argmax(e.history.effective_sample_size >= 0.9 * ceiling))
    settled = e.history.effective_sample_size[ready] >= 0.9 * ceiling
    alignment, moved = e.overall("alignment"), e.overall("update_to_weight")
    if not settled or 4 * steps[ready] > steps[row] or alignment is None:
        return
    second_half = (steps >= steps[row] / 2) & (steps <= steps[row])
    agreed = mean(alignment[second_half])
    if agreed < 0.1 or moved is None or not moved[row] < 1e-3:
        return
    yield Advice(
        "warmup-long",
        "note",
        f"The warmup took {steps[row]:,} updates; nu had 90 % of its samples after "
        f"{steps[ready]:,}, new gradients agreed with the step before through its "
        f"second half (alignment {agreed:.2f}), and an update moved the weights by "
        f"{share(moved[row])} at most: nothing held the rate back.",
        "Try a shorter warmup, or a higher peak.",
        steps=(int(steps[row]),),
    )


def too_high(e: Evidence) -> Iterator[Advice]:
    """updates-large."""
    moved = e.overall("update_to_weight")
    rows = np.flatnonzero(e.at_peak)[:8]
    if moved is None or not len(rows) or not np.median(moved[rows]) > 0.01:
        return
    typical = float(np.median(moved[rows]))
    ratios = np.median(e.history.statistics["update_to_weight"][rows], axis=0)
    sizes = e.history.statistics["parameter_rms"][rows].min(axis=0)
    high = (ratios > 0.01) & (sizes > 1e-3)  # not those that begin at 0
    yield Advice(
        "updates-large",
        "warning" if typical > 0.03 else "note",
        f"At the peak rate of {number(e.peak)} an update was {share(typical)} of the "
        f"weights (RMS): they are rewritten within {1 / typical:,.0f} updates. Usual "
        f"is 0.1 %.",
        "Lower the peak, or reach it later." if typical > 0.03 else "",
        groups=e.names(high),
        steps=e.steps_of(rows),
    )


_OVERSHOOTS = (
    "If the loss has stopped falling, lower the peak; warming up longer lets the "
    "network move to where the loss is less curved."
)


def beyond_stability(e: Evidence) -> Iterator[Advice]:
    """beyond-stability: measured if it was, or else by its signs."""
    # Before momentum has its length the threshold, of a steady state, does not hold.
    settled = e.history.sharpness_steps * (1 - e.history.b1) >= 1
    over = settled & (e.edge > 1)
    if over.any():
        worst = int(np.argmax(np.where(over, e.edge, 0)))
        yield Advice(
            "beyond-stability",
            "warning",
            f"At step {e.history.sharpness_steps[worst]:,} the preconditioned "
            f"sharpness was {number(e.history.sharpness[worst])}, "
            f"{number(e.edge[worst])} times the most that the rate there allows; it "
            f"lay beyond the edge of stability at {over.sum()} of the "
            f"{settled.sum()} steps at which it was measured.",
            _OVERSHOOTS,
            steps=tuple(int(step) for step in e.history.sharpness_steps[over]),
        )
        return
    alignment = e.overall("alignment")
    if alignment is None:
        return
    rows = np.flatnonzero(e.at_peak & np.isfinite(alignment))
    if len(rows) < _WINDOW:
        return
    windows = np.lib.stride_tricks.sliding_window_view(alignment[rows], _WINDOW)
    over = (windows.mean(axis=1) < _OVERSHOT) & ((windows < 0).mean(axis=1) > 0.8)
    if not over.any():
        return
    first = int(np.argmax(over))
    rows = rows[first : len(over) - int(np.argmax(over[::-1])) + _WINDOW - 1]
    by_group = mean(e.history.statistics["alignment"][rows])
    turned = float(np.mean(alignment[rows] < 0))
    measured = (
        f" (Where the sharpness was measured, it was {share(np.max(e.edge[settled]))} "
        f"at most of what the rate allows.)"
        if np.isfinite(e.edge[settled]).any()
        else ""
    )
    yield Advice(
        "beyond-stability",
        "warning",
        f"From step {e.history.steps[rows[0]]:,} to {e.history.steps[rows[-1]]:,}, at "
        f"the peak rate of {number(e.peak)}, the gradient pointed against the step "
        f"before at {share(turned)} of {len(rows)} records "
        f"(alignment {np.mean(alignment[rows]):.2f}): the updates overshoot, which is "
        f"what a rate at or beyond the edge of stability looks like.{measured}",
        _OVERSHOOTS,
        groups=e.names(by_group < _OVERSHOT),
        steps=e.steps_of(rows),
    )


def cold_rmsprop(e: Evidence) -> Iterator[Advice]:
    """rmsprop-start."""
    if e.history.corrected or e.peak_row is None or e.history.steps[0] > 8:
        return
    # Without a bias correction an update is 1 / sqrt(1 - b2**n) too large.
    effective = e.history.learning_rate * e.history.noise_rms / e.peak
    worst = int(np.nanargmax(effective))
    if effective[worst] < 2:
        return
    above = effective > 1.5
    yield Advice(
        "rmsprop-start",
        "warning",
        f"rmsprop corrects no bias, and its nu starts at 0: with decay "
        f"{e.history.b2:g} the update of step {e.history.steps[worst]:,} was "
        f"{effective[worst]:.0f} times as large as its rate says, and those up to step "
        f"{e.history.steps[above][-1]:,} were half as large again or more.",
        f"Warm up over {2 / (1 - e.history.b2):,.0f} updates or more: a linear warmup "
        f"of 2 / (1 - decay) makes up for it.",
        steps=e.steps_of(above),
    )


def suggestion(e: Evidence, faults: set[str]) -> Iterator[Advice]:
    """suggested-warmup: only where others found fault (their codes) with the warmup."""
    weights = e.overall("parameter_rms")
    if not e.history.corrected or not faults & _LENGTHEN:
        return  # rmsprop-start says it for rmsprop
    if weights is None or not e.peak > 0:
        return
    size = float(weights[np.isfinite(weights)][0]) if np.isfinite(weights).any() else 0
    if not size > 0:
        return
    batch = 1.0 if e.batch_size is None else (e.batch_size / _BATCH) ** 0.5
    length = e.peak / (_SLOPE * size * batch)
    row = e.peak_row
    used = f" (this run took {e.history.steps[row]:,})" if row is not None else ""
    if row is not None and e.history.steps[row] >= length:
        return
    by_batch = (
        ""
        if e.batch_size is None
        else f", times the root of {e.batch_size} / {_BATCH} examples"
    )
    yield Advice(
        "suggested-warmup",
        "note",
        f"A linear warmup of about {_round(length):,} updates{used} would raise the "
        f"rate by {_SLOPE:g} of the weights' RMS ({number(size)}) an update{by_batch}: "
        f"the slope that did well on small transformers, and a place to start from, no "
        f"measurement of this run. The rule that knows b2 alone, 2 / (1 - b2), gives "
        f"{2 / (1 - e.history.b2):,.0f}.",
        "Try it; if the run is shorter than that, lower the peak instead.",
    )


_LENGTHEN = {"warmup-short", "beyond-stability", "updates-large", "update-spikes"}
_SLOPE, _BATCH = 5e-4, 12  # of the pilot runs, see docs/diagnostics.md


def _round(x: float) -> int:
    """Two digits: more would claim too much."""
    return int(float(f"{x:.1e}")) if x >= 10 else max(int(round(x)), 1)


RULES = (
    unknown,
    first_update,
    too_short,
    cold_rmsprop,
    beyond_stability,
    too_high,
    too_long,
)
