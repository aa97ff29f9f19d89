"""Presets of a linear warmup, then constant, linear, cosine or exponential."""

from __future__ import annotations

from typing import Annotated

from jax.typing import ArrayLike

from optax_warmup import _check, shapes
from optax_warmup._schedules.decays import exponential_decay
from optax_warmup._schedules.schedule import Schedule
from optax_warmup._schedules.transition import transition
from optax_warmup._schedules.warmup import warmup
from optax_warmup.values._checked import checked
from optax_warmup.values._kinds import Length, Number, PositiveLength, Rate


@checked()
def warmup_constant(
    peak_value: Rate,
    warmup_steps: Length,
    *,
    init_value: Rate = 0.0,
    offset: Length = 0,
) -> Schedule:
    """Linear warmup, then constant.

    value(step) = peak_value * min(1, step / warmup_steps)   for init_value = 0

    Args:
        peak_value: the value after the warmup, >= 0; may be traced.
        warmup_steps: length of the warmup in updates, >= 0; may be traced.
        init_value: the value of the first update, >= 0; may be traced.
        offset: with 1 the first update has peak / warmup_steps; see `warmup`.

    Returns:
        A `Schedule`.

    Raises:
        TypeError: an argument is not a number.
        ValueError: a value is negative, NaN or infinite; a length is negative or
            not whole.

    Example:
        >>> import optax_warmup as ow
        >>> ow.warmup_constant(1e-3, 100)
        warmup(constant(0.001), steps=100)
    """
    return warmup(peak_value, warmup_steps, init_value=init_value, offset=offset)


@checked()
def warmup_linear(
    peak_value: Rate,
    warmup_steps: Length,
    total_steps: PositiveLength,
    *,
    init_value: Rate = 0.0,
    end_value: Rate = 0.0,
    offset: Length = 0,
) -> Schedule:
    """Linear warmup, then linear decay until `total_steps`.

    With W = warmup_steps and T = total_steps, after the warmup
    value(step) = end + (peak - end) * (T - step) / (T - W)

    Args:
        peak_value: the value at step `warmup_steps`, >= 0; may be traced.
        warmup_steps: length of the warmup in updates, 0 <= warmup_steps <= total_steps.
        total_steps: length of the whole run in updates, warmup included, >= 1; from
            this step on the value is `end_value`.
        init_value: the value of the first update, >= 0; may be traced.
        end_value: the value at the end, >= 0; may be traced.
        offset: with 1 the first update has peak / warmup_steps; see `warmup`.

    Returns:
        A `Schedule`.

    Raises:
        TypeError: an argument is not a number.
        ValueError: a value is negative, NaN or infinite; a length is negative or not
            whole; warmup_steps > total_steps.

    Example:
        >>> import optax_warmup as ow
        >>> schedule = ow.warmup_linear(1.0, 2, 6)
        >>> [schedule(step).item() for step in range(7)]
        [0.0, 0.5, 1.0, 0.75, 0.5, 0.25, 0.0]
    """
    decay_steps = _check.difference(
        "warmup_linear", "total_steps", total_steps, "warmup_steps", warmup_steps
    )
    decay = transition(peak_value, end_value, decay_steps)
    return warmup(decay, warmup_steps, init_value=init_value, offset=offset)


@checked()
def warmup_cosine(
    peak_value: Rate,
    warmup_steps: Length,
    total_steps: PositiveLength,
    *,
    init_value: Rate = 0.0,
    end_value: Rate = 0.0,
    offset: Length = 0,
) -> Schedule:
    """Linear warmup, then cosine decay until `total_steps`.

    With W = warmup_steps and T = total_steps, after the warmup
    value(step) = end + (peak - end) * (1 + cos(pi (step - W) / (T - W))) / 2

    Args:
        peak_value: the value at step `warmup_steps`, >= 0; may be traced.
        warmup_steps: length of the warmup in updates, 0 <= warmup_steps <= total_steps.
        total_steps: length of the whole run in updates, warmup included, >= 1; from
            this step on the value is `end_value`.
        init_value: the value of the first update, >= 0; may be traced.
        end_value: the value at the end, >= 0; may be traced.
        offset: with 1 the first update has peak / warmup_steps; see `warmup`.

    Returns:
        A `Schedule`.

    Raises:
        TypeError: an argument is not a number.
        ValueError: a value is negative, NaN or infinite; a length is negative or not
            whole; warmup_steps > total_steps.

    Example:
        >>> import optax_warmup as ow
        >>> schedule = ow.warmup_cosine(1.0, 2, 6)
        >>> [round(schedule(step).item(), 3) for step in range(7)]
        [0.0, 0.5, 1.0, 0.854, 0.5, 0.146, 0.0]

    Source: I. Loshchilov and F. Hutter, "SGDR: Stochastic Gradient Descent with Warm
    Restarts", 2017, arXiv:1608.03983, equation 5.
    """
    decay_steps = _check.difference(
        "warmup_cosine", "total_steps", total_steps, "warmup_steps", warmup_steps
    )
    decay = transition(peak_value, end_value, decay_steps, shapes.cosine)
    return warmup(decay, warmup_steps, init_value=init_value, offset=offset)


@checked()
def warmup_exponential(
    peak_value: Rate,
    warmup_steps: Length,
    *,
    decay_steps: PositiveLength,
    decay_rate: Annotated[
        ArrayLike, Number(above=0, maximum=1, hint="this is a decay")
    ],
    init_value: Rate = 0.0,
    limit: Rate = 0.0,
    offset: Length = 0,
) -> Schedule:
    """Linear warmup, then exponential decay.

    With W = warmup_steps, after the warmup
    value(step) = limit + (peak_value - limit) * decay_rate**((step - W) / decay_steps)

    Args:
        peak_value: the value at step `warmup_steps`, >= 0; may be traced.
        warmup_steps: length of the warmup in updates, >= 0; may be traced.
        decay_steps: number of updates after which the distance to `limit` has changed
            by `decay_rate`, >= 1; may be traced.
        decay_rate: the factor, 0 < decay_rate <= 1; may be traced.
        init_value: the value of the first update, >= 0; may be traced.
        limit: the value that is approached, >= 0; may be traced.
        offset: with 1 the first update has peak / warmup_steps; see `warmup`.

    Returns:
        A `Schedule`.

    Raises:
        TypeError: an argument is not a number.
        ValueError: a value is negative, NaN or infinite; a length is negative or
            not whole; the rate is not in (0, 1].

    Example:
        >>> import optax_warmup as ow
        >>> schedule = ow.warmup_exponential(1.0, 2, decay_steps=1, decay_rate=0.5)
        >>> [schedule(step).item() for step in range(5)]
        [0.0, 0.5, 1.0, 0.5, 0.25]
    """
    decay = exponential_decay(
        peak_value, steps=decay_steps, rate=decay_rate, limit=limit
    )
    return warmup(decay, warmup_steps, init_value=init_value, offset=offset)
