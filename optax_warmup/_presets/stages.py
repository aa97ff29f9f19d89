"""Presets of several stages: warmup-stable-decay, tri-stage, infinite and spike."""

from __future__ import annotations

from optax_warmup import _check, shapes
from optax_warmup._schedules import clock as clocks
from optax_warmup._schedules.combine import multiply
from optax_warmup._schedules.piecewise import piecewise
from optax_warmup._schedules.schedule import Schedule, ScheduleLike
from optax_warmup._schedules.transition import transition
from optax_warmup._schedules.warmup import cooldown, warmup
from optax_warmup.values._checked import checked
from optax_warmup.values._kinds import Length, PositiveLength, PositiveRate, Rate


@checked()
def wsd(
    peak_value: Rate,
    warmup_steps: Length,
    total_steps: PositiveLength,
    decay_steps: Length,
    *,
    init_value: Rate = 0.0,
    end_value: Rate = 0.0,
    decay_shape: shapes.ShapeLike = shapes.linear,
    offset: Length = 0,
) -> Schedule:
    """Warmup, stable, decay: a linear warmup, a constant, and a final cooldown.

    With D = decay_steps and T = total_steps,
    value(step) = peak_value                                 for W <= step <= T - D
    value(step) = peak + (end - peak) * decay_shape((step - (T - D)) / D)     after it

    Args:
        peak_value: the value of the constant stage, >= 0; may be traced.
        warmup_steps: length of the warmup in updates, >= 0; may be traced.
        total_steps: length of the whole run in updates, warmup and decay included,
            >= 1; from this step on the value is `end_value`.
        decay_steps: length of the cooldown in updates, >= 0; warmup and cooldown must
            fit into total_steps.
        init_value: the value of the first update, >= 0; may be traced.
        end_value: the value at the end, >= 0; may be traced.
        decay_shape: the shape of the cooldown, linear by default;
            `shapes.power(0.5)` is "1 - sqrt".
        offset: with 1 the first update has peak / warmup_steps; see `warmup`.

    Returns:
        A `Schedule`.

    Raises:
        TypeError: an argument is not a number, or the shape is not callable.
        ValueError: a value is negative, NaN or infinite; a length is negative or not
            whole; warmup_steps + decay_steps > total_steps.

    Example:
        >>> import optax_warmup as ow
        >>> schedule = ow.wsd(1.0, warmup_steps=2, total_steps=8, decay_steps=4)
        >>> [schedule(step).item() for step in range(9)]
        [0.0, 0.5, 1.0, 1.0, 1.0, 0.75, 0.5, 0.25, 0.0]

    Source: S. Hu et al., "MiniCPM: Unveiling the Potential of Small Language Models
    with Scalable Training Strategies", 2024, arXiv:2404.06395, equation 1.
    """
    begin = _check.difference(
        "wsd", "total_steps", total_steps, "decay_steps", decay_steps
    )
    # The constant stage lasts until the cooldown; its length must only be >= 0.
    _check.difference(
        "wsd", "total_steps - decay_steps", begin, "warmup_steps", warmup_steps
    )
    return cooldown(
        warmup(peak_value, warmup_steps, init_value=init_value, offset=offset),
        begin,
        decay_steps,
        end_value=end_value,
        shape=decay_shape,
    )


@checked()
def tri_stage(
    peak_value: PositiveRate,
    warmup_steps: Length,
    hold_steps: Length,
    decay_steps: Length,
    *,
    init_value: Rate,
    end_value: PositiveRate,
) -> Schedule:
    """Tri-stage: linear warmup, constant, then exponential decay to `end_value`.

    value(step) = peak_value * (end_value / peak_value)**p    after the warmup
    p = min(1, max(0, step - warmup_steps - hold_steps) / decay_steps)

    Args:
        peak_value: the value of the constant stage, > 0; may be traced.
        warmup_steps: length of the warmup in updates, >= 0; may be traced.
        hold_steps: length of the constant stage in updates, >= 0; may be traced.
        decay_steps: length of the decay in updates, >= 0; may be traced.
        init_value: the value of the first update, >= 0; may be traced.
        end_value: the value at the end, > 0; may be traced.

    Returns:
        A `Schedule`.

    Raises:
        TypeError: an argument is not a number.
        ValueError: a value is negative, NaN or infinite, or the peak or end value is 0;
            a length is negative or not whole.

    Example:
        >>> import optax_warmup as ow
        >>> schedule = ow.tri_stage(1.0, 2, 1, 2, init_value=0.0, end_value=0.25)
        >>> [round(schedule(step).item(), 6) for step in range(7)]
        [0.0, 0.5, 1.0, 1.0, 0.5, 0.25, 0.25]

    Source: D. S. Park et al., "SpecAugment", 2019, arXiv:1904.08779, section 3.2.
    """
    ratio = clocks.on_numbers(lambda x, y: x / y, end_value, peak_value)
    stages = [
        (warmup_steps, peak_value),
        (hold_steps, peak_value),
        (decay_steps, end_value, shapes.exponential(ratio)),
    ]
    return piecewise(init_value, stages)


