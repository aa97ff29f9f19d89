"""From raw sums to statistics, on the host and in float64."""

from typing import Any

import numpy as np

from optax_warmup._record.direction import UNTRIED
from optax_warmup._record.layout import Layout
from optax_warmup.diagnostics._noise_scale import noise_scale


def effective_sample_size(b2: float, count: np.ndarray) -> np.ndarray:
    """How many independent gradients nu_hat is worth after `count` updates.

    A mean with weights w is worth (sum w)**2 / sum w**2 equal ones; those of nu_hat are
    b2**k, k < count.
    """
    power = b2**count
    size: np.ndarray = (1 + b2) / (1 - b2) * (1 - power) / (1 + power)
    return size


def noise_rms(b1: float, count: np.ndarray) -> np.ndarray:
    """The RMS of mu_hat / sqrt(nu_hat) where the gradients are nothing but noise.

    The same count of independent gradients, for the first moment, under its root.
    """
    rms: np.ndarray = 1 / np.sqrt(effective_sample_size(b1, count))
    return rms


def statistics(
    layout: Layout,
    steps: np.ndarray,
    count: np.ndarray,
    sums: dict[str, np.ndarray],
    size: Any,
) -> dict[str, np.ndarray]:
    """Statistics of groups from their sums; NaN where a group has no coordinates.

    `count`, Adam's own, has shape (T, 1) beside sums of shape (T, G) and sizes (G,).
    """
    correction = 1 - layout.b2**count if layout.corrected else np.ones_like(count)
    momentum = 1 - layout.b1**count if layout.averaged else np.ones_like(count)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = {name: x / np.where(size > 0, size, np.nan) for name, x in sums.items()}
        if not layout.averaged:  # there is no mu
            mean["mu_squared"] = np.full_like(mean["nu"], np.nan)
        nu_hat = mean["nu"] / correction
        of_gradients = _of_gradients(layout, mean, nu_hat, size)
        return {
            "nu_hat_rms": np.sqrt(nu_hat),
            "nu_hat_max": np.sqrt(sums["nu_max"] / correction) + 0 * mean["nu"],
            "update_rms": np.sqrt(mean["direction_squared"]),
            "snr": mean["mu_squared"] / momentum**2 / nu_hat,
            "denominator": mean["denominator"],
            "eps_dominated": mean["eps_dominated"],
            "nonfinite": (~np.isfinite(sums["nu"])).astype(float),
            "drift": _drift(nu_hat, steps),
            **of_gradients,
            **noise_scale(
                layout.b1,
                steps,
                count,
                mean["mu_squared"] * size,
                of_gradients["gradient_norm"],
            ),
            **_of_updates(mean),
        }


def _drift(nu_hat: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """The change of log2(nu_hat) for each update since the last recorded one."""
    between = np.diff(steps).reshape(-1, *[1] * (nu_hat.ndim - 1))
    changes = np.diff(np.log2(nu_hat), axis=0) / between
    return np.concatenate([np.full_like(nu_hat[:1], np.nan), changes])


def _of_gradients(
    layout: Layout, mean: dict[str, np.ndarray], nu_hat: np.ndarray, size: Any
) -> dict[str, np.ndarray]:
    """The gradients that entered the moments; NaN where these are too coarse."""
    # Few coordinates hold most of the sum of squares, and a sample may miss them. They
    # do so in nu as well, of which the whole sum is known.
    seen = mean["gradient_squared"] + (0 if layout.recovered else np.nan)
    ratio = np.where(seen == 0, 0, seen / mean["sampled_nu"])
    square = ratio * mean["nu"]
    normalized = mean["normalized_gradient_squared"] + 0 * seen
    lengths = np.sqrt(seen * mean["previous_squared"])
    cosine = mean["gradient_times_previous"] / lengths
    # rmsprop keeps no mean of which the step before could be known
    known = 1 if layout.averaged else np.nan
    return {
        "gradient_rms": np.sqrt(square),
        "gradient_norm": np.sqrt(square * size),
        "normalized_gradient_rms": np.sqrt(normalized),
        "gradient_to_nu_ratio": square / nu_hat,
        "alignment": np.clip(cosine, -1, 1) * known,
    }


# What a sum of products may be off by in float32, as a share of its greatest value.
_ROUNDING = 1e-4
# The share of an update's square that rate and decay must explain for the rate to mean
# something, and to be sure.
_EXPLAINED = 0.5
_CERTAIN = 0.9999  # all but 1% of its length


def _of_updates(mean: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What was applied to the weights: u = -rate * direction - decay * p.

    Both are those of least squares over a group's sample.
    """
    d2, p2 = mean["direction_squared"], mean["parameter_squared"]
    u2, pd = mean["update_squared"], mean["parameter_times_direction"]
    ud, up = mean["update_times_direction"], mean["update_times_parameter"]
    determinant = d2 * p2 - pd**2
    # Without parameters, with parameters of 0, and where they are parallel to the
    # direction (a single number), there is no decay to tell apart.
    apart = determinant > _ROUNDING * d2 * p2
    rate = np.where(apart, (up * pd - ud * p2) / determinant, -ud / d2)
    decay = np.where(apart, (ud * pd - up * d2) / determinant, 0.0)
    explained = -(rate * ud + np.where(apart, decay * up, 0))
    unclear = ~(explained >= _EXPLAINED * u2) | ~np.isfinite(u2)
    rate, decay = (np.where(unclear, np.nan, x) for x in (rate, decay))
    # The updates of a bare scale_by_adam are the direction: the rate comes later.
    bare = np.abs(rate + 1) < 1e-3
    update = np.where(bare, np.nan, np.sqrt(u2))
    weights = np.sqrt(p2)
    along = up / weights
    # arctan2, as arccos knows no angle below 3e-4 in the float32 of the sums.
    across = np.sqrt(np.maximum(update**2 - along**2, 0))
    return {
        "applied_rate": rate,
        "applied_decay": decay,
        "update_explained": np.where((u2 == 0) & (d2 > 0), 1, explained / u2),
        "parameter_rms": weights,
        "update_to_weight": update / weights,
        "angular_update": np.arctan2(across, weights + along),
    }


def learning_rate(
    direction: str | None, told: np.ndarray, overall: dict[str, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """The rate of each row, and whether it is sure to about 1%.

    It is what the states tell unless something else was applied: where the updates are
    certainly multiples of a known direction and tell another rate, a part of the
    optimizer scales them without saying so.
    """
    applied, explained = overall["applied_rate"], overall["update_explained"]
    applied = np.where(np.abs(applied + 1) < 1e-3, np.nan, applied)  # a bare Adam
    with np.errstate(invalid="ignore"):
        agree = np.abs(applied - told) <= 0.01 * np.abs(told)
        certain = (explained > _CERTAIN) & ~np.isnan(applied)
        if direction == UNTRIED:
            # Adam's updates are explained to the last digits, nadam's are not, but for
            # those of single rows.
            certain &= len(told) > 0 and np.median(explained) > _CERTAIN
        elif direction is None:
            certain &= False
    rate = np.where(np.isnan(told) | (certain & ~agree), applied, told)
    rate = rate + 0.0  # no -0
    return rate, agree | certain
