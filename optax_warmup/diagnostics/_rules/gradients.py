"""Rules about gradients: spikes, gradients that vanish or explode, and broken ones."""

from collections.abc import Callable, Iterator

import numpy as np

from optax_warmup.diagnostics._evidence import Advice, Evidence, listed
from optax_warmup.diagnostics._text import number

# A gradient that is suddenly so many times as large as nu remembers. For b2 near 1 it
# is the lag of 2.3 that Wortsman et al. 2023 (arXiv:2304.13013) call a spike.
_JUMP = 2.3
_SOON = 8  # updates within which the loss follows, as they found


def alarm(b2: float, count: np.ndarray) -> np.ndarray:
    """The lag of a gradient that is `_JUMP` times as large, after `count` updates.

    nu_hat holds the new gradient too, with weight w = (1 - b2) / (1 - b2**count), so
    lag = k / sqrt(1 + w * (k**2 - 1)) for a k-fold gradient; 1 / sqrt(w) at most.
    """
    weight = (1 - b2) / (1 - b2**count)
    return _JUMP / np.sqrt(1 + weight * (_JUMP**2 - 1))


def spikes(e: Evidence) -> Iterator[Advice]:
    """update-spikes."""
    history = e.history
    excess, value = (
        _lag(e) if e.by_group("normalized_gradient_rms") is not None else _growth(e)
    )
    # The lag of a few coordinates scatters by itself, as chi / sqrt(size) does.
    allowed = 1 + 4 / np.sqrt(2 * np.maximum(history.sampled, 1))
    # What happens at a rate that is still near 0 does no harm.
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
    more = f" and of {len(followed) - 1} more" if followed[1:] else ""
    if followed:
        severity = "problem"
        outcome = (
            f" The loss followed within {_SOON} updates of step {followed[0]:,}{more}."
        )
    else:
        severity = "note" if e.losses else "warning"
        outcome = " The loss did not follow." if e.losses else ""
    when = f"at {len(steps)} recorded steps, the first {steps[0]:,}"
    when = when if len(steps) > 1 else f"at step {steps[0]:,}"
    yield Advice(
        "update-spikes",
        severity,
        f"Gradients outgrew nu {when}, in {listed(names)}: "
        f"{value(int(row), int(group))}, so the update was too large.{outcome}",
        "Lower b2 so that nu follows sooner, clip the gradients, lower the peak or "
        "warm up longer."
        if severity != "note"
        else "",
        groups=names,
        steps=steps,
    )


def _lag(e: Evidence) -> tuple[np.ndarray, Callable[[int, int], str]]:
    """How far the lag lies above its alarm, and how to say it."""
    history = e.history
    count = history.steps + 1
    expected = np.ones(len(count)) if history.corrected else history.noise_rms
    lag = history.statistics["normalized_gradient_rms"] / expected[:, None]
    limit = alarm(history.b2, count)
    lag = np.where((count >= 3)[:, None], lag, 0)

    def say(row: int, group: int) -> str:
        return (
            f"lag {number(lag[row, group])} in {history.groups[group]} at step "
            f"{history.steps[row]:,} (alarm at {number(limit[row])} for b2 = "
            f"{history.b2:g})"
        )

    return np.nan_to_num(lag / limit[:, None], posinf=0), say


def _growth(e: Evidence) -> tuple[np.ndarray, Callable[[int, int], str]]:
    """The same without recorded gradients: their RMS between rows follows from nu."""
    history = e.history
    old = np.roll(e.nu_sum, 1, axis=0)
    fade = e.fade[:, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        since = (e.nu_sum - fade * old) / (1 - fade)
        bias = history.bias_correction if history.corrected else np.ones(len(fade))
        ratio = np.sqrt(np.maximum(since, 0) * np.roll(bias, 1)[:, None] / old)
    known = np.roll(history.effective_sample_size, 1) >= 4
    known[0] = False
    ratio = np.where(known[:, None] & np.isfinite(ratio), ratio, 0)

    def say(row: int, group: int) -> str:
        return (
            f"{number(ratio[row, group])} times as large as nu held in "
            f"{history.groups[group]} up to step {history.steps[row]:,} (alarm at "
            f"{_JUMP})"
        )

    return ratio / _JUMP, say


def _sizes(e: Evidence) -> np.ndarray:
    """The gradients' RMS, or what nu says of it, shape (T, G)."""
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
            f"{listed(e.names(dead))} got no gradient at all in the recorded steps "
            f"from {e.history.steps[len(e.history.steps) // 3]:,} on.",
            "If they are not frozen on purpose, look for a stop_gradient or a part of "
            "the network that is not used.",
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
        f"The gradients of {listed(e.names(faint))} vanish: RMS {number(level[least])} "
        f"in {e.history.groups[least]}, {number(largest)} in {most}.",
        "Adam still takes full steps there, along noise. Look at the initialisation, "
        "the activations and the residual paths before them.",
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
    # Not a layer whose gradients had vanished and come back.
    hit = (growth > 30) & (before > 0) & np.isfinite(now) & (now > 0.01 * now.max())
    if not hit.any():
        return
    worst = int(np.argmax(np.where(hit, growth, 0)))
    yield Advice(
        "gradients-explode",
        "problem",
        f"The gradients of {listed(e.names(hit))} explode: in "
        f"{e.history.groups[worst]} they are now {number(now[worst])} (RMS), "
        f"{number(growth[worst])} times their usual size in this run.",
        "Look at the loss; lower the peak, warm up longer, clip the gradients, or find "
        "what makes the activations grow.",
        groups=e.names(hit),
        steps=e.steps_of(slice(-5, None)),
    )


def not_finite(e: Evidence) -> Iterator[Advice]:
    """not-finite."""
    moments = e.history.statistics["nonfinite"] > 0
    recorded = e.by_group("gradient_nonfinite")
    gradients = np.zeros_like(moments) if recorded is None else recorded > 0
    hit = moments if moments.any() else gradients
    if not hit.any():
        return
    rows, names = hit.any(axis=1), e.names(hit.any(axis=0))
    first = f"{e.history.steps[int(np.argmax(rows))]:,}"
    if moments.any():
        yield Advice(
            "not-finite",
            "problem",
            f"nu holds NaN or infinity in {listed(names)} since step {first} or "
            f"shortly before: it never recovers, and NaN spreads to the weights.",
            "Restart from a checkpoint before it. optax.apply_if_finite around the "
            "whole optimizer skips such gradients.",
            groups=names,
            steps=e.steps_of(rows),
        )
    else:
        yield Advice(
            "not-finite",
            "warning",
            f"Gradients of {listed(names)} were NaN or infinite at {rows.sum()} "
            f"recorded steps, the first {first}; they did not reach nu.",
            "Find the batch or the operation that makes them.",
            groups=names,
            steps=e.steps_of(rows),
        )


RULES = (not_finite, spikes, exploding, vanishing)
