"""Clocks of schedules: steps within range, and exact differences between them.

A clock is an int32 array >= 0 (or a floating-point one, if the step is fractional).
Differences are taken in integers before any division, so step 2**24 + 1 is still exact.
Lengths are never added up, so nothing overflows up to step 2**31 - 1.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from optax_warmup._check import MAX_STEP, is_traced


def as_clock(step: Any) -> Any:
    """Converts a step to a clock; integers are clamped to [0, 2**31 - 1].

    Known steps are clamped in NumPy, which has integer types that JAX would wrap.
    """
    if type(step) is int:
        return np.int32(min(max(step, 0), MAX_STEP))
    if not is_traced(step) and not isinstance(step, jax.Array):
        convert = getattr(step, "__jax_array__", None)
        if convert is not None:
            return as_clock(convert())  # a variable, such as flax's optimizer.step
        step = _known(step)
    if jnp.issubdtype(step.dtype, jnp.integer):
        xnp = np if isinstance(step, np.ndarray | np.generic) else jnp
        if jnp.iinfo(step.dtype).max > MAX_STEP:
            step = xnp.minimum(step, step.dtype.type(MAX_STEP))
        return xnp.maximum(step, step.dtype.type(0)).astype(np.int32)
    if jnp.issubdtype(step.dtype, jnp.floating):
        wide = jax.dtypes.canonicalize_dtype(_wide(step.dtype))
        return jnp.maximum(jnp.asarray(step).astype(wide), 0)
    raise TypeError(_refusal(step))


def _known(step: Any) -> np.ndarray | np.generic:
    if isinstance(step, bool | complex) or not isinstance(
        step, int | float | np.ndarray | np.generic
    ):
        raise TypeError(_refusal(step))
    if isinstance(step, int):
        return np.int32(min(max(step, 0), MAX_STEP))
    array = np.asarray(step)
    if array.dtype.kind == "m":
        raise TypeError(_refusal(step))  # to NumPy, timedelta64 is an integer
    if array.dtype == np.int64 and array.size:
        low, high = array.min(), array.max()
        if low >= 0 and high <= MAX_STEP:
            return array.astype(np.int32)  # fast path for a million steps at once
    if array.dtype.kind == "f" and np.all(array == np.floor(array)):
        # Whole numbers become integers: float32 has no 2**24 + 1.
        array = np.clip(array.astype(np.float64), 0, MAX_STEP).astype(np.int32)
    return array


def _refusal(step: Any) -> str:
    kind = f"dtype {step.dtype}" if hasattr(step, "dtype") else type(step).__name__
    return (
        "schedule: step must be an integer, the number of completed updates (or an "
        f"array of them), got {step!r} of {kind}."
    )


def minus(a: ArrayLike, b: ArrayLike) -> jax.Array:
    """a - b, in integers if both are integers, else in floating point."""
    a, b = _in_one_type(a, b)
    return a - b


def _in_one_type(*numbers: ArrayLike) -> list[jax.Array]:
    """Converts all to int32 if they are integers, else to the widest float type."""
    arrays = [jnp.asarray(x) for x in numbers]
    floats = [x.dtype for x in arrays if jnp.issubdtype(x.dtype, jnp.floating)]
    wide = max(map(_wide, floats), key=lambda dtype: dtype.itemsize, default=None)
    return [_in_int32(x) if wide is None else x.astype(wide) for x in arrays]


def _in_int32(x: jax.Array) -> jax.Array:
    """Converts to int32, and clamps a longer traced length, which would wrap."""
    if jnp.iinfo(x.dtype).max > MAX_STEP:
        x = jnp.minimum(x, jnp.asarray(MAX_STEP, x.dtype))
    return x.astype(jnp.int32)


def _wide(dtype: Any) -> np.dtype[Any]:
    """At least float32. (`jnp.promote_types` raises under strict dtype promotion.)"""
    return np.dtype(np.float64 if jnp.finfo(dtype).bits > 32 else np.float32)


def since(clock: ArrayLike, start: ArrayLike) -> jax.Array:
    """The clock counted from `start`; 0 before it."""
    return jnp.maximum(minus(clock, start), 0)


def until(clock: ArrayLike, end: ArrayLike) -> jax.Array:
    """The clock, stopped at `end`."""
    return jnp.minimum(*_in_one_type(clock, end))


def not_before(clock: ArrayLike, start: ArrayLike) -> jax.Array:
    """The clock, held at `start` before it."""
    return jnp.maximum(*_in_one_type(clock, start))


def as_value(x: ArrayLike) -> jax.Array:
    """Converts a number to the dtype that schedules compute in.

    That is float32, or float64 if JAX runs in 64 bits; it is never weakly typed.
    """
    return jnp.asarray(x).astype(jnp.result_type(float))


def known(x: ArrayLike) -> float | None:
    """A number that is a constant while tracing, so that it can shape a program."""
    constant = isinstance(x, int | float | np.ndarray | np.generic) and np.ndim(x) == 0
    return float(np.asarray(x)) if constant else None


def is_zero(x: ArrayLike) -> bool:
    """Whether a number is known to be 0."""
    return known(x) == 0


def is_above_zero(x: ArrayLike) -> bool:
    """Whether a number is known to be above 0."""
    return (known(x) or 0) > 0


def on_numbers(operation: Callable[..., Any], *numbers: ArrayLike) -> Any:
    """Applies an operation to Python numbers if all are known, else to arrays.

    Python's floats are float64 and are rounded only once, when a value is computed.
    """
    if all(isinstance(x, int | float) for x in numbers):
        return operation(*numbers)
    return operation(*map(as_value, numbers))
