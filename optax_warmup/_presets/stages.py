"""Presets of several stages, and those that do not know where the run ends."""

from jax.typing import ArrayLike

from optax_warmup import _check, shapes
from optax_warmup._schedules import clock as clocks
from optax_warmup._schedules.compose import delay, multiply, warmup
from optax_warmup._schedules.decays import exponential_decay
from optax_warmup._schedules.ramps import inverse_power, piecewise, transition
from optax_warmup._schedules.schedule import Schedule, require_schedule


def warmup_exponential(
    peak_value: ArrayLike,
    warmup_steps: ArrayLike,
    *,
    decay_steps: ArrayLike,
    decay_rate: ArrayLike,
    init_value: ArrayLike = 0.0,
    limit: ArrayLike = 0.0,
    offset: ArrayLike = 0,
) -> Schedule:
    """A linear warmup, then an exponential decay.

    With W = warmup_steps, after the warmup
    value(step) = limit + (peak_value - limit) * decay_rate**((step - W) / decay_steps)

    Args:
        peak_value: the value at step `warmup_steps`, >= 0; may be traced.
        warmup_steps: updates in the ramp, >= 0; may be traced.
        decay_steps: updates after which the value has changed by `decay_rate`, >= 1.
        decay_rate: the factor, 0 < decay_rate <= 1; may be traced.
        init_value: the value of the first update, >= 0; may be traced.
        limit: what the value tends to, >= 0; may be traced.
        offset: 1 gives the first update peak / warmup_steps; see `warmup`.

    Returns:
        A `Schedule`.

    Raises:
        TypeError: an argument is not a number.
        ValueError: a value is negative, NaN or infinite; a length is not one; the rate
            is not in (0, 1].

    Example:
        >>> import optax_warmup as ow
        >>> schedule = ow.warmup_exponential(1.0, 2, decay_steps=1, decay_rate=0.5)
        >>> [schedule(step).item() for step in range(5)]
        [0.0, 0.5, 1.0, 0.5, 0.25]
    """
    owner = "warmup_exponential"
    peak_value = _check.rate(owner, "peak_value", peak_value)
    warmup_steps = _check.length(owner, "warmup_steps", warmup_steps)
    decay_steps = _check.length(owner, "decay_steps", decay_steps, minimum=1)
    decay_rate = _check.number(
        owner, "decay_rate", decay_rate, above=0, maximum=1, hint="this is a decay"
    )
    limit = _check.rate(owner, "limit", limit)
    decay = exponential_decay(
        peak_value, steps=decay_steps, rate=decay_rate, limit=limit
    )
    return warmup(decay, warmup_steps, init_value=init_value, offset=offset)


def power_law(
    peak_value: ArrayLike,
    warmup_steps: ArrayLike,
    *,
    hold_until: ArrayLike,
    power: ArrayLike = 0.5,
    init_value: ArrayLike = 0.0,
    offset: ArrayLike = 0,
) -> Schedule:
    """A linear warmup, a constant, then a power of the step; the end stays open.

    value(step) = peak_value * min(1, (step / hold_until)**-power)   after the warmup

    The power scheduler min(peak, a * (c * step)**-b), with c tokens an update, has
    hold_until = (a / peak)**(1 / b) / c and power = b. End it with `cooldown`.

    Args:
        peak_value: the value from step `warmup_steps` to `hold_until`, >= 0.
        warmup_steps: updates in the ramp, 0 <= warmup_steps <= hold_until.
        hold_until: the step at which the decay begins, >= 1; may be traced.
        power: the exponent, >= 0; may be traced.
        init_value: the value of the first update, >= 0; may be traced.
        offset: 1 gives the first update peak / warmup_steps; see `warmup`.

    Returns:
        A `Schedule`.

    Raises:
        TypeError: an argument is not a number.
        ValueError: a value is negative, NaN or infinite; a length is out of range;
            warmup_steps > hold_until.

    Example:
        >>> import optax_warmup as ow
        >>> schedule = ow.power_law(1.0, 2, hold_until=4)
        >>> [schedule(step).item() for step in (0, 1, 2, 4, 16, 64)]
        [0.0, 0.5, 1.0, 1.0, 0.5, 0.25]

    Source: Y. Shen et al., "Power Scheduler: A Batch Size and Token Number Agnostic
    Learning Rate Scheduler", 2024, arXiv:2408.13359, equation 8.
    """
    owner = "power_law"
    warmup_steps = _check.length(owner, "warmup_steps", warmup_steps)
    hold_until = _check.length(owner, "hold_until", hold_until, minimum=1)
    hold = _check.difference(
        owner, "hold_until", hold_until, "warmup_steps", warmup_steps
    )
    tail = inverse_power(
        _check.rate(owner, "peak_value", peak_value),
        timescale=hold_until,
        power=_check.number(owner, "power", power, minimum=0),
    )
    held = delay(tail, hold)
    return warmup(held, warmup_steps, init_value=init_value, offset=offset)


