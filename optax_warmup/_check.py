"""Checks arguments when a schedule, a shape or a transform is built.

Every error message names the function and the argument, shows the value that it got and
says what to do. A traced argument has no value yet, so only its type is checked.
"""

import inspect
import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
from jax.typing import ArrayLike

MAX_STEP = 2**31 - 1  # optax counts steps in int32
INFINITY = math.inf
_SMALL = 0.05  # what is smaller is a learning rate rather than a share of the run
_LARGEST = float(np.finfo(np.float32).max)
_HUGE = 2**1000


def is_traced(x: Any) -> bool:
    """Whether `x` is a tracer: a number whose value is not known yet."""
    return isinstance(x, jax.core.Tracer)


def rate(owner: str, name: str, value: ArrayLike) -> Any:
    """Checks a value of a schedule: finite and >= 0."""
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
    """Checks for a finite number in [minimum, maximum] and in (above, below).

    Returns a Python float if the number is a known scalar.
    """
    if type(value) in (int, float) and (
        minimum <= value <= maximum
        and above < value < below
        and -_LARGEST <= value <= _LARGEST
    ):
        return float(value) + 0.0  # fast path; -0.0 becomes 0.0
    array = _real_array(owner, name, value, "a number")
    if array is None:
        return value
    wanted = _describe(minimum, maximum, above, below)
    bad = ~np.isfinite(array) | (np.abs(array) > _LARGEST)
    bad |= (array < minimum) | (array > maximum) | (array <= above) | (array >= below)
    if np.any(bad):
        raise ValueError(_message(owner, name, f"a finite number{wanted}", value, hint))
    return float(array) + 0.0 if array.ndim == 0 else _own(value)  # -0.0 becomes 0.0


def length(
    owner: str, name: str, value: ArrayLike, *, minimum: int = 0, hint: str = ""
) -> Any:
    """Checks for a number of updates: a whole number from `minimum` to 2**31 - 1.

    A float with a whole value, such as 1e5, is accepted. Returns a Python int if the
    number is a known scalar.
    """
    if type(value) is int and minimum <= value <= MAX_STEP:
        return value  # fast path
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
            if np.all((array > 0) & (array < _SMALL)):
                hint += "; if this is a learning rate, give the arguments by name"
        raise ValueError(_message(owner, name, wanted, value, hint))
    return int(array) if array.ndim == 0 else _own(value)


def scalar(owner: str, name: str, value: Any, **bounds: Any) -> float:
    """Checks for one finite number that is known now; `bounds` as of `number`."""
    return float(number(owner, name, _known(owner, name, value, "a number"), **bounds))


def count(owner: str, name: str, value: Any, *, minimum: int = 0) -> int:
    """Checks for one whole number that is known now, from `minimum` to 2**31 - 1."""
    wanted = f"a whole number >= {minimum} and <= 2**31 - 1"
    value = _known(owner, name, value, wanted)
    array = _real_array(owner, name, value, wanted)
    if array is None or not (minimum <= array <= MAX_STEP and array == np.floor(array)):
        raise ValueError(_message(owner, name, wanted, value, ""))
    return int(array)


def flag(owner: str, name: str, value: Any) -> bool:
    """Checks for True or False."""
    if not isinstance(value, bool):
        raise TypeError(f"{owner}: {name} must be True or False, got {value!r}.")
    return value


def function(owner: str, name: str, value: Any, *parameters: str) -> Any:
    """Checks for a function that can be called with some positional arguments."""
    wanted = f"a function of ({', '.join(parameters)})"
    if not callable(value) or isinstance(value, type):
        raise TypeError(f"{owner}: {name} must be {wanted}, got {value!r}.")
    try:
        signature = inspect.signature(value)
    except (TypeError, ValueError):
        return value  # a builtin does not tell its arguments
    try:
        signature.bind(*parameters)
    except TypeError:
        raise TypeError(
            f"{owner}: {name} must be {wanted}, got {value!r} with the arguments "
            f"{signature}."
        ) from None
    return value


def mapping(owner: str, name: str, value: Any, wanted: str) -> Mapping[Any, Any]:
    """Checks for a dict or another mapping."""
    if not isinstance(value, Mapping):
        raise TypeError(f"{owner}: {name} must be {wanted}, got {value!r}.")
    return value


