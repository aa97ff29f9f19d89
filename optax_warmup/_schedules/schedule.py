"""What a schedule is: a value that maps a step to a number."""

import abc
import functools
from collections.abc import Callable
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from optax_warmup import _check
from optax_warmup._check import MAX_STEP
from optax_warmup._schedules import clock as clocks
from optax_warmup.shapes._shape import Shape
from optax_warmup.values._value import Static, Value, value

# What is taken where a schedule is asked for: a Schedule, any optax.Schedule, or a
# number for a constant. Fields so declared hold a Schedule once they are checked.
ScheduleLike: TypeAlias = Any

# A chain of a few hundred distinct structures is more than any program builds.
_PROGRAMS = 512


class Schedule(Value, abc.ABC):
    """A value that maps a step to a number, accepted wherever `optax.Schedule` is.

    The step is the number of completed optimizer updates: the first update has step 0.
    A schedule is a frozen dataclass and a pytree of its numbers. Its `repr` rebuilds
    it, it compares, hashes and pickles, and it may be an argument of a jitted function.

    Example:
        >>> import jax.numpy as jnp, optax, optax_warmup as ow
        >>> schedule = ow.warmup(1e-3, steps=4)
        >>> schedule
        warmup(constant(0.001), steps=4)
        >>> schedule(jnp.arange(6)).tolist() == [schedule(k).item() for k in range(6)]
        True
        >>> isinstance(schedule, ow.Schedule)
        True
        >>> optimizer = optax.adamw(schedule)
    """

    # What is compiled, and for which jax_enable_x64; not one of the dataclass' fields.
    _program: Any = (None, None)

    def __call__(self, step: ArrayLike) -> jax.Array:
        """The value at `step`.

        Args:
            step: completed updates; any integer or floating type, any shape. Before 0
                it counts as 0, past the end as the end.

        Returns:
            An array of the step's shape, float32 (float64 where JAX runs in 64 bits),
            not weakly typed.

        Raises:
            TypeError: the step is not a real number or an array of them.
        """
        # Training loops log the value at a Python int: every microsecond counts.
        if type(step) is int and 0 <= step <= MAX_STEP:
            clock = step
        elif _check.is_traced(step):
            return _evaluate(self, step)
        else:
            clock = clocks.as_clock(step)
        wide, program = self._program
        if wide is not _in_64_bits():
            program = _compiled(self)
            self._set(_program=(_in_64_bits(), program))
        return program(clock)

    def __getstate__(self) -> dict[str, Any]:
        """What pickles: the fields, not the compiled program."""
        state = dict(self.__dict__)
        state.pop("_program", None)
        return state

    @abc.abstractmethod
    def _at(self, clock: Any) -> jax.Array:
        """The value at a clock (see clock.py), of its shape, floating point."""

    def _outermost(self, clock: Any) -> jax.Array:
        """The value as it is returned, where no other schedule is around this one."""
        return self._at(clock)

    def _start(self) -> jax.Array:
        """The value that a warmup in front of this schedule must meet."""
        return self._at(jnp.int32(0))


def _in_64_bits() -> bool:
    return jax.config.jax_enable_x64  # type: ignore[attr-defined]


def _evaluate(schedule: Schedule, step: ArrayLike) -> jax.Array:
    """The value inside a JAX transform.

    XLA would fold a schedule's numbers into its arithmetic where they are constants of
    the program, and round otherwise than where they are arguments (x / 3 becomes
    x * (1 / 3)). Behind the barrier both are the same to the last bit.
    """
    numbers, structure = jax.tree.flatten(schedule)
    numbers, clock = jax.lax.optimization_barrier(
        ([_as_array(x) for x in numbers], clocks.as_clock(step))
    )
    result = jax.tree.unflatten(structure, numbers)._outermost(clock)
    fractional = jnp.issubdtype(clock.dtype, jnp.floating)
    if fractional and jnp.issubdtype(result.dtype, jnp.floating):
        return jnp.where(jnp.isnan(clock), jnp.nan, result)  # no step, no value
    return result


def _as_array(x: ArrayLike) -> jax.Array:
    """A number that is an int stays one: lengths are subtracted in integers."""
    return jnp.asarray(x).astype(jnp.int32) if _is_whole(x) else clocks.as_value(x)


def _compiled(schedule: Schedule) -> Callable[[Any], jax.Array]:
    """The schedule as a compiled function of the clock, quick to call.

    The program belongs to the structure, so other numbers compile nothing. They wait on
    the device, in one array of integers that holds the bits of the floats too: to send
    them there with each call, or one by one, takes several microseconds.
    """
    numbers, structure = jax.tree.flatten(schedule)
    if any(_check.is_traced(x) for x in numbers):
        return functools.partial(_evaluate, schedule)
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
            return packed
        real = jnp.result_type(float)
        return [
            x if is_whole else jax.lax.bitcast_convert_type(x, real)
            for x, is_whole in zip(packed, whole, strict=True)
        ]

    @jax.jit
    def schedule(packed: Any, clock: jax.Array) -> jax.Array:
        return _evaluate(jax.tree.unflatten(structure, unpack(packed)), clock)

    return schedule


def require_schedule(owner: str, name: str, x: ScheduleLike) -> Schedule:
    """`x` as a `Schedule`: a number is constant, any other callable is taken as is."""
    if isinstance(x, Schedule):
        return x
    if isinstance(x, Shape):
        raise TypeError(
            f"{owner}: {name} must be a schedule, got {x!r}, which is a shape: a "
            "function of progress. Give it as shape=..., or give "
            f"transition(init_value, end_value, steps, {x!r})."
        )
    if not callable(x) or isinstance(x, type):
        return constant(_check.rate(owner, name, x))
    try:
        out = jax.eval_shape(x, jax.ShapeDtypeStruct((), jnp.int32))
    except Exception as error:
        raise TypeError(
            f"{owner}: {name} must be a function of the step that can be traced, got "
            f"{x!r}, which fails with {type(error).__name__}: {error}"
        ) from error
    if getattr(out, "shape", None) != () or not _check.is_real(out.dtype):
        raise TypeError(
            f"{owner}: {name} must give one real number for a step, got {x!r}, which "
            f"gives {out}."
        )
    return _function(Static(x))


@value
class constant(Schedule):
    """The same value at every step.

    value(step) = value

    Args:
        value: >= 0; may be traced.

    Returns:
        A `Schedule`.

    Raises:
        TypeError: the value is not a number.
        ValueError: the value is negative, NaN or infinite.

    Example:
        >>> import optax_warmup as ow
        >>> ow.constant(0.5)(1000).item()
        0.5
    """

    value: ArrayLike

    def __post_init__(self) -> None:
        self._set(value=_check.rate("constant", "value", self.value))

    def _at(self, clock: Any) -> jax.Array:
        value = clocks.as_value(self.value)
        shape = jnp.broadcast_shapes(jnp.shape(clock), value.shape)
        return jnp.broadcast_to(value, shape)


@value
class _function(Schedule):
    """A schedule of somebody else's, such as one of optax's."""

    function: Static

    def _at(self, clock: Any) -> jax.Array:
        value = clocks.as_value(self.function.function(clock))
        return jnp.broadcast_to(value, jnp.shape(clock))

    def __repr__(self) -> str:
        return repr(self.function)
