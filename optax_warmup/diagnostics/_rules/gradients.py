"""Rules about gradients that jump, vanish, explode or are not finite."""

from collections.abc import Callable, Iterator

import numpy as np

from optax_warmup._drawing.numbers import number
from optax_warmup.diagnostics._advice import Advice
from optax_warmup.diagnostics._evidence import Evidence, join_names

# A spike is a gradient that is suddenly this many times as large as nu knows. For b2
# near 1 its normalized RMS is the 2.3 of Wortsman et al. 2023 (arXiv:2304.13013).
_JUMP = 2.3
_SOON = 8  # updates within which the loss followed, in their runs


def spike_threshold(b2: float, count: np.ndarray) -> np.ndarray:
    """Returns the normalized RMS of a gradient that jumps to `_JUMP` times its size.

    nu_hat contains the new gradient with weight w = (1 - b2) / (1 - b2**count), so a
    k-fold gradient has k / sqrt(1 + w * (k**2 - 1)), which is at most 1 / sqrt(w).
    """
    weight = (1 - b2) / (1 - b2**count)
    threshold: np.ndarray = _JUMP / np.sqrt(1 + weight * (_JUMP**2 - 1))
    return threshold


def spikes(e: Evidence) -> Iterator[Advice]:
    """update-spikes."""
    history = e.history
    excess, value = (
        _from_gradients(e)
        if e.overall("normalized_gradient_rms") is not None
        else _from_moments(e)
    )
    # Over a few coordinates it is noisy, as chi / sqrt(size) is.
    allowed = 1 + 4 / np.sqrt(2 * np.maximum(history.sampled, 1))
    # A spike at a rate that is still near 0 does no harm.
    rate = history.learning_rate
    matters = np.isnan(rate) | (rate >= 0.1 * e.peak)
    hit = (excess > allowed) & matters[:, None]
    if not hit.any():
        return
    rows = hit.any(axis=1)
    worst = np.where(hit, excess, 0)
    row, group = np.unravel_index(np.argmax(worst), hit.shape)
    order = np.argsort(-worst.max(axis=0), kind="stable")
    names = tuple(history.groups[g] for g in order if hit[:, g].any())
    steps = e.steps_of(rows)
    followed = [s for s in steps if any(s < x <= s + _SOON for x in e.loss_spikes)]
    more = f" and after {len(followed) - 1} others" if followed[1:] else ""
    if followed:
        severity = "problem"
        outcome = (
            f" The loss spiked within {_SOON} updates after step {followed[0]:,}{more}."
        )
    else:
        severity = "note" if e.losses else "warning"
        outcome = " The loss did not spike." if e.losses else ""
    when = f"at step {steps[0]:,}"
    if len(steps) > 1:
        when = f"at {len(steps)} recorded steps, from step {steps[0]:,} on"
    yield Advice(
        "update-spikes",
        severity,
        f"Gradients grew faster than nu followed {when}, in {join_names(names)}: "
        f"{value(int(row), int(group))}, so the updates were too large.{outcome}",
        "Lower b2 so that nu follows faster, clip the gradients, lower the peak rate, "
        "or warm up longer."
        if severity != "note"
        else "",
        groups=names,
        steps=steps,
    )


def _from_gradients(e: Evidence) -> tuple[np.ndarray, Callable[[int, int], str]]:
    """Returns the normalized gradient RMS over its threshold, and how to say it."""
    history = e.history
    count = history.steps + 1
    expected = np.ones(len(count)) if history.corrected else history.noise_rms
    values = history.statistics["normalized_gradient_rms"] / expected[:, None]
    limit = spike_threshold(history.b2, count)
    values = np.where((count >= 3)[:, None], values, 0)

    def say(row: int, group: int) -> str:
        return (
            f"the normalized gradient RMS was {number(values[row, group])} in "
            f"{history.groups[group]} at step {history.steps[row]:,} (a spike is above "
            f"{number(limit[row])} for b2 = {history.b2:g})"
        )

    return np.nan_to_num(values / limit[:, None], posinf=0), say


