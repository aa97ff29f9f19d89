"""Rules about nu: its constants, its precision, and eps beside it."""

from collections.abc import Iterator

import jax.numpy as jnp
import numpy as np

from optax_warmup._drawing.numbers import number, percent, two_digits
from optax_warmup.diagnostics._advice import Advice
from optax_warmup.diagnostics._evidence import Evidence, join_names


def other_constants(e: Evidence) -> Iterator[Advice]:
    """constants-differ: after one update mu_hat**2 = nu_hat, whatever the gradient."""
    if e.history.steps[0] != 0:
        return
    b1, b2 = e.history.b1, e.history.b2
    snr = e.history.overall["snr"][0]
    if not e.history.corrected:
        snr *= 1 - b2
    if not np.isfinite(snr) or snr == 0 or abs(snr - 1) < 0.03:
        return
    if b1 > 0 and abs(snr * b1**2 - 1) < 0.03:  # adabelief: nu is about mu
        return
    true_b2 = 1 - (1 - b2) / snr
    guess = f"; with that b1, b2 would be {true_b2:.4g}" if 0 < true_b2 < 1 else ""
    yield Advice(
        "constants-differ",
        "problem",
        f"The moments of the first update do not match b1 = {b1:g} and b2 = {b2:g}: "
        f"mean(mu_hat**2) / mean(nu_hat) is {number(snr)} and should be 1{guess}. The "
        f"other statistics are wrong by a similar factor.",
        "Pass record_moments the b1 and b2 of the optimizer that it wraps. (An "
        "optimizer whose nu does not start at 0, such as yogi, shows this too.)",
        steps=(0,),
    )


