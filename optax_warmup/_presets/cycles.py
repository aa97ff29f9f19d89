"""Cyclical presets: cosine restarts, one-cycle and triangular."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from optax_warmup import _check, shapes
from optax_warmup._schedules import clock as clocks
from optax_warmup._schedules.combine import add, multiply
from optax_warmup._schedules.cycle import cycle
from optax_warmup._schedules.decays import exponential_decay
from optax_warmup._schedules.piecewise import piecewise
from optax_warmup._schedules.retime import retime
from optax_warmup._schedules.schedule import Schedule
from optax_warmup._schedules.transition import transition
from optax_warmup._schedules.warmup import warmup
from optax_warmup.values._checked import checked
from optax_warmup.values._kinds import (
    Count,
    Length,
    PositiveLength,
    PositiveRate,
    Rate,
)


@checked()
def warmup_cosine_restarts(
    peak_value: Rate,
    warmup_steps: Length,
    total_steps: PositiveLength,
    num_cycles: Count,
    *,
    period_multiplier: Count = 1,
    scale: Rate = 1.0,
    init_value: Rate = 0.0,
    end_value: Rate = 0.0,
    offset: Length = 0,
) -> Schedule:
    """Linear warmup, then cosine decays that restart at the peak (SGDR).

    value(step) = end + scale**i * (peak - end) * (1 + cos(pi p)) / 2,
    where p is the progress in cycle i = 0, 1, ... after the warmup

    The cycles fill total_steps - warmup_steps exactly, even if their lengths are
    fractions of an update. To give the first period instead of the total, write
    `warmup(cycle(transition(peak, end, period, shapes.cosine), period), warmup_steps)`.

    Args:
        peak_value: the value at step `warmup_steps`, >= 0; may be traced.
        warmup_steps: length of the warmup in updates, 0 <= warmup_steps < total_steps.
        total_steps: length of the whole run in updates, >= 1; from this step on the
            value is that at the end of the last cycle.
        num_cycles: the number of cycles, >= 1.
        period_multiplier: length of each cycle relative to the one before it, a whole
            number >= 1.
        scale: height of each cycle above `end_value` relative to the one before it,
            >= 0.
        init_value: the value of the first update, >= 0; may be traced.
        end_value: the value that each cycle decays to, >= 0; may be traced.
        offset: with 1 the first update has peak / warmup_steps; see `warmup`.

    Returns:
        A `Schedule`.

    Raises:
        TypeError: an argument is not a number.
        ValueError: a value is negative, NaN or infinite; a length or count is out of
            range; the decay has no update, or its updates times the sum of the relative
            cycle lengths exceed 2**31 - 1.

    Example:
        >>> import optax_warmup as ow
        >>> schedule = ow.warmup_cosine_restarts(1.0, 2, 10, num_cycles=2)
        >>> [round(schedule(step).item(), 3) for step in range(11)]
        [0.0, 0.5, 1.0, 0.854, 0.5, 0.146, 1.0, 0.854, 0.5, 0.146, 0.0]

    Source: I. Loshchilov and F. Hutter, "SGDR: Stochastic Gradient Descent with Warm
    Restarts", 2017, arXiv:1608.03983, equation 5.
    """
    owner = "warmup_cosine_restarts"
    decay_steps = _check.difference(
        owner, "total_steps", total_steps, "warmup_steps", warmup_steps
    )
    decay_steps = _check.length(
        owner, "total_steps - warmup_steps", decay_steps, minimum=1
    )
    parts = _parts(num_cycles, period_multiplier)
    if isinstance(decay_steps, int) and isinstance(parts, int):
        hint = "take fewer cycles"
        _check.length(owner, "decay steps times cycles", decay_steps * parts, hint=hint)
    decay = cycle(
        # Counted in units of 1 / parts updates, each cycle has a whole length.
        transition(peak_value, end_value, decay_steps, shapes.cosine),
        decay_steps,
        period_multiplier=period_multiplier,
        scale=scale,
        floor=end_value,
        num_cycles=num_cycles,
    )
    whole = isinstance(parts, int) and parts == 1
    restarts = decay if whole else retime(decay, parts)
    return warmup(restarts, warmup_steps, init_value=init_value, offset=offset)


def _parts(num_cycles: ArrayLike, multiplier: ArrayLike) -> ArrayLike:
    """The total length of the cycles, in units of the first."""
    if isinstance(num_cycles, int) and isinstance(multiplier, int):
        if multiplier == 1:
            return num_cycles
        # No more than 31 growing cycles fit into 2**31 steps.
        return int(sum(multiplier**i for i in range(min(num_cycles, 64))))
    grows = jnp.asarray(multiplier).astype(jnp.int32)
    count = jnp.asarray(num_cycles).astype(jnp.int32)
    less = jnp.maximum(grows - 1, 1)
    total: jax.Array = jnp.where(grows == 1, count, (grows**count - 1) // less)
    return total


@checked()
def one_cycle(
    peak_value: Rate,
    warmup_steps: Length,
    total_steps: PositiveLength,
    *,
    init_value: Rate | None = None,
    end_value: Rate | None = None,
    return_steps: Length | None = None,
    shape: shapes.ShapeLike = shapes.cosine,
) -> Schedule:
    """One-cycle policy: up to the peak, then down to far below the start.

    for step < W:   init_value + (peak_value - init_value) * shape(step / W)
    from there on:  peak_value + (end_value - peak_value) * shape((step - W) / (T - W))

    W stands for `warmup_steps`, T for `total_steps`. With `return_steps` it first goes
    back to init_value over that many updates, and then to end_value at T.

    Optax's cosine one-cycle has warmup_steps = int(pct_start * T) and total_steps = T.
    Torch's phases end an update earlier: warmup_steps = pct_start * T - 1 and
    total_steps = T - 1 (if the first is not whole, use `retime`).

    Args:
        peak_value: the value at step `warmup_steps`, >= 0; may be traced.
        warmup_steps: length of the warmup in updates, >= 0.
        total_steps: length of the whole run in updates, >= 1; from this step on the
            value is `end_value`.
        init_value: the value of the first update, >= 0; by default peak_value / 25.
        end_value: the value at the end, >= 0; by default init_value / 10_000.
        return_steps: number of updates from the peak back to `init_value`, >= 0; by
            default there is no such phase.
        shape: the shape of all phases; cosine by default.

    Returns:
        A `Schedule`.

    Raises:
        TypeError: an argument is not a number, or the shape is not callable.
        ValueError: a value is negative, NaN or infinite; a length is negative or not
            whole; the phases do not fit into total_steps.

    Example:
        >>> import optax_warmup as ow
        >>> schedule = ow.one_cycle(1.0, 2, 6, init_value=0.5, end_value=0.0)
        >>> [round(schedule(step).item(), 3) for step in range(7)]
        [0.5, 0.75, 1.0, 0.854, 0.5, 0.146, 0.0]

    Source: L. N. Smith and N. Topin, "Super-Convergence: Very Fast Training of Neural
    Networks Using Large Learning Rates", 2018, arXiv:1708.07120, section 3.
    """
    owner = "one_cycle"
    if init_value is None:
        init_value = peak_value / 25
    if end_value is None:
        end_value = init_value / 10_000
    rest = _check.difference(
        owner, "total_steps", total_steps, "warmup_steps", warmup_steps
    )
    segments = [(warmup_steps, peak_value, shape)]
    if return_steps is not None:
        rest = _check.difference(
            owner, "total_steps - warmup_steps", rest, "return_steps", return_steps
        )
        segments.append((return_steps, init_value, shape))
    return piecewise(init_value, [*segments, (rest, end_value, shape)])


@checked()
def triangular(
    base_value: Rate,
    peak_value: Rate,
    up_steps: Length,
    down_steps: Length,
    *,
    scale: Rate = 1.0,
    rate: PositiveRate = 1.0,
) -> Schedule:
    """Triangular cycles: up and down in straight lines, forever.

    value(step) = base + (peak - base) * t * scale**i * rate**step,
    where t goes from 0 to 1 and back in every cycle i = 0, 1, ...

    The defaults are torch's mode "triangular"; scale=0.5 is its "triangular2", and
    rate=gamma its "exp_range".

    Args:
        base_value: the lowest value, >= 0; may be traced.
        peak_value: the highest value of the first cycle, >= base_value; may be traced.
        up_steps: number of updates from the base to the peak, >= 0; may be traced.
        down_steps: number of updates from the peak to the base, >= 0; may be traced.
            The sum of both must be at least 1.
        scale: height of each cycle relative to the one before it, >= 0; may be traced.
        rate: factor by which the height changes in each update, > 0; may be traced.

    Returns:
        A `Schedule`.

    Raises:
        TypeError: an argument is not a number.
        ValueError: a value is negative, NaN or infinite; a length is negative or not
            whole, or both are 0; base_value > peak_value.

    Example:
        >>> import optax_warmup as ow
        >>> schedule = ow.triangular(0.0, 1.0, 2, 2, scale=0.5)
        >>> [schedule(step).item() for step in range(8)]
        [0.0, 0.5, 1.0, 0.5, 0.0, 0.25, 0.5, 0.25]

    Source: L. N. Smith, "Cyclical Learning Rates for Training Neural Networks", 2017,
    arXiv:1506.01186, section 3.
    """
    owner = "triangular"
    _check.ordered(owner, "base_value", base_value, "peak_value", peak_value)
    period = _check.length(
        owner, "up_steps + down_steps", up_steps + down_steps, minimum=1
    )
    height = clocks.on_numbers(lambda x, y: x - y, peak_value, base_value)
    triangle: Schedule = cycle(
        piecewise(0.0, [(up_steps, height), (down_steps, 0.0)]), period, scale=scale
    )
    if not isinstance(rate, float) or rate != 1:
        triangle = multiply(triangle, exponential_decay(1.0, steps=1, rate=rate))
    return add(base_value, triangle)