@checked()
def infinite(
    peak_value: Rate,
    warmup_steps: Length,
    decay_steps: Length,
    constant_value: Rate,
    *,
    init_value: Rate = 0.0,
    shape: shapes.ShapeLike = shapes.cosine,
) -> Schedule:
    """Infinite schedule: a warmup, a decay to a constant, and no end.

    With p = min(1, (step - warmup_steps) / decay_steps), after the warmup
    value(step) = peak_value + (constant_value - peak_value) * shape(p)

    To anneal a model at any step, use `cooldown(infinite(...), begin, steps)`; training
    on more data can go on later from the same constant.

    Args:
        peak_value: the value at step `warmup_steps`, >= 0; may be traced.
        warmup_steps: length of the warmup in updates, >= 0; may be traced.
        decay_steps: number of updates from the peak to the constant, >= 0; may be
            traced.
        constant_value: the constant, >= 0; may be traced.
        init_value: the value of the first update, >= 0; may be traced.
        shape: the shape of the decay; cosine by default.

    Returns:
        A `Schedule`.

    Raises:
        TypeError: an argument is not a number, or the shape is not callable.
        ValueError: a value is negative, NaN or infinite; a length is negative or not
            whole; the shape does not map 0 to 0 and 1 to 1.

    Example:
        >>> import optax_warmup as ow
        >>> endless = ow.infinite(1.0, 2, 2, 0.5)
        >>> [ow.cooldown(endless, begin=6, steps=2)(step).item() for step in range(9)]
        [0.0, 0.5, 1.0, 0.75, 0.5, 0.5, 0.5, 0.25, 0.0]

    Source: A. Ibrahim et al., "Simple and Scalable Strategies to Continually Pre-train
    Large Language Models", 2024, arXiv:2403.08763, section 7.4.
    """
    stages = [(warmup_steps, peak_value), (decay_steps, constant_value, shape)]
    return piecewise(init_value, stages)


@checked()
def spike(
    schedule: ScheduleLike,
    begin: Length,
    *,
    factor: Rate,
    up_steps: Length,
    hold_steps: Length = 0,
    down_steps: Length,
) -> Schedule:
    """Adds a temporary rise, to test stability or to leave a region.

    for step < begin:  schedule(step)
    from there on:     schedule(step) * (1 + (factor - 1) * min(1, rise, fall)),
                       rise = (step - begin) / up_steps,
                       fall = max(0, end - step) / down_steps

    Multiplies the schedule by a factor that rises from 1 to `factor`, stays there for
    `hold_steps`, and is 1 again at end = begin + up_steps + hold_steps + down_steps.

    Args:
        schedule: the schedule, or a number (>= 0) for a constant.
        begin: the step at which the rise begins, >= 0; may be traced.
        factor: the factor at the top, >= 0; below 1 it makes a dip; may be traced.
        up_steps: number of updates from 1 to `factor`, >= 0; may be traced.
        hold_steps: number of updates at `factor`, >= 0; may be traced.
        down_steps: number of updates from `factor` back to 1, >= 0; may be traced.

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
    rise = piecewise(
        1.0,
        [(begin, 1.0), (up_steps, factor), (hold_steps, factor), (down_steps, 1.0)],
    )
    return multiply(schedule, rise)


@checked()
def lr_range_test(
    min_value: PositiveRate, max_value: PositiveRate, total_steps: PositiveLength
) -> Schedule:
    """Learning-rate range test: grows by a constant factor per update.

    value(step) = min_value * (max_value / min_value)**(step / total_steps)

    Plot the loss over the learning rate to see where training becomes unstable.

    Args:
        min_value: the value of the first update, > 0; may be traced.
        max_value: the value at `total_steps`, > 0; may be traced.
        total_steps: length of the test in updates, >= 1; may be traced.

    Returns:
        A `Schedule`. For a test along a straight line use `transition`; for a test in
        stairs put either in a `staircase`.

    Raises:
        TypeError: an argument is not a number.
        ValueError: a value is NaN, infinite or not above 0; `total_steps` is below 1 or
            not whole.

    Example:
        >>> import optax_warmup as ow
        >>> test = ow.lr_range_test(1e-4, 1.0, 4)
        >>> [round(test(step).item(), 6) for step in range(5)]
        [0.0001, 0.001, 0.01, 0.1, 1.0]

    Source: L. N. Smith, "Cyclical Learning Rates for Training Neural Networks", 2017,
    arXiv:1506.01186, section 3.3.
    """
    ratio = clocks.on_numbers(lambda x, y: x / y, max_value, min_value)
    return transition(min_value, max_value, total_steps, shapes.exponential(ratio))
