"""Optax's own warmup schedules: the same arguments, without optax's edge cases."""

from __future__ import annotations

from optax_warmup import _check, shapes
from optax_warmup._schedules.clip import clip
from optax_warmup._schedules.decays import exponential_decay
from optax_warmup._schedules.delay import delay
from optax_warmup._schedules.schedule import Schedule
from optax_warmup._schedules.staircase import staircase as stairs
from optax_warmup._schedules.transition import transition
from optax_warmup._schedules.warmup import warmup
from optax_warmup.values._checked import checked
from optax_warmup.values._kinds import (
    Flag,
    Length,
    PositiveLength,
    PositiveRate,
    Rate,
)


@checked()
def warmup_constant_schedule(
    init_value: Rate, peak_value: Rate, warmup_steps: Length
) -> Schedule:
    """Linear warmup, then constant, with optax's arguments.

    It differs from optax in one case: with warmup_steps=0 optax's schedule stays at
    `init_value` forever, while this one is at the peak at once.

    Args:
        init_value: the value of the first update, >= 0; may be traced.
        peak_value: the value from step `warmup_steps` on, >= 0; may be traced.
        warmup_steps: length of the warmup in updates, >= 0; may be traced.

    Returns:
        A `Schedule`.

    Raises:
        TypeError: an argument is not a number.
        ValueError: a value is negative, NaN or infinite; a length is negative or
            not whole.

    Example:
        >>> import optax_warmup as ow
        >>> ow.compat.optax.warmup_constant_schedule(0.0, 1e-3, warmup_steps=100)
        warmup(constant(0.001), steps=100)

    Source: optax.warmup_constant_schedule, DeepMind, 2024.
    """
    return warmup(peak_value, warmup_steps, init_value=init_value)


@checked()
def warmup_cosine_decay_schedule(
    init_value: Rate,
    peak_value: Rate,
    warmup_steps: Length,
    decay_steps: PositiveLength,
    end_value: Rate = 0.0,
    exponent: PositiveRate = 1.0,
) -> Schedule:
    """Linear warmup, then cosine decay to a power, with optax's arguments.

    value(step) = end + (peak - end) * ((1 + cos(pi p)) / 2)**exponent,
    p = (step - warmup_steps) / (decay_steps - warmup_steps)

    It differs from optax in two cases. Optax refuses warmup_steps == decay_steps, which
    here is a ramp without a decay. With peak_value=0 optax ignores `end_value`.

    Args:
        init_value: the value of the first update, >= 0; may be traced.
        peak_value: the value at step `warmup_steps`, >= 0; may be traced.
        warmup_steps: length of the warmup in updates, 0 <= warmup_steps <= decay_steps.
        decay_steps: length of the whole schedule in updates, warmup included, >= 1.
        end_value: the value from step `decay_steps` on, >= 0; may be traced.
        exponent: the exponent of the cosine, > 0; may be traced.

    Returns:
        A `Schedule`.

    Raises:
        TypeError: an argument is not a number.
        ValueError: a value is negative, NaN or infinite; a length is not one;
            warmup_steps > decay_steps; `exponent` is not above 0.

    Example:
        >>> import optax_warmup as ow
        >>> schedule = ow.compat.optax.warmup_cosine_decay_schedule(0.0, 1.0, 2, 6)
        >>> [round(schedule(step).item(), 3) for step in range(7)]
        [0.0, 0.5, 1.0, 0.854, 0.5, 0.146, 0.0]

    Source: optax.warmup_cosine_decay_schedule, DeepMind, 2020.
    """
    owner = "warmup_cosine_decay_schedule"
    steps = _check.difference(
        owner, "decay_steps", decay_steps, "warmup_steps", warmup_steps
    )
    shape: shapes.Shape = shapes.cosine
    if not isinstance(exponent, float) or exponent != 1:
        shape = shapes.warp(shapes.polynomial(exponent), shape)
    decay = transition(peak_value, end_value, steps, shape)
    return warmup(decay, warmup_steps, init_value=init_value)


@checked()
def warmup_exponential_decay_schedule(
    init_value: Rate,
    peak_value: Rate,
    warmup_steps: Length,
    transition_steps: PositiveLength,
    decay_rate: PositiveRate,
    transition_begin: Length = 0,
    staircase: Flag = False,
    end_value: Rate | None = None,
) -> Schedule:
    """Linear warmup, then exponential decay, with optax's arguments.

    It differs from optax in one case: with decay_rate=0 or transition_steps=0 optax's
    schedule is constant, while this one raises an error.

    Args:
        init_value: the value of the first update, >= 0; may be traced.
        peak_value: the value at step `warmup_steps`, >= 0; may be traced.
        warmup_steps: length of the warmup in updates, >= 0; may be traced.
        transition_steps: number of updates over which the value changes by
            `decay_rate`, >= 1; may be traced.
        decay_rate: the factor, > 0; may be traced, but is then assumed to be below 1 if
            there is an `end_value`.
        transition_begin: number of updates at the peak before the decay, >= 0; may be
            traced.
        staircase: whether to hold the value for `transition_steps` updates at a time.
        end_value: the value at which it stops, >= 0: a lower bound if decay_rate < 1,
            else an upper bound; by default there is none; may be traced.

    Returns:
        A `Schedule`.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: a value is negative, NaN or infinite; a length is out of range;
            `decay_rate` is not above 0.

    Example:
        >>> import optax_warmup as ow
        >>> compat = ow.compat.optax
        >>> schedule = compat.warmup_exponential_decay_schedule(0.0, 1.0, 2, 1, 0.5)
        >>> [schedule(step).item() for step in range(5)]
        [0.0, 0.5, 1.0, 0.5, 0.25]

    Source: optax.warmup_exponential_decay_schedule, DeepMind, 2020.
    """
    decay: Schedule = exponential_decay(
        peak_value, steps=transition_steps, rate=decay_rate
    )
    if staircase:
        decay = stairs(decay, transition_steps)
    if not isinstance(transition_begin, int) or transition_begin > 0:
        decay = delay(decay, transition_begin)
    if end_value is not None:
        grows = isinstance(decay_rate, float) and decay_rate >= 1
        decay = clip(decay, **{"maximum" if grows else "minimum": end_value})
    return warmup(decay, warmup_steps, init_value=init_value)