def _from_moments(e: Evidence) -> tuple[np.ndarray, Callable[[int, int], str]]:
    """The same without recorded gradients: nu tells their RMS since the row before."""
    history = e.history
    old = np.roll(e.nu_sum, 1, axis=0)
    decay = e.decay[:, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        since = (e.nu_sum - decay * old) / (1 - decay)
        bias = history.bias_correction if history.corrected else np.ones(len(decay))
        ratio = np.sqrt(np.maximum(since, 0) * np.roll(bias, 1)[:, None] / old)
    known = np.roll(history.effective_sample_size, 1) >= 4
    known[0] = False
    ratio = np.where(known[:, None] & np.isfinite(ratio), ratio, 0)

    def say(row: int, group: int) -> str:
        return (
            f"they were {number(ratio[row, group])} times as large as nu knew in "
            f"{history.groups[group]} up to step {history.steps[row]:,} (a spike is "
            f"above {_JUMP})"
        )

    return ratio / _JUMP, say


def _sizes(e: Evidence) -> np.ndarray:
    """Returns the RMS of the gradients, or what nu says about it, shape (T, G)."""
    recorded = e.by_group("gradient_rms")
    return e.history.statistics["nu_hat_rms"] if recorded is None else recorded


def vanishing(e: Evidence) -> Iterator[Advice]:
    """gradients-vanish."""
    late = _sizes(e)[len(e.history.steps) // 3 :]
    some = e.history.sizes > 0
    if len(late) < 5 or not some.any() or not np.isfinite(late[:, some]).all():
        return
    level = np.where(some, np.median(late, axis=0), np.nan)
    largest = np.nanmax(level)
    dead = some & (late == 0).all(axis=0)
    if dead.any():
        yield Advice(
            "gradients-vanish",
            "note" if largest > 0 else "problem",
            f"{join_names(e.names(dead))} got no gradient at all from step "
            f"{e.history.steps[len(e.history.steps) // 3]:,} on.",
            "If that is not on purpose, look for a stop_gradient, or a part of the "
            "network that is not used.",
            groups=e.names(dead),
        )
    faint = some & ~dead & (level < 1e-4 * largest)
    if not faint.any():
        return
    weight = e.history.sizes[faint].sum() / e.history.sizes.sum()
    least = int(np.nanargmin(np.where(faint, level, np.nan)))
    most = e.history.groups[int(np.nanargmax(level))]
    yield Advice(
        "gradients-vanish",
        # A few coordinates, such as the biases of attention's keys, may have none.
        "warning" if weight > 0.01 else "note",
        f"The gradients of {join_names(e.names(faint))} vanish: their RMS is "
        f"{number(level[least])} in {e.history.groups[least]} and {number(largest)} in "
        f"{most}.",
        "Adam still takes full steps there, mostly along noise. Look at the "
        "initialization, the activations and the residual connections.",
        groups=e.names(faint),
    )


def exploding(e: Evidence) -> Iterator[Advice]:
    """gradients-explode."""
    sizes = _sizes(e)
    if len(sizes) < 15:
        return
    sizes = np.where(np.isfinite(sizes), sizes, np.inf)
    before, now = np.median(sizes, axis=0), np.median(sizes[-5:], axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        growth = now / before
    # A layer whose gradients had vanished and came back does not count.
    hit = (growth > 30) & (before > 0) & np.isfinite(now) & (now > 0.01 * now.max())
    if not hit.any():
        return
    worst = int(np.argmax(np.where(hit, growth, 0)))
    yield Advice(
        "gradients-explode",
        "problem",
        f"The gradients of {join_names(e.names(hit))} explode: in "
        f"{e.history.groups[worst]} they are now {number(now[worst])} (RMS), "
        f"{number(growth[worst])} times their usual size in this run.",
        "Look at the loss. Lower the peak rate, warm up longer, clip the gradients, or "
        "find out why the activations grow.",
        groups=e.names(hit),
        steps=e.steps_of(slice(-5, None)),
    )


def not_finite(e: Evidence) -> Iterator[Advice]:
    """not-finite."""
    hit = e.history.statistics["nonfinite"] > 0
    skipped = e.history.scalars.get("skipped", np.zeros(len(hit)))
    if hit.any():
        rows, names = np.any(hit, axis=1), e.names(np.any(hit, axis=0))
        first = f"{e.history.steps[int(np.argmax(rows))]:,}"
        yield Advice(
            "not-finite",
            "problem",
            f"nu holds NaN or infinity in {join_names(names)} since step {first} or "
            f"shortly before. It never recovers, and NaN spreads to the weights.",
            "Restart from an earlier checkpoint, with optax_warmup.skip_nonfinite "
            "around the whole optimizer: it skips such gradients.",
            groups=names,
            steps=e.steps_of(rows),
        )
    elif skipped.any():
        rows = np.diff(skipped, prepend=0) > 0
        first = f"{e.history.steps[int(np.argmax(rows))]:,}"
        yield Advice(
            "not-finite",
            "warning",
            f"{skipped[-1]:,.0f} updates were skipped, as their gradients were NaN or "
            f"infinite; the first were seen at the record of step {first}. They did "
            "not reach nu.",
            "Find the batch or the operation that produces them.",
            steps=e.steps_of(rows),
        )


def skipped_spikes(e: Evidence) -> Iterator[Advice]:
    """spikes-skipped."""
    skipped = e.history.scalars.get("skipped_spikes", np.zeros(1))
    if not skipped.any():
        return
    rows = np.diff(skipped, prepend=0) > 0
    first = f"{e.history.steps[int(np.argmax(rows))]:,}"
    many = skipped[-1] > 0.01 * e.updates
    yield Advice(
        "spikes-skipped",
        "warning" if many else "note",
        f"{skipped[-1]:,.0f} updates were skipped, as their loss or gradient norm "
        f"jumped up; the first were seen at the record of step {first}.",
        "Lower the peak rate or warm up longer, or increase threshold." if many else "",
        steps=e.steps_of(rows),
    )


RULES = (not_finite, skipped_spikes, spikes, exploding, vanishing)