def tri_stage(
    peak_value: ArrayLike,
    warmup_steps: ArrayLike,
    hold_steps: ArrayLike,
    decay_steps: ArrayLike,
    *,
    init_value: ArrayLike,
    end_value: ArrayLike,
) -> Schedule:
    """Up in a line, constant, and down by the same factor every update.

    Args:
        peak_value: the value of the constant stage, > 0; may be traced.
        warmup_steps: updates in the ramp, >= 0; may be traced.
        hold_steps: updates at the peak, >= 0; may be traced.
        decay_steps: updates in the decay, >= 0; may be traced.
        init_value: the value of the first update, >= 0; may be traced.
        end_value: the value at the end, > 0; may be traced.

    Returns:
        A `Schedule`.

    Raises:
        TypeError: an argument is not a number.
        ValueError: a value is NaN or infinite, negative or, for the peak and the end,
            0; a length is negative or not whole.

    Example:
        >>> import optax_warmup as ow
        >>> schedule = ow.tri_stage(1.0, 2, 1, 2, init_value=0.0, end_value=0.25)
        >>> [round(schedule(step).item(), 6) for step in range(7)]
        [0.0, 0.5, 1.0, 1.0, 0.5, 0.25, 0.25]

    Source: D. S. Park et al., "SpecAugment", 2019, arXiv:1904.08779, section 3.2.
    """
    owner = "tri_stage"
    peak_value = _check.number(owner, "peak_value", peak_value, above=0)
    end_value = _check.number(owner, "end_value", end_value, above=0)
    decay = shapes.exponential(_ratio(end_value, peak_value))
    return piecewise(
        _check.rate(owner, "init_value", init_value),
        [
            (_check.length(owner, "warmup_steps", warmup_steps), peak_value),
            (_check.length(owner, "hold_steps", hold_steps), peak_value),
            (_check.length(owner, "decay_steps", decay_steps), end_value, decay),
        ],
    )


def _ratio(x: ArrayLike, y: ArrayLike) -> ArrayLike:
    if isinstance(x, float) and isinstance(y, float):
        return x / y
    return clocks.as_value(x) / clocks.as_value(y)


def infinite(
    peak_value: ArrayLike,
    warmup_steps: ArrayLike,
    decay_steps: ArrayLike,
    constant_value: ArrayLike,
    *,
    init_value: ArrayLike = 0.0,
    shape: shapes.Shape = shapes.cosine,
) -> Schedule:
    """A warmup, a decay to a constant, and that constant for as long as data comes.

    Anneal it from whatever step you like with `cooldown(infinite(...), begin, steps)`,
    and go on from the same constant afterwards.

    Args:
        peak_value: the value at step `warmup_steps`, >= 0; may be traced.
        warmup_steps: updates in the ramp, >= 0; may be traced.
        decay_steps: updates from the peak to the constant, >= 0; may be traced.
        constant_value: the constant, >= 0; may be traced.
        init_value: the value of the first update, >= 0; may be traced.
        shape: of the decay.

    Returns:
        A `Schedule`.

    Raises:
        TypeError: an argument is not a number, or the shape is not callable.
        ValueError: a value is negative, NaN or infinite; a length is negative or not
            whole; the shape does not join 0 to 1.

    Example:
        >>> import optax_warmup as ow
        >>> endless = ow.infinite(1.0, 2, 2, 0.5)
        >>> [ow.cooldown(endless, begin=6, steps=2)(step).item() for step in range(9)]
        [0.0, 0.5, 1.0, 0.75, 0.5, 0.5, 0.5, 0.25, 0.0]

    Source: A. Ibrahim et al., "Simple and Scalable Strategies to Continually Pre-train
    Large Language Models", 2024, arXiv:2403.08763, section 7.4.
    """
    owner = "infinite"
    return piecewise(
        _check.rate(owner, "init_value", init_value),
        [
            (
                _check.length(owner, "warmup_steps", warmup_steps),
                _check.rate(owner, "peak_value", peak_value),
            ),
            (
                _check.length(owner, "decay_steps", decay_steps),
                _check.rate(owner, "constant_value", constant_value),
                shape,
            ),
        ],
    )


