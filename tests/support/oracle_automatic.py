"""The automatic warmup in float64, one leaf after the other, without a sample.

Written from the formula in its docstring; nothing here comes from the package.
"""

import math

import numpy as np

START, FALL, LARGEST_GAIN, GAIN = 0.07, 0.95, 0.1, 8.0


def sum_of_sizes(updates, params, moves):
    """S: the sum over leaves of RMS(u) / max(RMS(p), floor), of what moves."""
    total = 0.0
    for u, p, m in zip(updates, params, moves, strict=True):
        if not m.any():
            continue
        floor = 1 / math.sqrt(p.size / p.shape[-1]) if p.ndim > 1 else 1.0
        rms = [math.sqrt(np.mean(x[m] ** 2)) for x in (u, p)]
        total += rms[0] / max(rms[1], floor)
    return total


def cosine(gradients, moved):
    """Between the descent and the last move, of the coordinates that moved."""
    g = np.concatenate(
        [np.where(m != 0, g, 0).ravel() for g, m in zip(gradients, moved, strict=True)]
    )
    m = np.concatenate([m.ravel() for m in moved])
    return -(g @ m) / math.sqrt((g @ g) * (m @ m))


def factors(
    inner, gradients_at, params, steps, *, start=START, momentum=0.0, feedback=False
):
    """Yields factor, coherence and parameters after each update.

    `inner(gradients, params)` is the wrapped optimizer's update, `gradients_at(params,
    step)` the gradients: all of them lists of float64 arrays. `momentum` is the decay
    of one that adds gradients up.
    """
    params = [np.asarray(p, np.float64) for p in params]
    before, factor, largest, norm, known = None, 0.0, 0.0, 0.0, 0.0
    for t in range(steps):
        gradients = gradients_at(params, t)
        updates = inner(gradients, params)
        if t == 0:
            moves = [
                (g != 0) & (u != 0) for g, u in zip(gradients, updates, strict=True)
            ]
            largest = sum_of_sizes(updates, params, moves) / (1 - momentum)
            factor = min(1.0, start / largest)
        else:
            moved = [p - q for p, q in zip(params, before, strict=True)]
            size = sum_of_sizes(moved, params, [m != 0 for m in moved]) / factor
            if t < 2 / (1 - max(momentum, 0.9)) - 1e-9:
                largest = max(largest, size / (1 - momentum**t))
            known = cosine(gradients, moved)
            old, norm = norm, math.sqrt(sum((g**2).sum() for g in gradients))
            gain = min(LARGEST_GAIN, GAIN / (t + 1))
            if known < -0.5 and old > 0 and norm > 1.2 * old:
                factor /= 2
            else:
                factor *= math.exp(gain if known > 0 else -FALL * gain)
            limit = min(1.0, start * math.sqrt(t + 1) / largest)
            factor = min(factor, limit) if feedback else limit
        before = params
        params = [p + factor * u for p, u in zip(params, updates, strict=True)]
        yield factor, known, params
