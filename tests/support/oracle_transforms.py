"""The transforms in float64, one coordinate or one loss after the other.

Written from the formulas; nothing here comes from the package.
"""

import math

import numpy as np

LARGEST = float(np.finfo(np.float32).max)


def adam(
    gradients, b1=0.9, b2=0.999, eps=1e-8, *, seeded=False, theta=None, threshold=None
):
    """Adam's updates for one parameter, step by step, and RMS of g / sqrt(nu_hat)."""
    updates, rms = [], []
    mu = np.zeros_like(gradients[0], np.float64)
    nu = np.zeros_like(mu)
    for n, gradient in enumerate(gradients, start=1):
        g = np.asarray(gradient, np.float64)
        if seeded and n == 1:
            nu = g**2
        if theta is not None:
            g = within(g, nu / (1 - b2 ** (n - 1)) if n > 1 else nu, theta)
        mu = b1 * mu + (1 - b1) * g
        nu = b2 * nu + (1 - b2) * g**2
        nu_hat = nu / (1 - b2**n)
        update = mu / (1 - b1**n) / (np.sqrt(nu_hat) + eps)
        ratio = math.sqrt((g**2 / np.maximum(nu_hat, eps**2)).mean())
        if threshold is not None:
            update = update / max(1, ratio / threshold)
        updates.append(update)
        rms.append(ratio)
    return np.array(updates), np.array(rms)


def within(g, nu_hat, theta):
    """Each coordinate of g within its bound."""
    usual = nu_hat.mean()
    clipped = np.array(g)
    for index in np.ndindex(g.shape):
        limit = math.sqrt(LARGEST) / 2
        if usual > 0:
            limit = min(limit, math.sqrt(theta * max(nu_hat[index], usual)))
        clipped[index] = math.copysign(min(abs(g[index]), limit), g[index])
    return clipped


def spikes(losses, threshold, decay):
    """The steps at which a loss is a spike, and the last mean and variance.

    The mean has explicit weights: of the first 1 / (1 - decay) losses all the same,
    from then on a share of 1 - decay for each new one.
    """
    found, seen, mean, variance = [], [], 0.0, 0.0
    for step, loss in enumerate(losses):
        if not math.isfinite(loss):
            continue
        old_enough = len(seen) >= 1 / (1 - decay) - 1e-9
        if old_enough and loss > mean + threshold * math.sqrt(variance):
            found.append(step)
            seen, mean, variance = [], 0.0, 0.0
            continue
        seen.append(loss)
        weights = np.ones(1)
        for k in range(1, len(seen)):
            share = max(1 - decay, 1 / (k + 1))
            weights = np.append(weights * (1 - share), share)
        mean = float(weights @ seen)
        variance = float(weights @ (np.array(seen) - mean) ** 2)
    return found, mean, variance


def plateau_scales(
    losses, factor, patience, rtol, atol, warmup_steps, cooldown, size, min_scale
):
    """The scale of each update."""
    scale, best, bad, rest, window, scales = 1.0, math.inf, 0, 0, [], []
    for step, loss in enumerate(losses):
        if step >= warmup_steps and math.isfinite(loss):
            window.append(loss)
        if len(window) == size:
            mean, window = sum(window) / size, []
            margin = 0 if best == math.inf else rtol * abs(best) + atol
            if mean < best - margin:
                best, bad = mean, 0
            elif not rest:
                bad += 1
            if rest:
                rest, bad = rest - 1, 0
            elif bad >= patience:
                scale, bad, rest = max(scale * factor, min_scale), 0, cooldown
        scales.append(scale)
    return np.array(scales)