def spike(
    schedule: Schedule | ArrayLike,
    begin: ArrayLike,
    *,
    factor: ArrayLike,
    up_steps: ArrayLike,
    hold_steps: ArrayLike = 0,
    down_steps: ArrayLike,
) -> Schedule:
    """A schedule with a temporary rise, to try a region or to test for stability.

    From step `begin` on the values are multiplied by a factor that goes from 1 to
    `factor`, stays there, and comes back to 1.

    Args:
        schedule: what is multiplied, or a number (>= 0) for a constant.
        begin: the step at which the rise begins, >= 0; may be traced.
        factor: at the top, >= 0; below 1 it is a dip; may be traced.
        up_steps: updates on the way up, >= 0; may be traced.
        hold_steps: updates at the top, >= 0; may be traced.
        down_steps: updates on the way back, >= 0; may be traced.

    Returns:
        A `Schedule`.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: a value is negative, NaN or infinite; a length is negative or not
            whole.

    Example:
        >>> import optax_warmup as ow
        >>> schedule = ow.spike(1.0, begin=1, factor=3, up_steps=2, down_steps=1)
        >>> [schedule(step).item() for step in range(6)]
        [1.0, 1.0, 2.0, 3.0, 1.0, 1.0]
    """
    owner = "spike"
    schedule = require_schedule(owner, "schedule", schedule)
    begin = _check.length(owner, "begin", begin)
    factor = _check.rate(owner, "factor", factor)
    rise = piecewise(
        1.0,
        [
            (begin, 1.0),
            (_check.length(owner, "up_steps", up_steps), factor),
            (_check.length(owner, "hold_steps", hold_steps), factor),
            (_check.length(owner, "down_steps", down_steps), 1.0),
        ],
    )
    return multiply(schedule, rise)


def lr_range_test(
    min_value: ArrayLike, max_value: ArrayLike, total_steps: ArrayLike
) -> Schedule:
    """Raises the value by the same factor every update, to see where training breaks.

    value(step) = min_value * (max_value / min_value)**(step / total_steps)

    Args:
        min_value: the value of the first update, > 0; may be traced.
        max_value: the value at `total_steps`, > 0; may be traced.
        total_steps: the length of the test in updates, >= 0; may be traced.

    Returns:
        A `Schedule`. The test with a straight line is a `transition`, that with stairs
        a `staircase` of one of them.

    Raises:
        TypeError: an argument is not a number.
        ValueError: a value is NaN, infinite or not above 0; a length is not one.

    Example:
        >>> import optax_warmup as ow
        >>> test = ow.lr_range_test(1e-4, 1.0, 4)
        >>> [round(test(step).item(), 6) for step in range(5)]
        [0.0001, 0.001, 0.01, 0.1, 1.0]

    Source: L. N. Smith, "Cyclical Learning Rates for Training Neural Networks", 2017,
    arXiv:1506.01186, section 3.3.
    """
    owner = "lr_range_test"
    min_value = _check.number(owner, "min_value", min_value, above=0)
    max_value = _check.number(owner, "max_value", max_value, above=0)
    total_steps = _check.length(owner, "total_steps", total_steps)
    shape = shapes.exponential(_ratio(max_value, min_value))
    return transition(min_value, max_value, total_steps, shape)
