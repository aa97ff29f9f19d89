"""How a schedule is computed: inside a JAX transform, or by a compiled program."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from optax_warmup import _check
from optax_warmup._numerics import is_bit_exact, where
from optax_warmup._schedules import clock as clocks

# A chain of a few hundred distinct structures is more than any program builds.
_PROGRAMS = 512


def mode() -> tuple[bool, bool, Any]:
    """What decides, beside the schedule, which program computes it.

    The mesh, as numbers that wait on the devices of one are refused in another.
    """
    wide = bool(jax.config.jax_enable_x64)  # type: ignore[attr-defined]
    return wide, is_bit_exact(), jax.sharding.get_abstract_mesh()


def evaluate(schedule: Any, step: ArrayLike) -> jax.Array:
    """The value inside a JAX transform."""
    numbers, structure = jax.tree.flatten(schedule)
    numbers, clock = [_as_array(x) for x in numbers], clocks.as_clock(step)
    if is_bit_exact():
        # XLA would fold a schedule's numbers into its arithmetic where they are
        # constants of the program, and round otherwise than where they are arguments:
        # x / 3 becomes x * (1 / 3).
        numbers, clock = jax.lax.optimization_barrier((numbers, clock))
    result: jax.Array = jax.tree.unflatten(structure, numbers)._outermost_at(clock)
    fractional = jnp.issubdtype(clock.dtype, jnp.floating)
    if fractional and jnp.issubdtype(result.dtype, jnp.floating):
        return where(jnp.isnan(clock), jnp.nan, result)  # no step, no value
    return result


def _as_array(x: ArrayLike) -> np.ndarray[Any, Any] | jax.Array:
    """A number that is an int stays one: lengths are subtracted in integers.

    A known number becomes NumPy's, which a traced program has as a constant.
    """
    if _check.is_traced(x) or isinstance(x, jax.Array):
        return clocks.minus(x, 0) if _is_whole(x) else clocks.as_value(x)
    return np.asarray(x, np.int32 if _is_whole(x) else jnp.result_type(float))


def compiled(schedule: Any) -> Callable[[Any], jax.Array]:
    """The schedule as a compiled function of the clock, quick to call.

    The program belongs to the structure, so other numbers compile nothing. They wait on
    the device, in one array of integers that holds the bits of the floats too: to send
    them there with each call, or one by one, takes several microseconds.
    """
    numbers, structure = jax.tree.flatten(schedule)
    if any(_check.is_traced(x) for x in numbers):
        return functools.partial(evaluate, schedule)
    if any(np.ndim(x) > 0 for x in numbers):
        return functools.partial(_program(structure, None), numbers)
    real = jnp.result_type(float)
    bits = jnp.finfo(real).bits
    packed = np.array(
        [
            x if _is_whole(x) else np.asarray(x, real).view(f"i{bits // 8}")
            for x in numbers
        ],
        f"i{bits // 8}",
    )
    with jax.ensure_compile_time_eval():  # also when the call is inside a jitted one
        resident = jnp.asarray(packed)
    whole = tuple(_is_whole(x) for x in numbers)
    return functools.partial(_program(structure, whole), resident)


def _is_whole(x: ArrayLike) -> bool:
    return bool(jnp.issubdtype(jnp.result_type(x), jnp.integer))


@functools.lru_cache(maxsize=_PROGRAMS)
def _program(structure: Any, whole: tuple[bool, ...] | None) -> Any:
    """One jitted function for all schedules of a structure."""

    def unpack(packed: Any) -> list[jax.Array]:
        if whole is None:
            return list(packed)
        real = jnp.result_type(float)
        return [
            x if is_whole else jax.lax.bitcast_convert_type(x, real)
            for x, is_whole in zip(packed, whole, strict=True)
        ]

    @jax.jit
    def schedule(packed: Any, clock: jax.Array) -> jax.Array:
        return evaluate(jax.tree.unflatten(structure, unpack(packed)), clock)

    return schedule
