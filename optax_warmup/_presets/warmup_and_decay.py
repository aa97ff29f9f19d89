"""Presets: the schedules people search for, each a few lines of the vocabulary."""

import jax.numpy as jnp
from jax.typing import ArrayLike

from optax_warmup import _check, shapes
from optax_warmup._schedules.compose import advance, cooldown, warmup
from optax_warmup._schedules.ramps import inverse_power, transition
from optax_warmup._schedules.schedule import Schedule


def warmup_constant(
    peak_value: ArrayLike,
    warmup_steps: ArrayLike,
    *,
    init_value: ArrayLike = 0.0,
    offset: ArrayLike = 0,
) -> Schedule:
    """A linear warmup, then constant.

    value(step) = peak_value * min(1, step / warmup_steps)   for init_value = 0

    Args:
        peak_value: the value after the warmup, >= 0; may be traced.
        warmup_steps: updates in the ramp, >= 0; may be traced.
        init_value: the value of the first update, >= 0; may be traced.
        offset: 1 gives the first update peak / warmup_steps; see `warmup`.

    Returns:
        A `Schedule`.

    Raises:
        TypeError: an argument is not a number.
        ValueError: a value is negative, NaN or infinite; a length is not one.

    Example:
        >>> import optax_warmup as ow
        >>> ow.warmup_constant(1e-3, 100)
        warmup(constant(0.001), steps=100)
    """
    peak_value = _check.rate("warmup_constant", "peak_value", peak_value)
    steps = _check.length("warmup_constant", "warmup_steps", warmup_steps)
    return warmup(peak_value, steps, init_value=init_value, offset=offset)


def warmup_linear(
    peak_value: ArrayLike,
    warmup_steps: ArrayLike,
    total_steps: ArrayLike,
    *,
    init_value: ArrayLike = 0.0,
    end_value: ArrayLike = 0.0,
    offset: ArrayLike = 0,
) -> Schedule:
    """A linear warmup, then a linear decay that ends at `total_steps`.

    Args:
        peak_value: the value at step `warmup_steps`, >= 0; may be traced.
        warmup_steps: updates in the ramp, 0 <= warmup_steps <= total_steps.
        total_steps: the step from which on the value is `end_value`: the number of
            updates in the whole run, the warmup included.
        init_value: the value of the first update, >= 0; may be traced.
        end_value: the value at the end, >= 0; may be traced.
        offset: 1 gives the first update peak / warmup_steps; see `warmup`.

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
    return _warmup_transition(
        "warmup_linear",
        peak_value,
        warmup_steps,
        total_steps,
        init_value,
        end_value,
        shapes.linear,
        offset,
    )


def warmup_cosine(
    peak_value: ArrayLike,
    warmup_steps: ArrayLike,
    total_steps: ArrayLike,
    *,
    init_value: ArrayLike = 0.0,
    end_value: ArrayLike = 0.0,
    offset: ArrayLike = 0,
) -> Schedule:
    """A linear warmup, then half a cosine wave that ends at `total_steps`.

    With W = warmup_steps and T = total_steps, after the warmup
    value(step) = end + (peak - end) * (1 + cos(pi (step - W) / (T - W))) / 2

    Args:
        peak_value: the value at step `warmup_steps`, >= 0; may be traced.
        warmup_steps: updates in the ramp, 0 <= warmup_steps <= total_steps.
        total_steps: the step from which on the value is `end_value`: the number of
            updates in the whole run, the warmup included.
        init_value: the value of the first update, >= 0; may be traced.
        end_value: the value at the end, >= 0; may be traced.
        offset: 1 gives the first update peak / warmup_steps; see `warmup`.

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
    return _warmup_transition(
        "warmup_cosine",
        peak_value,
        warmup_steps,
        total_steps,
        init_value,
        end_value,
        shapes.cosine,
        offset,
    )


def _warmup_transition(
    owner: str,
    peak_value: ArrayLike,
    warmup_steps: ArrayLike,
    total_steps: ArrayLike,
    init_value: ArrayLike,
    end_value: ArrayLike,
    shape: shapes.Shape,
    offset: ArrayLike,
) -> Schedule:
    peak_value = _check.rate(owner, "peak_value", peak_value)
    end_value = _check.rate(owner, "end_value", end_value)
    warmup_steps = _check.length(owner, "warmup_steps", warmup_steps)
    total_steps = _check.length(owner, "total_steps", total_steps)
    decay_steps = _check.difference(
        owner, "total_steps", total_steps, "warmup_steps", warmup_steps
    )
    decay = transition(peak_value, end_value, decay_steps, shape)
    return warmup(decay, warmup_steps, init_value=init_value, offset=offset)


