"""What a schedule is: a value that maps a step to a number."""

import abc
from collections.abc import Callable
from typing import Annotated, Any, TypeAlias, cast

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from optax_warmup import _check
from optax_warmup._check import MAX_STEP
from optax_warmup._schedules import clock as clocks
from optax_warmup._schedules.program import compiled, evaluate, mode
from optax_warmup.shapes._shape import Shape
from optax_warmup.values._kinds import Change, Kind, Rate
from optax_warmup.values._value import Static, Value


class Schedule(Value, abc.ABC):
    """A value that maps a step to a number, accepted wherever `optax.Schedule` is.

    The step is the number of completed optimizer updates: the first update has step 0.
    A schedule is a frozen dataclass and a pytree of its numbers. Its `repr` rebuilds
    it, it compares, hashes and pickles, and it may be an argument of a jitted function.

    To write your own, derive from it, annotate each field with what it holds (see
    `optax_warmup.values`) and define `value_at`. The arguments are then checked, and
    everything that takes a schedule of this library takes yours.

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

    # What is compiled, and for which mode. Not a field: it has no annotation.
    _program = (None, None)
    # Why its lengths cannot be changed, where they cannot.
    _fixed_length = ""

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
            clock: Any = step
        elif _check.is_traced(step):
            return evaluate(self, step)
        else:
            clock = clocks.as_clock(step)
        compiled_for, program = self._program
        if program is None or compiled_for != mode():
            program = compiled(self)
            self._set(_program=(mode(), program))
        return program(clock)

    def __getstate__(self) -> dict[str, Any]:
        """What pickles: the fields, not the compiled program."""
        state = dict(self.__dict__)
        state.pop("_program", None)
        return state

    @abc.abstractmethod
    def value_at(self, clock: Any) -> jax.Array:
        """The value at a clock: an int32 array >= 0, or floating for fractional steps.

        Called inside JAX transforms, with fields that may be traced. Returns an array
        of the clock's shape, floating point.
        """

    def start_value(self) -> jax.Array:
        """The value that a warmup in front of this schedule must meet."""
        return self.value_at(jnp.int32(0))

    def _outermost_at(self, clock: Any) -> jax.Array:
        """The value as it is returned, where no other schedule is around this one."""
        return self.value_at(clock)


class _OneSchedule(Kind):
    def check(self, owner: str, name: str, x: Any) -> Schedule:
        return as_schedule(x, owner, name)

    def stretch(self, x: Any, length: Change, time: Change) -> Any:
        return as_schedule(x)._stretched(length, time)


# A field may be annotated with the class itself, whose methods a type checker knows.
Schedule._kind = _OneSchedule()

# What is taken where a schedule is asked for: a Schedule, any optax.Schedule, or a
# number for a constant. A field so declared holds a Schedule once it is checked.
ScheduleLike: TypeAlias = Annotated[
    Schedule | Callable[[Any], Any] | ArrayLike, _OneSchedule()
]


def as_schedule(
    x: ScheduleLike, owner: str = "schedule", name: str = "value"
) -> Schedule:
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
        return constant(_check.rate(owner, name, cast(ArrayLike, x)))
    try:
        out = _check.traced_once(x, jnp.int32)
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

    value: "Rate"

    def value_at(self, clock: Any) -> jax.Array:
        value = clocks.as_value(self.value)
        shape = jnp.broadcast_shapes(jnp.shape(clock), value.shape)
        return jnp.broadcast_to(value, shape)


class _Held(Kind):
    """A callable that is kept as it is."""

    def check(self, owner: str, name: str, x: Any) -> Any:
        return x


class _function(Schedule):
    """A schedule of somebody else's, such as one of optax's."""

    _fixed_length = (
        "is a function whose lengths are not known; build the schedule from this "
        "library's, or write it out for its new length"
    )

    function: Annotated[Static, _Held()]

    def value_at(self, clock: Any) -> jax.Array:
        value = clocks.as_value(self.function.function(clock))
        return jnp.broadcast_to(value, jnp.shape(clock))

    def __repr__(self) -> str:
        return repr(self.function)
