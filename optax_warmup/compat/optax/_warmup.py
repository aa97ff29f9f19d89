"""Optax's own warmup schedules: same arguments, and values where optax's are lost."""

from jax.typing import ArrayLike

from optax_warmup import _check, shapes
from optax_warmup._schedules.compose import delay, warmup
from optax_warmup._schedules.decays import exponential_decay
from optax_warmup._schedules.modify import clip, staircase as stairs
from optax_warmup._schedules.ramps import transition
from optax_warmup._schedules.schedule import Schedule


def warmup_constant_schedule(
    init_value: ArrayLike, peak_value: ArrayLike, warmup_steps: ArrayLike
) -> Schedule:
    """A linear warmup, then constant; arguments as in optax.

    Where optax differs: with warmup_steps=0 it stays at `init_value` for ever; this one
    is at the peak at once.

    Args:
        init_value: the value of the first update, >= 0; may be traced.
        peak_value: the value from step `warmup_steps` on, >= 0; may be traced.
        warmup_steps: updates in the ramp, >= 0; may be traced.

    Returns:
        A `Schedule`.

    Raises:
        TypeError: an argument is not a number.
        ValueError: a value is negative, NaN or infinite; a length is not one.

    Example:
        >>> import optax_warmup as ow
        >>> ow.compat.optax.warmup_constant_schedule(0.0, 1e-3, warmup_steps=100)
        warmup(constant(0.001), steps=100)

    Source: optax.warmup_constant_schedule, DeepMind, 2024.
    """
    peak_value = _check.rate("warmup_constant_schedule", "peak_value", peak_value)
    steps = _check.length("warmup_constant_schedule", "warmup_steps", warmup_steps)
    return warmup(peak_value, steps, init_value=init_value)


def warmup_cosine_decay_schedule(
    init_value: ArrayLike,
    peak_value: ArrayLike,
    warmup_steps: ArrayLike,
    decay_steps: ArrayLike,
    end_value: ArrayLike = 0.0,
    exponent: ArrayLike = 1.0,
) -> Schedule:
    """A linear warmup, then a cosine decay to a power; arguments as in optax.

    value(step) = end + (peak - end) * ((1 + cos(pi p)) / 2)**exponent,
    p = (step - warmup_steps) / (decay_steps - warmup_steps)

    Where optax differs: it refuses warmup_steps == decay_steps, which here is a ramp
    that is never followed by a decay; and with peak_value=0 it forgets `end_value`.

    Args:
        init_value: the value of the first update, >= 0; may be traced.
        peak_value: the value at step `warmup_steps`, >= 0; may be traced.
        warmup_steps: updates in the ramp, 0 <= warmup_steps <= decay_steps.
        decay_steps: the length of the whole schedule, the warmup included.
        end_value: the value from step `decay_steps` on, >= 0; may be traced.
        exponent: of the cosine, > 0; may be traced.

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
    peak_value = _check.rate(owner, "peak_value", peak_value)
    end_value = _check.rate(owner, "end_value", end_value)
    warmup_steps = _check.length(owner, "warmup_steps", warmup_steps)
    decay_steps = _check.length(owner, "decay_steps", decay_steps)
    exponent = _check.number(owner, "exponent", exponent, above=0)
    steps = _check.difference(
        owner, "decay_steps", decay_steps, "warmup_steps", warmup_steps
    )
    shape: shapes.Shape = shapes.cosine
    if not isinstance(exponent, float) or exponent != 1:
        shape = shapes.warp(shapes.polynomial(exponent), shape)
    decay = transition(peak_value, end_value, steps, shape)
    return warmup(decay, warmup_steps, init_value=init_value)


def warmup_exponential_decay_schedule(
    init_value: ArrayLike,
    peak_value: ArrayLike,
    warmup_steps: ArrayLike,
    transition_steps: ArrayLike,
    decay_rate: ArrayLike,
    transition_begin: ArrayLike = 0,
    staircase: bool = False,
    end_value: ArrayLike | None = None,
) -> Schedule:
    """A linear warmup, then an exponential decay; arguments as in optax.

    Where optax differs: with decay_rate=0 or transition_steps=0 it is constant, which
    here is an error.

    Args:
        init_value: the value of the first update, >= 0; may be traced.
        peak_value: the value at step `warmup_steps`, >= 0; may be traced.
        warmup_steps: updates in the ramp, >= 0; may be traced.
        transition_steps: updates over which the value changes by `decay_rate`, >= 1.
        decay_rate: the factor, > 0; may be traced, and is then taken to be below 1 if
            there is an `end_value`.
        transition_begin: updates at the peak before the decay, >= 0; may be traced.
        staircase: whether the value is held for `transition_steps` updates each.
        end_value: the bound at which the value stops: a lower one where decay_rate < 1,
            else an upper one.

    Returns:
        A `Schedule`.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: a value is negative, NaN or infinite; a length is out of range;
            `decay_rate` is not above 0.

    Example:
        >>> import optax_warmup as ow
        >>> schedule = ow.compat.optax.warmup_exponential_decay_schedule(0.0, 1.0, 2, 1, 0.5)
        >>> [schedule(step).item() for step in range(5)]
        [0.0, 0.5, 1.0, 0.5, 0.25]

    Source: optax.warmup_exponential_decay_schedule, DeepMind, 2020.
    """
    owner = "warmup_exponential_decay_schedule"
    peak_value = _check.rate(owner, "peak_value", peak_value)
    warmup_steps = _check.length(owner, "warmup_steps", warmup_steps)
    steps = _check.length(owner, "transition_steps", transition_steps, minimum=1)
    rate = _check.number(owner, "decay_rate", decay_rate, above=0)
    begin = _check.length(owner, "transition_begin", transition_begin)
    if not isinstance(staircase, bool):
        raise TypeError(f"{owner}: staircase must be True or False, got {staircase!r}.")
    decay: Schedule = exponential_decay(peak_value, steps=steps, rate=rate)
    if staircase:
        decay = stairs(decay, steps)
    if not isinstance(begin, int) or begin > 0:
        decay = delay(decay, begin)
    if end_value is not None:
        end_value = _check.rate(owner, "end_value", end_value)
        grows = isinstance(rate, float) and rate >= 1
        decay = clip(decay, **{"maximum" if grows else "minimum": end_value})
    return warmup(decay, warmup_steps, init_value=init_value)
