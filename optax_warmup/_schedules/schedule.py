"""The base class of schedules, and the constant schedule."""

import abc
from collections.abc import Callable
from typing import Annotated, Any, ClassVar, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from optax_warmup import _check
from optax_warmup._check import MAX_STEP
from optax_warmup._schedules import clock as clocks
from optax_warmup._schedules.program import compiled, evaluate, settings
from optax_warmup.shapes._shape import Shape
from optax_warmup.values._kinds import Change, Kind, Rate, kind_of
from optax_warmup.values._value import Static, Value


class Schedule(Value, abc.ABC):
    """Base class of schedules, which are accepted wherever an `optax.Schedule` is.

    A schedule maps a step to a number. The step is the number of completed optimizer
    updates: the first update has step 0. A schedule is a frozen dataclass and a pytree
    of its numbers. Its `repr` is the code that rebuilds it. It can be compared, hashed
    and pickled, and can be an argument of a jitted function.

    To write your own, derive from it, annotate each field with what it holds (see
    `optax_warmup.values`) and define `value_at`. Its arguments are then checked, and it
    works wherever a schedule of this library does.

    Example:
        >>> import jax.numpy as jnp, optax, optax_warmup as ow
        >>> schedule = ow.warmup(1e-3, steps=4)
        >>> schedule
        warmup(constant(0.001), steps=4)
        >>> schedule(jnp.arange(6)).tolist() == [schedule(k).item() for k in range(6)]
        True
        >>> optimizer = optax.adamw(schedule)
        >>> class sawtooth(ow.Schedule):
        ...     peak_value: ow.values.Rate
        ...     period: ow.values.PositiveLength
        ...     def value_at(self, clock):
        ...         return (clock % self.period) / self.period * self.peak_value
        >>> ow.stretch(ow.multiply(sawtooth(1.0, period=4), 0.5), 2)
        multiply(sawtooth(1.0, period=8), constant(0.5))
    """

    # Settings and the program compiled for them. No annotation: this is not a field.
    _program = (None, None)
    # What a notebook shows, set by the room that draws; None for the `repr` alone.
    _html: ClassVar[Callable[[Any], str | None] | None] = None
    # If its lengths cannot be changed, the reason.
    _fixed_length = ""

    def __call__(self, step: ArrayLike) -> jax.Array:
        """The value at `step`.

        Args:
            step: number of completed updates, of any integer or floating-point type
                and any shape. Steps below 0 count as 0, integers above 2**31 - 1 as
                2**31 - 1.

        Returns:
            An array of the step's shape, float32 (float64 if JAX runs in 64 bits), not
            weakly typed.

        Raises:
            TypeError: the step is not a real number or an array of them.
        """
        # Training loops log the value at a Python int, where microseconds count.
        if type(step) is int and 0 <= step <= MAX_STEP:
            clock: Any = step
        elif _check.is_traced(step):
            return evaluate(self, step)
        else:
            clock = clocks.as_clock(step)
        compiled_for, program = self._program
        if program is None or compiled_for != settings():
            program = compiled(self)
            self._set(_program=(settings(), program))
        return program(clock)

    def _repr_html_(self) -> str | None:
        show = type(self)._html
        return None if show is None else show(self)

    def __getstate__(self) -> dict[str, Any]:
        """Pickles the fields, and not the compiled program."""
        state = dict(self.__dict__)
        state.pop("_program", None)
        return state

    @abc.abstractmethod
    def value_at(self, clock: Any) -> jax.Array:
        """Returns the value at a clock, a floating-point array of the clock's shape.

        The clock is an int32 array >= 0, or a floating-point one for fractional steps.
        This is called inside JAX transforms, with fields that may be traced.
        """

    def start_value(self) -> jax.Array:
        """The value that a warmup in front of this schedule leads to."""
        return self.value_at(jnp.int32(0))

    def _value_and_start(self, clock: Any) -> tuple[jax.Array, jax.Array]:
        """`value_at` and `start_value`; overridden if both ask the same schedule."""
        return self.value_at(clock), self.start_value()

    def _outermost_at(self, clock: Any) -> jax.Array:
        """The value that is returned if no other schedule wraps this one."""
        return self.value_at(clock)


class _OneSchedule(Kind):
    def check(self, owner: str, name: str, x: Any) -> Schedule:
        return as_schedule(x, owner, name)

    def stretch(self, x: Any, length: Change, time: Change) -> Any:
        return as_schedule(x)._stretched(length, time)


# A field may be annotated with the class itself, whose methods a type checker knows.
Schedule._kind = _OneSchedule()

# What is accepted as a schedule: a Schedule, any optax.Schedule, or a number for a
# constant. A field that is declared so holds a Schedule once it is checked.
ScheduleLike: TypeAlias = Annotated[
    Schedule | Callable[[Any], Any] | ArrayLike, _OneSchedule()
]


_RATE = kind_of(Rate)


def as_schedule(
    x: ScheduleLike, owner: str = "schedule", name: str = "value"
) -> Schedule:
    """Converts `x` to a `Schedule`; a number is a constant, a callable is wrapped."""
    if isinstance(x, Schedule):
        return x
    if isinstance(x, Shape):
        raise TypeError(
            f"{owner}: {name} must be a schedule, got {x!r}, which is a shape: a "
            "function of progress. Pass it as shape=..., or pass "
            f"transition(init_value, end_value, steps, {x!r})."
        )
    if not callable(x) or isinstance(x, type):
        return constant(_RATE.check(owner, name, x))
    try:
        out = _check.traced_once(x, jnp.int32)
    except Exception as error:
        raise TypeError(
            f"{owner}: {name} must be a function of the step that can be traced, got "
            f"{x!r}, which fails with {type(error).__name__}: {error}"
        ) from error
    if getattr(out, "shape", None) != () or not _check.is_real(out.dtype):
        raise TypeError(
            f"{owner}: {name} must return one real number for each step, got {x!r}, "
            f"which returns {out}."
        )
    return _function(Static(x))


def known_values(
    owner: str, name: str, x: ScheduleLike, steps: np.ndarray
) -> np.ndarray:
    """The values of a schedule at some steps, in float64, also while JAX is tracing."""
    schedule = as_schedule(x, owner, name)
    try:
        with jax.ensure_compile_time_eval():
            return np.asarray(schedule(steps), np.float64)
    except jax.errors.TracerArrayConversionError:
        raise TypeError(
            f"{owner}: {name} must not hold traced numbers, got {schedule!r}; call "
            f"{owner} outside of jit and vmap."
        ) from None


class constant(Schedule):
    """Constant schedule: the same value at every step.

    value(step) = value

    Args:
        value: the value, >= 0; may be traced.

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

    value: "Rate"

    def value_at(self, clock: Any) -> jax.Array:
        value = clocks.as_value(self.value)
        shape = jnp.broadcast_shapes(jnp.shape(clock), value.shape)
        return jnp.broadcast_to(value, shape)


class _Held(Kind):
    """A callable that is stored unchanged."""

    def check(self, owner: str, name: str, x: Any) -> Any:
        return x


class _function(Schedule):
    """Wraps a function of the step, such as a schedule of optax's."""

    _fixed_length = (
        "is a function whose lengths are not known; build it from this library's "
        "schedules, or write it for the new length"
    )

    function: Annotated[Static, _Held()]

    def value_at(self, clock: Any) -> jax.Array:
        value = clocks.as_value(self.function.function(clock))
        return jnp.broadcast_to(value, jnp.shape(clock))

    def __repr__(self) -> str:
        return repr(self.function)