def one(owner: str, name: str, value: Any, wanted: str) -> Any:
    """Refuses an array or a list of numbers; what else it is, is not checked."""
    if isinstance(value, list | tuple) or getattr(value, "ndim", 0) > 0:
        raise TypeError(_message(owner, name, wanted, value, "give one number"))
    return value


def _known(owner: str, name: str, value: Any, wanted: str) -> Any:
    if is_traced(value):
        raise TypeError(
            _message(owner, name, wanted, value, "it must be known, not traced")
        )
    return one(owner, name, value, wanted)


def _real_array(owner: str, name: str, value: Any, wanted: str) -> np.ndarray | None:
    """Converts `value` to a NumPy array, or to None if it is traced."""
    if isinstance(value, int) and not isinstance(value, bool):
        # Beyond 64 bits it would be an object to NumPy, and float(value) may raise.
        infinity = math.inf if value > 0 else -math.inf
        return np.asarray(infinity if abs(value) > _HUGE else float(value))
    if is_traced(value):
        dtype = value.dtype
    elif isinstance(value, bool | float | np.ndarray | np.generic | jax.Array):
        dtype = np.asarray(value).dtype
    else:
        dtype = None
    if dtype is None or not is_real(dtype):
        kind = type(value).__name__ if dtype is None else f"dtype {dtype}"
        hint = f"its type is {kind}{_way_out_of_text(value)}"
        raise TypeError(_message(owner, name, wanted, value, hint))
    if is_traced(value):
        return None
    # A narrower type would round the bounds in the comparison.
    return np.asarray(value).astype(np.float64)


def _way_out_of_text(value: Any) -> str:
    """For a number that a configuration file or a command line gives as text."""
    try:
        number = float(value) if isinstance(value, str) else math.nan
    except ValueError:
        number = math.nan
    if math.isnan(number):
        return ""
    return f"; pass {number:g} as a number. YAML takes 1e-3 for text, but not 1.0e-3"


def _own(array: ArrayLike) -> ArrayLike:
    """Copies a NumPy array, which the caller could change later."""
    if not isinstance(array, np.ndarray):
        return array
    array = array.copy()
    array.flags.writeable = False
    return array


def is_real(dtype: Any) -> bool:
    """Whether the dtype is an integer or a floating-point type."""
    if np.dtype(dtype).kind == "m":
        return False  # to NumPy, timedelta64 is an integer type
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
    is_huge = isinstance(value, int) and abs(value) > _HUGE  # hundreds of digits
    shown = f"an integer of {value.bit_length()} bits" if is_huge else repr(value)
    text = f"{owner}: {name} must be {wanted}, got {shown}"
    return f"{text} ({hint})." if hint else f"{text}."


def difference(
    owner: str, long_name: str, long: Any, short_name: str, short: Any
) -> Any:
    """Returns long - short; raises if `short` does not fit into `long`."""
    if is_traced(long) or is_traced(short):
        return jax.numpy.maximum(long - short, 0)
    if np.any(np.asarray(short) > np.asarray(long)):
        raise ValueError(
            f"{owner}: {short_name} must be <= {long_name}, got {short_name}={short!r} "
            f"and {long_name}={long!r}; decrease the first or increase the second."
        )
    return long - short


def ordered(
    owner: str, low_name: str, low: ArrayLike, high_name: str, high: ArrayLike
) -> None:
    """Raises if the lower bound is above the upper one."""
    if is_traced(low) or is_traced(high):
        return
    if np.any(np.asarray(low) > np.asarray(high)):
        raise ValueError(
            f"{owner}: {low_name} must be <= {high_name}, got {low_name}={low!r} and "
            f"{high_name}={high!r}; swap them."
        )


def traced_once(function: Callable[[Any], Any], dtype: Any) -> Any:
    """Traces a user's function once; returns the shape and dtype of its output."""
    if isinstance(function, np.ufunc):
        # JAX 0.10 crashes if a NumPy ufunc itself is traced.
        return jax.eval_shape(lambda x: function(x), jax.ShapeDtypeStruct((), dtype))
    return jax.eval_shape(function, jax.ShapeDtypeStruct((), dtype))
