"""From raw sums to statistics, on the host and in float64."""

from typing import Any

import numpy as np

from optax_warmup._record.layout import Layout


def effective_sample_size(b2: float, count: np.ndarray) -> np.ndarray:
    """How many independent gradients nu_hat is worth after `count` updates.

    A mean with weights w is worth (sum w)**2 / sum w**2 equal ones; those of nu_hat are
    b2**k, k < count.
    """
    power = b2**count
    return (1 + b2) / (1 - b2) * (1 - power) / (1 + power)


def noise_rms(b1: float, count: np.ndarray) -> np.ndarray:
    """The RMS of mu_hat / sqrt(nu_hat) where the gradients are nothing but noise.

    The same count of independent gradients, for the first moment, under its root.
    """
    return 1 / np.sqrt(effective_sample_size(b1, count))


def statistics(
    layout: Layout,
    count: np.ndarray,
    rate: np.ndarray,
    sums: dict[str, np.ndarray],
    size: Any,
) -> dict[str, np.ndarray]:
    """Statistics of groups from their sums; NaN where a group has no coordinates.

    `count` and `rate` have shape (T, 1) beside sums of shape (T, G) and sizes (G,).
    """
    correction = 1 - layout.b2**count if layout.corrected else np.ones_like(count)
    momentum = 1 - layout.b1**count if layout.averaged else np.ones_like(count)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = {name: x / np.where(size > 0, size, np.nan) for name, x in sums.items()}
        nu_hat = mean["nu"] / correction
        result = {
            "nu_hat_rms": np.sqrt(nu_hat),
            "nu_hat_max": np.sqrt(sums["nu_max"] / correction) + 0 * mean["nu"],
            "update_rms": np.sqrt(mean["direction_squared"]),
            "snr": mean["mu_squared"] / momentum**2 / nu_hat,
            "denominator": mean["denominator"],
            "eps_dominated": mean["eps_dominated"],
            "nonfinite": (~np.isfinite(sums["nu"])).astype(float),
            "drift": _drift(nu_hat, count),
        }
        if "gradient_squared" in mean:
            result |= {
                "gradient_rms": np.sqrt(mean["gradient_squared"]),
                "gradient_norm": np.sqrt(sums["gradient_squared"]),
                "gradient_nonfinite": (~np.isfinite(sums["gradient_squared"])).astype(
                    float
                ),
                "normalized_gradient_rms": np.sqrt(mean["normalized_gradient_squared"]),
                "gradient_to_nu_ratio": mean["gradient_squared"] / nu_hat,
                # rmsprop keeps no mean of which the step before could be known
                "alignment": np.clip(
                    sums["gradient_times_previous"]
                    / np.sqrt(sums["gradient_squared"] * sums["previous_squared"]),
                    -1,
                    1,
                )
                * (1 if layout.averaged else np.nan),
            }
        if "parameter_squared" in mean:
            result |= _of_parameters(mean, rate)
    return result


def _drift(nu_hat: np.ndarray, count: np.ndarray) -> np.ndarray:
    """The change of log2(nu_hat) for each update since the last recorded one."""
    changes = np.diff(np.log2(nu_hat), axis=0) / np.diff(count, axis=0)
    return np.concatenate([np.full_like(nu_hat[:1], np.nan), changes])


def _of_parameters(
    mean: dict[str, np.ndarray], rate: np.ndarray
) -> dict[str, np.ndarray]:
    """How far the update turns the weights; weight decay is not in it."""
    weights = np.sqrt(mean["parameter_squared"])
    update = rate * np.sqrt(mean["direction_squared"])
    along = -rate * mean["parameter_times_direction"] / weights
    # arctan2, as arccos knows no angle below 3e-4 in the float32 of the sums.
    across = np.sqrt(np.maximum(update**2 - along**2, 0))
    return {
        "parameter_rms": weights,
        "update_to_weight": update / weights,
        "angular_update": np.arctan2(across, weights + along),
    }