def warmup_inverse_sqrt(
    peak_value: ArrayLike,
    warmup_steps: ArrayLike,
    *,
    timescale: ArrayLike | None = None,
    init_value: ArrayLike = 0.0,
    offset: ArrayLike = 0,
) -> Schedule:
    """A linear warmup, then the inverse square root of time.

    With W = warmup_steps, after the warmup
    value(step) = peak_value / sqrt(1 + (step - W) / timescale),
    which is peak_value * sqrt(W / step) where the timescale is W.

    Args:
        peak_value: the value at step `warmup_steps`, >= 0; may be traced.
        warmup_steps: updates in the ramp, >= 0; may be traced.
        timescale: of the decay in updates, > 0; by default `warmup_steps`, which then
            must not be 0.
        init_value: the value of the first update, >= 0; may be traced.
        offset: 1 gives the first update peak / warmup_steps; see `warmup`.

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
    owner = "warmup_inverse_sqrt"
    peak_value = _check.rate(owner, "peak_value", peak_value)
    warmup_steps = _check.length(owner, "warmup_steps", warmup_steps)
    if timescale is None:
        timescale = _check.length(
            owner,
            "warmup_steps",
            warmup_steps,
            minimum=1,
            hint="it is the timescale of the decay too; or give a timescale",
        )
    timescale = _check.number(owner, "timescale", timescale, above=0)
    decay = inverse_power(peak_value, timescale=timescale)
    return warmup(decay, warmup_steps, init_value=init_value, offset=offset)


def noam(
    width: ArrayLike, warmup_steps: ArrayLike, *, scale: ArrayLike = 1.0
) -> Schedule:
    """The schedule of the first transformer, in its own units.

    value(step) = scale * width**-0.5 * min(n**-0.5, n * warmup_steps**-1.5), n = step+1

    The peak, scale * (width * warmup_steps)**-0.5, is the value of the update at step
    warmup_steps - 1; the first update has peak / warmup_steps.

    Args:
        width: the model's width ("d_model"), > 0; may be traced.
        warmup_steps: updates in the ramp, >= 1; may be traced.
        scale: a factor, >= 0; may be traced.

    Returns:
        A `Schedule`.

    Raises:
        TypeError: an argument is not a number.
        ValueError: `width` is not above 0, `warmup_steps` below 1 or not whole, `scale`
            negative, or one of them NaN or infinite.

    Example:
        >>> import optax_warmup as ow
        >>> schedule = ow.noam(width=512, warmup_steps=4000)
        >>> round(schedule(3999).item(), 9)
        0.000698771

    Source: A. Vaswani et al., "Attention Is All You Need", 2017, arXiv:1706.03762,
    equation 3.
    """
    width = _check.number("noam", "width", width, above=0)
    warmup_steps = _check.length("noam", "warmup_steps", warmup_steps, minimum=1)
    scale = _check.rate("noam", "scale", scale)
    peak_value = scale * _inverse_sqrt(width) * _inverse_sqrt(warmup_steps)
    decay = inverse_power(peak_value, timescale=warmup_steps)
    return advance(warmup(decay, warmup_steps), 1)


def _inverse_sqrt(x: ArrayLike) -> ArrayLike:
    if isinstance(x, int | float):
        return x**-0.5
    return 1 / jnp.sqrt(jnp.asarray(x).astype(jnp.result_type(float)))


def wsd(
    peak_value: ArrayLike,
    warmup_steps: ArrayLike,
    total_steps: ArrayLike,
    decay_steps: ArrayLike,
    *,
    init_value: ArrayLike = 0.0,
    end_value: ArrayLike = 0.0,
    decay_shape: shapes.Shape = shapes.linear,
    offset: ArrayLike = 0,
) -> Schedule:
    """Warmup, stable, decay: a linear warmup, a constant, and a final cooldown.

    With D = decay_steps and T = total_steps,
    value(step) = peak_value                                 for W <= step <= T - D
    value(step) = peak + (end - peak) * decay_shape((step - (T - D)) / D)     after it

    Args:
        peak_value: the constant, >= 0; may be traced.
        warmup_steps: updates in the ramp, >= 0; may be traced.
        total_steps: the step from which on the value is `end_value`: the number of
            updates in the whole run, warmup and decay included.
        decay_steps: updates in the cooldown, >= 0; warmup and decay must fit into
            total_steps.
        init_value: the value of the first update, >= 0; may be traced.
        end_value: the value at the end, >= 0; may be traced.
        decay_shape: linear by default; `shapes.power(0.5)` is "1 - sqrt".
        offset: 1 gives the first update peak / warmup_steps; see `warmup`.

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
    peak_value = _check.rate("wsd", "peak_value", peak_value)
    warmup_steps = _check.length("wsd", "warmup_steps", warmup_steps)
    decay_steps = _check.length("wsd", "decay_steps", decay_steps)
    total_steps = _check.length("wsd", "total_steps", total_steps)
    begin = _check.difference(
        "wsd", "total_steps", total_steps, "decay_steps", decay_steps
    )
    stable = _check.difference(
        "wsd", "total_steps - decay_steps", begin, "warmup_steps", warmup_steps
    )
    del stable  # only its check is needed: the constant lasts until the cooldown
    return cooldown(
        warmup(peak_value, warmup_steps, init_value=init_value, offset=offset),
        begin,
        decay_steps,
        end_value=end_value,
        shape=decay_shape,
    )
