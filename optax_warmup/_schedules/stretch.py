"""The same schedule over longer or shorter lengths."""

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from optax_warmup import _check
from optax_warmup._schedules import clock as clocks
from optax_warmup._schedules.batch_size import growing_batch
from optax_warmup._schedules.compose import (
    advance,
    cooldown,
    delay,
    join,
    multiply,
    warmup,
)
from optax_warmup._schedules.decays import exponential_decay
from optax_warmup._schedules.jitter import jitter
from optax_warmup._schedules.modify import add, clip, staircase
from optax_warmup._schedules.ramps import inverse_power, piecewise, transition
from optax_warmup._schedules.retime import retime
from optax_warmup._schedules.round_to import round_to
from optax_warmup._schedules.schedule import (
    Schedule,
    ScheduleLike,
    constant,
    require_schedule,
)
from optax_warmup._schedules.switch import switch
from optax_warmup.factors._factors import rectification

# The fields that are lengths, in steps; the schedules in the other fields follow suit.
LENGTHS: dict[type[Schedule], tuple[str, ...]] = {
    add: (),
    advance: ("steps",),
    delay: ("steps",),
    retime: ("begin", "steps", "updates"),
    switch: ("begin", "steps"),
    clip: (),
    constant: (),
    cooldown: ("begin", "steps"),
    exponential_decay: ("steps",),
    growing_batch: (),  # the batch grows as much later: its sizes and base stay
    inverse_power: (),
    join: (),
    multiply: (),
    jitter: (),
    piecewise: (),
    round_to: (),
    staircase: ("steps",),
    transition: ("steps",),
    warmup: ("steps", "offset"),
}


def stretch(schedule: ScheduleLike, factor: ArrayLike) -> Schedule:
    """The same schedule with all its lengths multiplied, for a longer or shorter run.

    value(step) = schedule(step / factor)

    The result is an ordinary schedule with other numbers. Each length is rounded to
    whole updates, half up; where nothing needs rounding the formula is exact.

    Args:
        schedule: one of this library's, or a number (>= 0) for a constant. A callable
            of somebody else's hides its lengths; see `retime` for those. A
            `growing_batch` is stretched with the batch's own phases.
        factor: > 0; 2 makes it twice as long; may be traced, and then lengths above
            2**24 have float32's digits.

    Returns:
        A `Schedule`.

    Raises:
        TypeError: the factor is not a number, or a schedule's lengths are not known.
        ValueError: the factor is not finite or not above 0; a length exceeds 2**31 - 1.

    Example:
        >>> import optax_warmup as ow
        >>> ow.stretch(ow.warmup(ow.transition(1.0, 0.1, 90), 10), 1.5)
        warmup(transition(1.0, end_value=0.1, steps=135), steps=15)

    Source: the "scale schedule ratio" of MosaicML's Composer, 2021.
    """
    schedule = require_schedule("stretch", "schedule", schedule)
    factor = _check.number("stretch", "factor", factor, above=0)
    require_stretchable("stretch", schedule)

    def length(steps: ArrayLike) -> ArrayLike:
        if isinstance(steps, int) and isinstance(factor, float):
            exact = math.floor(steps * Fraction(factor) + Fraction(1, 2))
            return _check.length("stretch", "a length times factor", exact)
        steps = clocks.as_value(steps) * clocks.as_value(factor)
        return jnp.floor(steps + 0.5).astype(jnp.int32)

    def time(timescale: ArrayLike) -> ArrayLike:
        if isinstance(timescale, float) and isinstance(factor, float):
            return _check.number("stretch", "timescale * factor", timescale * factor)
        return clocks.as_value(timescale) * clocks.as_value(factor)

    return with_times(schedule, length, time)


def with_times(
    schedule: Schedule,
    length: Callable[[ArrayLike], ArrayLike],
    time: Callable[[ArrayLike], ArrayLike],
) -> Schedule:
    """The schedule with other lengths (whole) and times (real)."""
    fields = dict(schedule.__dict__)
    fields.pop("_program", None)
    lengths = LENGTHS[type(schedule)]
    if isinstance(schedule, retime) and isinstance(schedule.begin, int):
        # From the start on, a pace is no length.
        lengths = lengths if schedule.begin > 0 else ()
    for name, field in fields.items():
        if name in lengths:
            fields[name] = length(field)
        elif name == "timescale":
            fields[name] = time(field)
        elif name == "segments":
            fields[name] = tuple((length(s), *rest) for s, *rest in field)
        elif name == "phases":
            fields[name] = tuple(
                (length(s), with_times(inner, length, time)) for s, inner in field
            )
        elif name == "schedules":
            fields[name] = tuple(with_times(inner, length, time) for inner in field)
        elif isinstance(field, Schedule):
            fields[name] = with_times(field, length, time)
    # Not the constructor: inside a traced program there is nothing to check.
    result = object.__new__(type(schedule))
    result._set(**fields)
    return result


def require_stretchable(owner: str, schedule: Schedule) -> None:
    """Refuses a schedule whose lengths are not known."""
    leaves = jax.tree.leaves(schedule, is_leaf=_is_other)
    for leaf in leaves:
        if isinstance(leaf, rectification):
            raise TypeError(
                f"{owner}: {leaf!r} has no length of its own, it follows from Adam's "
                "b2; leave it out, and multiply the result by it."
            )
        if _is_other(leaf):
            raise TypeError(
                f"{owner}: the lengths inside {leaf!r} are not known; build the "
                "schedule from this library's, or write it out for its new length."
            )


def _is_other(x: Any) -> bool:
    return isinstance(x, Schedule) and type(x) not in LENGTHS
