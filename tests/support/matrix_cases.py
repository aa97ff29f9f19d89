"""The cases of the matrix: which there are, their parameters and their gradients."""

import itertools
import random

import jax
import jax.numpy as jnp
import numpy as np
from pairwise import pairwise

STEPS, BAD, RESUMED, UNRECORDED = 6, 4, 3, 1
LOSSES = [1.0, 1.1, 5.0, 1.0, 1.1, 0.9]
FACTORS = {
    "transform": (
        *("scale_by_learning_rate", "scale_by_warmup", "automatic_warmup"),
        *("record_moments", "clip_outliers", "clip_update_rms"),
        *("init_second_moment_from_gradient", "reduce_on_plateau", "restart_if"),
        *("restart_on_spike", "skip_nonfinite"),
    ),
    "composition": (
        *("alone", "chain", "inside MultiSteps", "around MultiSteps", "masked"),
        *("partition", "injected", "apply_if_finite", "restarted"),
    ),
    "leaves": ("matrix", "scalar", "zero-size", "empty", "None", "complex"),
    "dtype": ("float32", "mixed", "bfloat16", "float16", "float64"),
    "container": ("bare", "nnx", "linen", "dataclass"),
    "mesh": ("one", "auto", "explicit", "manual"),
    "rate": ("ours", "optax's"),
    "recorded": ("no", "yes"),
}
# What nobody can have: not with optax.adam alone either, or refused with a reason.
# tests/test_matrix.py holds each of them.
OPTAX_CANNOT = (
    {"dtype": "mixed", "composition": "apply_if_finite"},
    {"leaves": "complex", "composition": "inside MultiSteps"},
    {"leaves": "complex", "composition": "around MultiSteps"},
    {"leaves": "complex", "composition": "injected"},
)
REFUSED = tuple(
    {"transform": name, "composition": "around MultiSteps"}
    for name in (
        "clip_outliers",
        "clip_update_rms",
        "init_second_moment_from_gradient",
    )
)
# A guard around one of two recorded parts: tests/test_rates_by_group.py
GUARDED_PARTS = tuple(
    {"transform": "skip_nonfinite", "composition": composition, "recorded": "yes"}
    for composition in ("masked", "partition")
)
_POINTLESS = (
    {"transform": "scale_by_learning_rate", "rate": "optax's"},
    {"composition": "injected", "rate": "optax's"},
    {"transform": "record_moments", "recorded": "yes"},
    {"leaves": "None", "container": "nnx"},  # such an attribute is no parameter
    # Without numbers nothing else would be tried in earnest.
    *(
        {"leaves": "empty", name: value}
        for name in ("dtype", "mesh", "rate")
        for value in FACTORS[name][1:]
    ),
)


EASIEST = {name: values[0] for name, values in FACTORS.items()}


def possible(case):
    never = (*OPTAX_CANNOT, *REFUSED, *GUARDED_PARTS, *_POINTLESS)
    return not any(rule.items() <= case.items() for rule in never)


def few():
    """Cases with every possible pair among them, by name."""
    return {name_of(case): case for case in pairwise(FACTORS, possible)}


def some(count, seed=0):
    """A sample of the full product, by name."""
    everything = [
        case
        for values in itertools.product(*FACTORS.values())
        if possible(case := dict(zip(FACTORS, values, strict=True)))
    ]
    return {name_of(c): c for c in random.Random(seed).sample(everything, count)}


def name_of(case):
    return ", ".join(
        f"record of {value}" if name == "recorded" else value
        for name, value in case.items()
        if value not in ("bare", "one", "no", "float32", "matrix", "ours")
    )


# Parameters and gradients


def parameters(case):
    """By name, as NumPy's float64 and complex128 until they are placed."""
    w = np.linspace(0.5, 2.0, 16).reshape(4, 4)
    more = {
        "matrix": {"v": np.linspace(-1.0, 1.0, 3)},
        "scalar": {"s": np.float64(1.5)},
        "zero-size": {"e": np.zeros((0, 3))},
        "None": {"n": None},
        "complex": {"z": np.array([1 + 1j, 0.5 - 2j, -1j])},
    }
    if case["leaves"] == "empty":
        return {}
    return {"w": w, **more[case["leaves"]]}


def gradients(case, step):
    """They grow at one step; where the transform skips them, one is not finite."""
    size = 3.0 if step == 3 else 1.0

    def like(x):
        index = np.arange(np.size(x)).reshape(np.shape(x))
        g = size * (0.5 + np.cos(1.3 * index + step))
        return g * (1 + 0.5j) if np.iscomplexobj(x) else g

    grads = {n: None if x is None else like(x) for n, x in parameters(case).items()}
    if step == BAD and "w" in grads and has_bad_step(case):
        grads["w"][1, 2] = np.nan
    return grads


def has_bad_step(case):
    """Not where it comes too late."""
    return (
        case["transform"] == "skip_nonfinite"
        and case["composition"] != "inside MultiSteps"
    )


def dtype_of(case, what):
    if case["dtype"] == "mixed":
        return {"parameters": jnp.bfloat16, "gradients": jnp.float32}[what]
    return jnp.dtype(case["dtype"])


def cast(tree, dtype):
    wide = jnp.complex128 if dtype == jnp.float64 else jnp.complex64

    def leaf(x):
        return np.asarray(x).astype(wide if np.iscomplexobj(x) else dtype)

    return jax.tree.map(leaf, tree)


def wide(tree):
    """In float64 or complex128, by name, without None."""

    def leaf(x):
        x = np.asarray(x)
        return x.astype(np.complex128 if np.iscomplexobj(x) else np.float64)

    return {name: leaf(x) for name, x in tree.items() if x is not None}