def eps(e: Evidence) -> Iterator[Advice]:
    """eps-dominates."""
    late = slice(len(e.history.steps) // 2, None)
    dominated = np.median(e.history.statistics["eps_dominated"][late], axis=0)
    size = np.median(e.history.statistics["nu_hat_rms"][late], axis=0)
    # Where no gradient ever came eps does no harm, so look at the size of the others.
    hit = (dominated >= 0.1) & (size > 0) & (size < 10 * e.history.eps)
    if hit.any():
        worst = int(np.argmax(np.where(hit, dominated, 0)))
        yield Advice(
            "eps-dominates",
            "warning",
            f"eps = {e.history.eps:g} rather than the gradient sets the step size in "
            f"{join_names(e.names(hit))}: sqrt(nu_hat) is below eps in "
            f"{percent(dominated[worst])} of the coordinates of "
            f"{e.history.groups[worst]} (RMS {number(size[worst])}).",
            "Lower eps, or scale the loss up.",
            groups=e.names(hit),
        )
    idle = (dominated >= 0.1) & (size > 0) & ~hit
    if idle.any():
        worst = int(np.argmax(np.where(idle, dominated, 0)))
        yield Advice(
            "eps-dominates",
            "note",
            f"sqrt(nu_hat) is below eps in {percent(dominated[worst])} of the "
            f"coordinates of {e.history.groups[worst]} and far above it in the others: "
            f"most likely they never get a gradient (unseen tokens, dead units).",
            groups=e.names(idle),
        )


_MORE_BITS = "Store the second moments in float32, or lower b2 to 0.95."


def _least_fall(dtype: str) -> float:
    """Returns the smallest relative decrease that a dtype can represent at all."""
    if not dtype:
        return 0.0
    return float(jnp.finfo(dtype).eps) / 4


def frozen(e: Evidence) -> Iterator[Advice]:
    """moments-frozen: observed, or certain from the dtype of nu."""
    # A decrease by less than a quarter of eps is rounded away whatever the mantissa.
    least = np.array([_least_fall(dtype) for dtype in e.history.dtypes])
    certain = (1 - e.history.b2 < least) & (e.history.sizes > 0)
    nu = e.nu_sum
    with np.errstate(divide="ignore", invalid="ignore"):
        still = np.abs(nu[1:] / nu[:-1] - 1) < 1e-6
    still &= (nu[1:] > 0) & certain
    ratio = e.by_group("gradient_to_nu_ratio")
    if ratio is not None:
        # A nu that equals the squared gradient has no reason to change.
        still &= ~(np.abs(ratio[1:] - 1) < 0.1)
    hit, begin = np.zeros(nu.shape[1], bool), {}
    for group in range(nu.shape[1]):
        stretch = _longest(still[:, group])
        rows = stretch.stop - stretch.start
        updates = e.gaps[1:][stretch].sum()
        # Without gradients nu would have lost a quarter over these updates.
        if rows >= 6 and e.history.b2**updates < 0.75:
            hit[group], begin[group] = True, (stretch.start, updates)
    if certain.any() and not hit.any():
        group = int(np.argmax(certain))
        yield Advice(
            "moments-frozen",
            "warning",
            f"nu of {join_names(e.names(certain))} is stored in "
            f"{e.history.dtypes[group]}. With b2 = {e.history.b2:g} it can increase "
            f"but never decrease: a decrease of {percent(1 - e.history.b2)} or less "
            f"an update is rounded away.",
            _MORE_BITS,
            groups=e.names(certain),
        )
    if not hit.any():
        return
    worst = max(begin, key=lambda group: begin[group][1])
    row, updates = begin[worst]
    seen = ""
    if ratio is not None:
        gradient = np.sqrt(np.median(ratio[row + 1 :, worst]))
        seen = f", while the gradients' RMS was {number(gradient)} times sqrt(nu_hat)"
    yield Advice(
        "moments-frozen",
        "problem",
        f"nu of {join_names(e.names(hit))} did not change in a single bit for "
        f"{updates:,} updates from step {e.history.steps[row]:,} on{seen}. It is "
        f"stored in {e.history.dtypes[worst]}, in which it can never decrease with "
        f"b2 = {e.history.b2:g}.",
        _MORE_BITS,
        groups=e.names(hit),
        steps=e.steps_of(slice(row, None)),
    )


def huge_gradient(e: Evidence) -> Iterator[Advice]:
    """huge-gradient."""
    history = e.history
    sizes = np.maximum(history.sizes, 1)
    top, tops = e.nu_max, np.sqrt(e.nu_max)
    with np.errstate(divide="ignore", invalid="ignore"):
        # The size of the other coordinates: their mean root, which the sums resolve
        # better, or their RMS, which a few large ones dominate.
        roots = np.maximum(e.root_sum - tops, 0) / np.maximum(sizes - 1, 1)
        others = np.sqrt(np.maximum(e.nu_sum - top, 0) / np.maximum(sizes - 1, 1))
        others = np.maximum(roots, others)
        # The largest decays by b2 alone.
        falls = np.log(top[1:] / top[:-1]) / np.log(e.decay[1:])[:, None]
        fading = (np.abs(falls - 1) < 0.05) & (tops[:-1] > 100 * others[:-1])
    fading &= (history.sizes > 1) & (roots[1:] > 0)
    hit, worst = np.zeros(len(sizes), bool), None
    for group in range(len(sizes)):
        stretch = _longest(fading[:, group])
        first, last = stretch.start, stretch.stop
        if last - first < 4:
            continue
        left = top[last, group] / top[first, group]
        kept = roots[last, group] / roots[first, group]
        if left > 0.9 or kept < left**0.25:
            continue  # too short to tell, or the others decay as well
        hit[group] = True
        times = tops[first, group] / others[first, group]
        if worst is None or times > worst[0]:
            worst = times, group, first, last
    if worst is None:
        return
    times, group, first, last = worst
    updates = np.log(times**2) / (1 - history.b2)
    yield Advice(
        "huge-gradient",
        "warning",
        f"One huge gradient stalled a part of {join_names(e.names(hit))}: at step "
        f"{history.steps[first]:,} the largest sqrt(nu_hat) of {history.groups[group]} "
        f"was {number(times)} times that of the other coordinates. It has only decayed "
        f"by b2 since, so no gradient of that size came again. The updates of that "
        f"coordinate are too small by the same factor, for about "
        f"{two_digits(updates):,} updates.",
        "Clip the gradients (before Adam), and look for the batch that produced it.",
        groups=e.names(hit),
        steps=(int(history.steps[first]), int(history.steps[last])),
    )


def _longest(flags: np.ndarray) -> slice:
    """Returns the longest run of true flags."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(int), [0]])))
    starts, stops = edges[::2], edges[1::2]
    if not len(starts):
        return slice(0, 0)
    best = int(np.argmax(stops - starts))
    return slice(int(starts[best]), int(stops[best]))


RULES = (other_constants, frozen, huge_gradient, eps)
