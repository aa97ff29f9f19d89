"""Checks of arguments, made when a value is built.

Every message names the function, the argument, the value it got and the way out.
A traced argument has no value yet, so only its type is checked.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.typing import ArrayLike

MAX_STEP = 2**31 - 1  # optax counts steps in int32
INFINITY = math.inf
_LARGEST = float(np.finfo(np.float32).max)


def is_traced(x: Any) -> bool:
    """Whether `x` stands for a number that is known only inside a JAX transform."""
    return isinstance(x, jax.core.Tracer)


def rate(owner: str, name: str, value: ArrayLike) -> Any:
    """A value that a schedule may take: finite and not negative."""
    return number(
        owner,
        name,
        value,
        minimum=0.0,
        hint="a schedule's values are >= 0; optax flips the sign when it descends",
    )


def number(
    owner: str,
    name: str,
    value: Any,
    *,
    minimum: float = -math.inf,
    maximum: float = math.inf,
    above: float = -math.inf,
    below: float = math.inf,
    hint: str = "",
) -> Any:
    """A finite real number with minimum <= value <= maximum and above < value < below.

    Returns a Python float where the number is known and has no axes.
    """
    if type(value) in (int, float) and (
        minimum <= value <= maximum
        and above < value < below
        and -_LARGEST <= value <= _LARGEST
    ):
        return float(value) + 0.0  # the usual case, quickly; -0.0 is 0.0
    array = _real_array(owner, name, value, "a number")
    if array is None:
        return value
    wanted = _describe(minimum, maximum, above, below)
    bad = ~np.isfinite(array) | (np.abs(array) > _LARGEST)
    bad |= (array < minimum) | (array > maximum) | (array <= above) | (array >= below)
    if np.any(bad):
        raise ValueError(_message(owner, name, f"a finite number{wanted}", value, hint))
    return float(array) + 0.0 if array.ndim == 0 else _own(value)  # -0.0 is 0.0


def length(
    owner: str, name: str, value: ArrayLike, *, minimum: int = 0, hint: str = ""
) -> Any:
    """A count of optimizer updates: an integer from `minimum` to 2**31 - 1.

    Returns a Python int where the number is known and has no axes. A float that holds
    a whole number, such as 1e5, is one.
    """
    if type(value) is int and minimum <= value <= MAX_STEP:
        return value  # the usual case, quickly
    wanted = f"a whole number of steps >= {minimum} and <= 2**31 - 1"
    array = _real_array(owner, name, value, wanted)
    if array is None:
        return value
    whole = np.isfinite(array) & (array == np.floor(array))
    if not np.all(whole & (array >= minimum) & (array <= MAX_STEP)):
        if np.any(array > MAX_STEP):
            hint = "optax counts steps in int32"
        elif not np.all(whole):
            hint = "round it first, for example with round(0.1 * total_steps)"
        raise ValueError(_message(owner, name, wanted, value, hint))
    return int(array) if array.ndim == 0 else _own(value)


def _real_array(owner: str, name: str, value: Any, wanted: str) -> np.ndarray | None:
    """`value` as a NumPy array, or None where it is traced."""
    if is_traced(value):
        dtype = value.dtype
    elif isinstance(value, int | float | np.ndarray | np.generic | jax.Array):
        dtype = np.asarray(value).dtype
    else:
        dtype = None
    if dtype is None or not is_real(dtype):
        kind = type(value).__name__ if dtype is None else f"dtype {dtype}"
        raise TypeError(_message(owner, name, wanted, value, f"its type is {kind}"))
    if is_traced(value):
        return None
    if isinstance(value, int) and abs(value) > 2**1000:
        return np.asarray(math.inf)  # float(value) would raise
    # Narrower types would round the bounds that it is compared with.
    return np.asarray(value).astype(np.float64)


def _own(array: ArrayLike) -> ArrayLike:
    """What a value may keep: a NumPy array of the caller's can change behind it."""
    if not isinstance(array, np.ndarray):
        return array
    array = array.copy()
    array.flags.writeable = False
    return array


def is_real(dtype: Any) -> bool:
    """Whether the type is one of integers or of floating-point numbers."""
    if np.dtype(dtype).kind == "m":
        return False  # NumPy counts a span of time as an integer
    kinds = (jax.numpy.integer, jax.numpy.floating)
    return any(jax.numpy.issubdtype(dtype, kind) for kind in kinds)


def _describe(minimum: float, maximum: float, above: float, below: float) -> str:
    bounds = []
    if above > -math.inf:
        bounds.append(f"> {above:g}")
    elif minimum > -math.inf:
        bounds.append(f">= {minimum:g}")
    if below < math.inf:
        bounds.append(f"< {below:g}")
    elif maximum < math.inf:
        bounds.append(f"<= {maximum:g}")
    return "".join(f" {b}" if i == 0 else f" and {b}" for i, b in enumerate(bounds))


def _message(owner: str, name: str, wanted: str, value: Any, hint: str) -> str:
    text = f"{owner}: {name} must be {wanted}, got {value!r}"
    return f"{text} ({hint})." if hint else f"{text}."


def difference(
    owner: str, long_name: str, long: Any, short_name: str, short: Any
) -> Any:
    """long - short, two lengths of which the second must fit into the first."""
    if is_traced(long) or is_traced(short):
        return jax.numpy.maximum(long - short, 0)
    if np.any(np.asarray(short) > np.asarray(long)):
        raise ValueError(
            f"{owner}: {short_name} must be <= {long_name}, got {short_name}={short!r} "
            f"and {long_name}={long!r}; shorten the one or lengthen the other."
        )
    return long - short


def ordered(
    owner: str, low_name: str, low: ArrayLike, high_name: str, high: ArrayLike
) -> None:
    """Refuses a lower bound above the upper one."""
    if is_traced(low) or is_traced(high):
        return
    if np.any(np.asarray(low) > np.asarray(high)):
        raise ValueError(
            f"{owner}: {low_name} must be <= {high_name}, got {low_name}={low!r} and "
            f"{high_name}={high!r}; swap them."
        )


def traced_once(function: Callable[[Any], Any], dtype: Any) -> Any:
    """What a function of the user's gives for one number: its shape and its type."""
    if isinstance(function, np.ufunc):
        # JAX 0.10 crashes where a NumPy ufunc itself is traced.
        return jax.eval_shape(lambda x: function(x), jax.ShapeDtypeStruct((), dtype))
    return jax.eval_shape(function, jax.ShapeDtypeStruct((), dtype))
