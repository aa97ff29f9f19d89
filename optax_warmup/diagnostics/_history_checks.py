"""Whether what was read from a file can be a history: nothing in it is believed."""

import math
from typing import Any

import numpy as np

_BY_STEP = (
    *("counts", "learning_rate_exact", "schedule_counts"),
    *("learning_rate", "warmup_factor", "coherence"),
    *("effective_sample_size", "relative_error", "bias_correction", "noise_rms"),
)
# Of each group and of all; reports and advice rely on them.
_STATISTICS = (
    *("alignment", "angular_update", "applied_decay", "applied_rate", "denominator"),
    *("drift", "eps_dominated", "gradient_norm", "gradient_rms"),
    *("gradient_to_nu_ratio", "noise_scale", "noise_scale_bound", "nonfinite"),
    *("normalized_gradient_rms", "nu_hat_max", "nu_hat_rms", "parameter_rms"),
    *("signal_share", "snr", "update_explained", "update_rms", "update_to_weight"),
)
_YES_OR_NO = ("learning_rate_exact",)
_WHOLE = ("steps", "counts", "sizes", "sampled", "histogram", "sharpness_steps")


def require_sound_description(meta: dict[str, Any]) -> None:
    """Raises ValueError, or KeyError with the name of what is missing."""
    for name in ("groups", "dtypes"):
        texts = meta[name]
        if not isinstance(texts, list) or not all(isinstance(x, str) for x in texts):
            raise ValueError(f"{name} must be a list of texts, got {texts!r:.80}")
    if len(meta["groups"]) != len(set(meta["groups"])):
        raise ValueError("two groups have the same name")
    if len(meta["dtypes"]) != len(meta["groups"]):
        raise ValueError("groups and dtypes are not equally many")
    for name, most in (("b1", 1.0), ("b2", 1.0), ("eps", math.inf)):
        number = meta[name]
        is_number = isinstance(number, int | float) and not isinstance(number, bool)
        if not is_number or not 0 <= number < most:
            raise ValueError(f"{name} must be in [0, {most:g}), got {number!r:.80}")
    if not isinstance(meta["corrected"], bool):
        raise ValueError(f"corrected must be a bool, got {meta['corrected']!r:.80}")
    origin = meta["meta"]
    if not isinstance(origin, dict) or not all(
        isinstance(x, str) for x in origin.values()
    ):
        raise ValueError(f"meta must hold texts, got {origin!r:.80}")


def require_sound_arrays(history: Any) -> None:
    """Raises ValueError with the name of an array that does not fit the others.

    Or KeyError with the name of one that is missing.
    """
    for where in ("statistics", "overall"):
        for name in _STATISTICS:
            if name not in getattr(history, where):
                raise KeyError(f"{where}/{name}")
    rows, groups = history.steps.size, len(history.groups)
    bins = history.histogram.shape[-1] if history.histogram.ndim == 2 else -1
    shapes: dict[str, tuple[int, ...]] = dict.fromkeys(("steps", *_BY_STEP), (rows,))
    shapes |= {"sizes": (groups,), "sampled": (groups,), "histogram": (rows, bins)}
    shapes["histogram_edges"] = (bins + 1 if bins else 0,)
    shapes |= dict.fromkeys(
        ("sharpness_steps", "sharpness"), (history.sharpness_steps.size,)
    )
    for name, shape in shapes.items():
        array = getattr(history, name)
        _require_shape(name, array, shape)
        kinds = "iu" if name in _WHOLE else "b" if name in _YES_OR_NO else "iuf"
        if array.dtype.kind not in kinds:
            raise ValueError(f"{name} has the dtype {array.dtype}")
    for where, shape in (
        ("statistics", (rows, groups)),
        ("overall", (rows,)),
        ("scalars", (rows,)),
    ):
        for name, array in getattr(history, where).items():
            _require_shape(f"{where}/{name}", array, shape)
            if array.dtype.kind not in "iuf":
                raise ValueError(f"{where}/{name} has the dtype {array.dtype}")
    for name in ("steps", "sharpness_steps"):
        steps = getattr(history, name)
        if np.any(steps < 0) or np.any(np.diff(steps.astype(np.int64)) <= 0):
            raise ValueError(f"{name} must be >= 0 and increase")
    for name in ("counts", "sizes", "sampled", "histogram"):
        if np.any(getattr(history, name) < 0):
            raise ValueError(f"{name} must be >= 0")


def _require_shape(name: str, array: np.ndarray, shape: tuple[int, ...]) -> None:
    if array.shape != shape:
        raise ValueError(f"{name} has the shape {array.shape} and not {shape}")
