"""Decays that never end (exponential, inverse power) and decays in steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY
from typing import Annotated, Any, Self, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from optax_warmup import _check
from optax_warmup._numerics import (
    expm1,
    plus_product,
    quotient,
    where,
    with_derivative_of,
)
from optax_warmup._schedules import clock as clocks, powers
from optax_warmup._schedules.combine import join
from optax_warmup._schedules.schedule import Schedule, constant
from optax_warmup._schedules.staircase import staircase
from optax_warmup.values._checked import checked
from optax_warmup.values._kinds import (
    Change,
    Length,
    Number,
    PositiveLength,
    PositiveRate,
    Rate,
    Rows,
    Timescale,
)


class exponential_decay(Schedule):
    """Exponential decay to a limit, by the same factor every `steps` updates.

    value(step) = limit + (init_value - limit) * rate**(step / steps)

    It never ends. For an exponential curve from one value to another over a given
    length, use `transition` with `shapes.exponential`. To decay in stairs, wrap it in
    `staircase`; to begin later, in `delay`; to stop at a value, in `clip`.

    Args:
        init_value: the value at step 0, >= 0; may be traced.
        steps: number of updates over which the distance to the limit changes by `rate`,
            >= 1; may be traced.
        rate: the factor, > 0; above 1 the distance grows; may be traced. A rate close
            to 1 has few digits if it is traced in float32: instead of rate=0.9999 with
            steps=1 trace rate=0.5 with steps=6931.
        limit: the value that is approached, >= 0; may be traced. If it is above
            `init_value`, the value rises, and `rate` must be <= 1.

    Returns:
        A `Schedule`.

    Raises:
        TypeError: an argument is not a number.
        ValueError: a value is negative, NaN or infinite; `steps` is below 1 or not
            whole; `rate` is not above 0, or it drives the value below 0.

    Example:
        >>> import optax_warmup as ow
        >>> decay = ow.exponential_decay(1.0, steps=2, rate=0.25)
        >>> [decay(step).item() for step in range(5)]
        [1.0, 0.5, 0.25, 0.125, 0.0625]
    """

    init_value: Rate
    _: KW_ONLY
    steps: PositiveLength
    rate: PositiveRate
    limit: Rate = 0.0

    def _stretched(self, length: Change, time: Change) -> Self:
        stretched = super()._stretched(length, time)
        if not isinstance(stretched.steps, int) or not isinstance(self.rate, float):
            return stretched
        # The rate makes up for the rounding of `steps`.
        wanted = time(float(cast(int, self.steps)))
        return stretched._replaced(rate=self.rate ** (stretched.steps / wanted))

    def __check_init__(self) -> None:
        if any(map(_check.is_traced, (self.rate, self.init_value, self.limit))):
            return
        rises = np.asarray(self.limit) > np.asarray(self.init_value)
        if np.any((np.asarray(self.rate) > 1) & rises):
            raise ValueError(
                f"exponential_decay: rate must be <= 1 where limit > init_value, got "
                f"rate={self.rate!r}; the value would fall below 0. For a value that "
                "grows, leave limit at 0."
            )

    def _prepared(self) -> Self:
        return self._replaced(rate=powers.split(self.rate))

    def value_at(self, clock: Any) -> jax.Array:
        start, limit = clocks.as_value(self.init_value), clocks.as_value(self.limit)
        whole, part = _periods(clocks.minus(clock, 0), jnp.asarray(self.steps))
        remaining = powers.power(self.rate, whole, part)
        remaining = jnp.minimum(remaining, _largest(remaining))
        # Near its start a rise is the small 1 - remaining, which would cancel.
        gone = -expm1((whole + part) * powers.log(self.rate))
        gone = where(remaining > 0.5, gone, 1 - remaining)
        rises = limit > start
        rising = plus_product(start, limit - start, jnp.maximum(gone, 0))
        falling = formula = plus_product(limit, start - limit, remaining)
        falling = where(remaining < 1, jnp.minimum(falling, start), falling)
        falling = where(remaining == 1, start, falling)
        falling = jnp.clip(falling, 0, _largest(falling))
        value = where(rises, jnp.clip(rising, start, limit), falling)
        return with_derivative_of(value, formula)


_LARGEST = float(np.finfo(np.float32).max)


def _periods(clock: jax.Array, steps: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The periods that have passed: whole ones, and a fraction of the next."""
    if jnp.issubdtype(steps.dtype, jnp.floating):
        # A length traced as a float has a derivative, and need not be whole.
        length = jnp.maximum(clocks.as_value(steps), jnp.finfo(steps.dtype).tiny)
        passed = clocks.as_value(clock) / length
        return jnp.zeros_like(passed), passed
    steps = jnp.maximum(steps.astype(jnp.int32), 1)
    whole, part = jnp.divmod(clock, steps.astype(clock.dtype))
    part = quotient(clocks.as_value(part), clocks.as_value(steps))
    return clocks.as_value(whole), part


def _largest(x: jax.Array) -> float:
    return float(jnp.finfo(x.dtype).max)


