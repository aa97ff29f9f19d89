"""Rules about the warmup: how it begins, and whether it is too short or too long.

b2 does not determine whether a warmup is long enough: the best length is about the same
for 0.95 and for 0.999, and grows with the peak rate. So a young nu is only a reason to
look for a sign of harm.
"""

from collections.abc import Iterator

import numpy as np

from optax_warmup._drawing.numbers import number, percent
from optax_warmup.diagnostics._advice import Advice
from optax_warmup.diagnostics._evidence import Evidence, mean
from optax_warmup.diagnostics._rules.suggestion import WARMUP_SHARE

_FEW = 22  # the effective sample size at which the standard error of nu_hat is 30%
_REVERSED = -0.2  # a mean alignment right after a short warmup that shows harm
_AFTER = 30  # updates from the peak on in which harm is looked for


def first_update_zero(e: Evidence) -> Iterator[Advice]:
    """first-update-zero."""
    rates, steps = e.history.learning_rate, e.history.steps
    zero = rates == 0
    if zero.all():
        yield Advice(
            "first-update-zero",
            "problem",
            f"The learning rate was 0 at all {len(steps)} recorded steps: nothing was "
            f"learned.",
            "Check the schedule. optax.linear_schedule, for one, stays at its initial "
            "value if transition_steps is 0.",
            steps=e.steps_of(zero),
        )
    elif steps[0] == 0 and zero[0]:
        wasted = int(np.argmin(zero))
        what = "The first update" if wasted == 1 else f"The first {wasted} updates"
        yield Advice(
            "first-update-zero",
            "note",
            f"{what} had learning rate 0 and changed no weight.",
            "Build the warmup with offset=1 to start one step up the ramp.",
            steps=e.steps_of(zero),
        )


def too_short(e: Evidence) -> Iterator[Advice]:
    """warmup-short."""
    row = e.peak_row
    if row is None or not e.history.corrected:
        return
    samples = e.history.effective_sample_size[row]
    in_noise = np.sqrt((1 - e.history.b1) / (1 + e.history.b1))
    update = e.history.overall["update_rms"][row]
    if samples > min(_FEW, 0.6 * e.most_samples) or not update > 1.5 * in_noise:
        return
    harm = list(signs_of_harm(e, row))
    if not harm and (e.overall("alignment") is not None or e.losses):
        return
    step = int(e.history.steps[row])
    signs = f" Signs of harm: {'; '.join(harm)}." if harm else ""
    yield Advice(
        "warmup-short",
        "warning" if harm else "note",
        f"The learning rate reached its peak of {number(e.peak)} at step {step:,}, "
        f"when nu averaged only {samples:.0f} of at most {e.most_samples:,.0f} "
        f"effective gradients (standard error "
        f"{percent(e.history.relative_error[row])}) and the RMS of the update was "
        f"{number(update)} before the learning rate ({number(in_noise)} in pure noise, "
        f"1 if all gradients agree).{signs}",
        "Warm up longer." if harm else "If the loss rises afterwards, warm up longer.",
        steps=(step,),
    )


def signs_of_harm(e: Evidence, row: int) -> Iterator[str]:
    """Yields what went wrong in the updates from a row on, in words."""
    peak = e.history.steps[row]
    after = e.at_peak & (e.history.steps <= peak + _AFTER)
    moved = e.overall("update_to_weight")
    if moved is not None and moved[row] > 0.03:
        if np.isfinite(moved[row]):
            yield f"that update was {percent(moved[row])} of the weights (RMS)"
        else:
            yield "that update started from weights that were all zero"
    alignment = e.overall("alignment")
    if alignment is not None and np.isfinite(alignment[after]).sum() >= 3:
        turn = float(mean(alignment[after]))
        if turn < _REVERSED:
            yield f"then gradients opposed the step before (alignment {turn:.2f})"
    before = [x for s, x in e.losses.items() if peak - _AFTER <= s <= peak]
    later = [x for s, x in e.losses.items() if peak < s <= peak + _AFTER]
    if before and later:
        # Medians, because the losses of single batches are noisy.
        base, then = float(np.median(before)), float(np.median(later))
        if not then <= base + max(float(np.std(before)), 0.25 * abs(base)):
            yield f"the median loss rose from {number(base)} to {number(then)}"


def too_long(e: Evidence) -> Iterator[Advice]:
    """warmup-long."""
    row, steps = e.peak_row, e.history.steps
    if row is None or steps[row] < max(100, 0.2 * steps[-1]):
        return
    settled = e.history.effective_sample_size >= 0.9 * e.most_samples
    ready = int(np.argmax(settled))
    alignment, moved = e.overall("alignment"), e.overall("update_to_weight")
    if not settled[ready] or 4 * steps[ready] > steps[row] or alignment is None:
        return
    second_half = (steps >= steps[row] / 2) & (steps <= steps[row])
    agreed = float(mean(alignment[second_half]))
    if agreed < 0.1 or moved is None or not moved[row] < 1e-3:
        return
    yield Advice(
        "warmup-long",
        "note",
        f"The warmup took {steps[row]:,} updates. The effective sample size of nu was "
        f"at 90% of its maximum after {steps[ready]:,}, gradients agreed with the step "
        f"before all through the second half (alignment {agreed:.2f}), and an update "
        f"changed the weights by {percent(moved[row])} at most: nothing called for "
        f"such a long warmup.",
        "Try a shorter warmup, or a higher peak rate.",
        steps=(int(steps[row]),),
    )


def rmsprop_start(e: Evidence) -> Iterator[Advice]:
    """rmsprop-start."""
    if e.history.corrected or e.peak_row is None or e.history.steps[0] > 8:
        return
    # Without bias correction an update is too large by 1 / sqrt(1 - b2**n).
    effective = e.history.learning_rate * e.history.noise_rms / e.peak
    worst = int(np.nanargmax(effective))
    if effective[worst] < 2:
        return
    above = effective > 1.5
    length = 2 / (1 - e.history.b2)
    fits = length <= WARMUP_SHARE * e.updates
    yield Advice(
        "rmsprop-start",
        "warning",
        f"rmsprop does not correct the bias of nu, which starts at 0. With decay "
        f"{e.history.b2:g} the update of step {e.history.steps[worst]:,} was "
        f"{effective[worst]:.0f} times as large as its learning rate says, and up to "
        f"step {e.history.steps[above][-1]:,} updates were at least 1.5 times as "
        f"large.",
        "Pass bias_correction=True"
        + (f", or warm up over at least {length:,.0f} updates." if fits else "."),
        steps=e.steps_of(above),
    )


RULES = (first_update_zero, too_short, rmsprop_start, too_long)
