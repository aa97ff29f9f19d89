"""Presets with a power of the step: inverse square root, Noam and power law."""

from __future__ import annotations

from typing import Annotated

from jax.typing import ArrayLike

from optax_warmup import _check
from optax_warmup._schedules import clock as clocks
from optax_warmup._schedules.decays import inverse_power
from optax_warmup._schedules.delay import advance, delay
from optax_warmup._schedules.schedule import Schedule
from optax_warmup._schedules.warmup import warmup
from optax_warmup.values._checked import checked
from optax_warmup.values._kinds import (
    Length,
    Number,
    PositiveLength,
    PositiveRate,
    Rate,
    Timescale,
)


@checked()
def warmup_inverse_sqrt(
    peak_value: Rate,
    warmup_steps: Length,
    *,
    timescale: Timescale | None = None,
    init_value: Rate = 0.0,
    offset: Length = 0,
) -> Schedule:
    """Linear warmup, then inverse square root decay.

    With W = warmup_steps, after the warmup
    value(step) = peak_value / sqrt(1 + (step - W) / timescale),
    which is peak_value * sqrt(W / step) if the timescale is W.

    Args:
        peak_value: the value at step `warmup_steps`, >= 0; may be traced.
        warmup_steps: length of the warmup in updates, >= 0; may be traced.
        timescale: the timescale of the decay in updates, > 0; by default
            `warmup_steps`, which must then not be 0.
        init_value: the value of the first update, >= 0; may be traced.
        offset: with 1 the first update has peak / warmup_steps; see `warmup`.

    Returns:
        A `Schedule`.

    Raises:
        TypeError: an argument is not a number.
        ValueError: a value is negative, NaN or infinite; a length is negative or not
            whole; `timescale` is not above 0.

    Example:
        >>> import optax_warmup as ow
        >>> schedule = ow.warmup_inverse_sqrt(1.0, 4)
        >>> [schedule(step).item() for step in (0, 2, 4, 16, 64)]
        [0.0, 0.5, 1.0, 0.5, 0.25]

    Source: A. Vaswani et al., "Attention Is All You Need", 2017, arXiv:1706.03762,
    equation 3, normalised to its peak.
    """
    if timescale is None:
        timescale = _check.length(
            "warmup_inverse_sqrt",
            "warmup_steps",
            warmup_steps,
            minimum=1,
            hint="it is also the timescale of the decay; or pass a timescale",
        )
    decay = inverse_power(peak_value, timescale=timescale)
    return warmup(decay, warmup_steps, init_value=init_value, offset=offset)


@checked()
def noam(
    width: PositiveRate, warmup_steps: PositiveLength, *, scale: Rate = 1.0
) -> Schedule:
    """Noam schedule, as in the first transformer: scaled by the model's width.

    value(step) = scale * width**-0.5 * min(n**-0.5, n * warmup_steps**-1.5), n = step+1

    The peak, scale * (width * warmup_steps)**-0.5, is the value of the update at step
    warmup_steps - 1; the first update has peak / warmup_steps.

    Args:
        width: the model's width ("d_model"), > 0; may be traced.
        warmup_steps: length of the warmup in updates, >= 1; may be traced.
        scale: a factor, >= 0; may be traced.

    Returns:
        A `Schedule`.

    Raises:
        TypeError: an argument is not a number.
        ValueError: `width` is not above 0, `warmup_steps` is below 1 or not whole,
            `scale` is negative, or one of them is NaN or infinite.

    Example:
        >>> import optax_warmup as ow
        >>> schedule = ow.noam(width=512, warmup_steps=4000)
        >>> round(schedule(3999).item(), 9)
        0.000698771

    Source: A. Vaswani et al., "Attention Is All You Need", 2017, arXiv:1706.03762,
    equation 3.
    """
    peak_value = clocks.on_numbers(
        lambda scale, *sizes: scale * sizes[0] ** -0.5 * sizes[1] ** -0.5,
        scale,
        width,
        warmup_steps,
    )
    decay = inverse_power(peak_value, timescale=warmup_steps)
    return advance(warmup(decay, warmup_steps), 1)


@checked()
def power_law(
    peak_value: Rate,
    warmup_steps: Length,
    *,
    hold_until: PositiveLength,
    power: Annotated[ArrayLike, Number(minimum=0)] = 0.5,
    init_value: Rate = 0.0,
    offset: Length = 0,
) -> Schedule:
    """Linear warmup, a constant, then a power-law decay without end.

    value(step) = peak_value * min(1, (step / hold_until)**-power)   after the warmup

    The power scheduler min(peak, a * (c * step)**-b), with c tokens per update, has
    hold_until = (a / peak)**(1 / b) / c and power = b. To end it, use `cooldown`.

    Args:
        peak_value: the value from step `warmup_steps` to `hold_until`, >= 0.
        warmup_steps: length of the warmup in updates, 0 <= warmup_steps <= hold_until.
        hold_until: the step at which the decay begins, >= 1; may be traced.
        power: the exponent, >= 0; may be traced.
        init_value: the value of the first update, >= 0; may be traced.
        offset: with 1 the first update has peak / warmup_steps; see `warmup`.

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
    hold = _check.difference(
        "power_law", "hold_until", hold_until, "warmup_steps", warmup_steps
    )
    tail = inverse_power(peak_value, timescale=hold_until, power=power)
    return warmup(delay(tail, hold), warmup_steps, init_value=init_value, offset=offset)