class inverse_power(Schedule):
    """Inverse power of time, such as the inverse square root: a tail without end.

    value(step) = init_value * (1 + step / timescale)**-power

    With power=1/2 it is the inverse square root, with power=1 inverse time. After a
    warmup of `timescale` steps it is init_value * (timescale / step)**power.

    Args:
        init_value: the value at step 0, >= 0; may be traced.
        timescale: number of updates after which 1 + step / timescale is 2, > 0 and not
            necessarily whole; may be traced.
        power: the exponent, >= 0; may be traced.

    Returns:
        A `Schedule`.

    Raises:
        TypeError: an argument is not a number.
        ValueError: `init_value` is negative, `timescale` not above 0, `power` negative,
            or one of them NaN or infinite.

    Example:
        >>> import optax_warmup as ow
        >>> tail = ow.inverse_power(1.0, timescale=10)
        >>> [round(tail(step).item(), 3) for step in (0, 10, 30, 990)]
        [1.0, 0.707, 0.5, 0.1]

    Source: A. Vaswani et al., "Attention Is All You Need", 2017, arXiv:1706.03762,
    equation 3 (its tail); X. Zhai et al., "Scaling Vision Transformers", 2022,
    arXiv:2106.04560, section 3.4 (the timescale).
    """

    init_value: Rate
    _: KW_ONLY
    timescale: Timescale
    power: Annotated[ArrayLike, Number(minimum=0)] = 0.5

    def value_at(self, clock: Any) -> jax.Array:
        timescale = clocks.as_value(self.timescale)
        # timescale / (timescale + clock) keeps digits that 1 + x would lose.
        base = timescale / (timescale + clocks.as_value(clock))
        power = clocks.as_value(self.power)
        # The square root is correctly rounded; a general power is not.
        decay = base**power
        decay = with_derivative_of(where(power == 0.5, jnp.sqrt(base), decay), decay)
        return clocks.as_value(self.init_value) * decay


@checked()
def step_decay(
    init_value: Rate, *, steps: PositiveLength, rate: PositiveRate
) -> Schedule:
    """Step decay: multiplies the value by `rate` every `steps` updates.

    value(step) = init_value * rate**floor(step / steps)

    The update at step `steps` is the first one with the second value.

    Args:
        init_value: the value at step 0, >= 0; may be traced.
        steps: number of updates with the same value, >= 1; may be traced.
        rate: the factor, > 0; may be traced.

    Returns:
        A `Schedule`.

    Raises:
        TypeError: an argument is not a number.
        ValueError: a value is negative, NaN or infinite; `steps` is below 1 or not
            whole; `rate` is not above 0.

    Example:
        >>> import optax_warmup as ow
        >>> decay = ow.step_decay(1.0, steps=2, rate=0.5)
        >>> [decay(step).item() for step in range(5)]
        [1.0, 1.0, 0.5, 0.5, 0.25]
    """
    return staircase(exponential_decay(init_value, steps=steps, rate=rate), steps)


@checked()
def multistep(
    init_value: Rate,
    milestones: Annotated[
        Sequence[tuple[ArrayLike, ArrayLike]],
        Rows((("step", Length), ("factor", Rate))),
    ],
) -> Schedule:
    """Multistep decay: changes to another constant value at each milestone.

    value(step) = init_value * factor of the last milestone <= step

    The update at a milestone's step is the first one with the new value, as in optax
    and torch. (Keras is one update later, timm one earlier.) Each factor is relative to
    `init_value`, not to the value before the milestone.

    Args:
        init_value: the value before the first milestone, >= 0; may be traced.
        milestones: (step, factor) tuples in the order of the steps: the step at which
            the value becomes init_value * factor, which may be traced, and the factor,
            >= 0. Of two with the same step the second counts.

    Returns:
        A `Schedule`.

    Raises:
        TypeError: a milestone is not such a tuple, or an argument is not a number.
        ValueError: `milestones` is empty or a step falls; a number is negative, NaN
            or infinite; a step is not whole.

    Example:
        >>> import optax_warmup as ow
        >>> decay = ow.multistep(1.0, [(2, 0.5), (3, 0.25)])
        >>> [decay(step).item() for step in range(5)]
        [1.0, 1.0, 0.5, 0.25, 0.25]
    """
    phases: list[tuple[Any, Schedule]] = []
    before: tuple[str, ArrayLike, ArrayLike] = "0", 0, init_value
    for index, (step, factor) in enumerate(milestones):
        name = f"milestones[{index}] step"
        begin_name, begin, level = before
        steps = _check.difference("multistep", name, step, begin_name, begin)
        phases.append((steps, constant(level)))
        level = clocks.on_numbers(_bounded_product, init_value, factor)
        before = name, step, level
    return join(phases, constant(before[-1]))


def _bounded_product(x: Any, y: Any) -> Any:
    """x * y, at most the largest float32."""
    product = x * y
    return min(product, _LARGEST) if isinstance(product, float) else product
