"""Evaluates schedules: inside a JAX transform, or by a compiled program."""

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

get_abstract_mesh = jax.sharding.get_abstract_mesh

# No program builds more distinct structures than this.
_PROGRAMS = 512


def settings() -> tuple[bool, Any]:
    """The JAX settings that the numbers of a compiled program depend on.

    The mesh is one of them: numbers on the devices of one are refused in another.
    Whether schedules are bit-exact is not: `jax.jit` traces for either.
    """
    wide: bool = jax.config.jax_enable_x64  # type: ignore[attr-defined]
    return wide, get_abstract_mesh()


def prepared(schedule: Any) -> Any:
    """A copy with constants in more digits than one number holds, where that counts."""

    def prepares(x: Any) -> bool:
        return hasattr(x, "_prepared")

    return jax.tree.map(
        lambda x: x._prepared() if prepares(x) else x, schedule, is_leaf=prepares
    )


def evaluate(schedule: Any, step: ArrayLike) -> jax.Array:
    """Evaluates a schedule inside a JAX transform."""
    numbers, structure = jax.tree.flatten(prepared(schedule))
    numbers, clock = [_as_array(x) for x in numbers], clocks.as_clock(step)
    if is_bit_exact():
        # If a schedule's numbers are constants of the program, XLA folds them into its
        # arithmetic: x / 3 becomes x * (1 / 3), which rounds differently than if they
        # are arguments.
        numbers, clock = jax.lax.optimization_barrier((numbers, clock))
    result: jax.Array = jax.tree.unflatten(structure, numbers)._outermost_at(clock)
    fractional = jnp.issubdtype(clock.dtype, jnp.floating)
    if fractional and jnp.issubdtype(result.dtype, jnp.floating):
        return where(jnp.isnan(clock), jnp.nan, result)  # a NaN step has no value
    return result


def _as_array(x: ArrayLike) -> np.ndarray[Any, Any] | jax.Array:
    """Converts a number to an array; integers stay integers, to subtract lengths.

    A known number becomes a NumPy array, which is a constant of a traced program.
    """
    if _check.is_traced(x) or isinstance(x, jax.Array):
        return clocks.minus(x, 0) if _is_whole(x) else clocks.as_value(x)
    return np.asarray(x, np.int32 if _is_whole(x) else jnp.result_type(float))


def compiled(schedule: Any) -> Callable[[Any], jax.Array]:
    """Returns the schedule as a compiled function of the clock that is fast to call.

    The program depends only on the structure, so other numbers compile nothing new. The
    numbers are kept on the device, in one integer array that also holds the floats'
    bits: sending them there in each call, or one by one, takes several microseconds.
    """
    numbers, structure = jax.tree.flatten(prepared(schedule))
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
    with jax.ensure_compile_time_eval():  # also inside a jitted function
        resident = jnp.asarray(packed)
    whole = tuple(_is_whole(x) for x in numbers)
    return functools.partial(_program(structure, whole), resident)


def _is_whole(x: ArrayLike) -> bool:
    return bool(jnp.issubdtype(jnp.result_type(x), jnp.integer))


@functools.lru_cache(maxsize=_PROGRAMS)
def _program(structure: Any, whole: tuple[bool, ...] | None) -> Any:
    """Returns one jitted function for all schedules with the same structure."""

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
