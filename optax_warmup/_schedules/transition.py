"""Goes from one value to another along a shape."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from optax_warmup._numerics import plus_product, where, with_derivative_of
from optax_warmup._schedules import clock as clocks
from optax_warmup._schedules.schedule import Schedule
from optax_warmup.shapes._powers import linear
from optax_warmup.shapes._shape import Shape, ShapeLike, as_shape
from optax_warmup.values._kinds import Length, Rate


def ramp(
    init_value: ArrayLike,
    end_value: ArrayLike,
    clock: ArrayLike,
    steps: ArrayLike,
    shape: ShapeLike,
) -> jax.Array:
    """A ramp from `init_value` at clock 0 to `end_value` at clock `steps`, then held.

    The value is computed from the lower end, by the whole steps between it and the
    clock. So nothing cancels: the relative error is everywhere that of the shape.
    """
    elapsed = clocks.until(clock, steps)
    left = clocks.minus(steps, elapsed)
    return ramp_after(init_value, end_value, elapsed, left, steps, shape)


def ramp_after(
    init_value: ArrayLike,
    end_value: ArrayLike,
    elapsed: jax.Array,
    left: jax.Array,
    steps: ArrayLike,
    shape: ShapeLike,
) -> jax.Array:
    """The ramp after `elapsed` of its `steps`, with `left` to go, both >= 0."""
    shape = as_shape(shape)
    if shape._exact_ends and clocks.is_above_zero(steps):
        short = _short_ramp(init_value, end_value, elapsed, left, steps, shape)
        if short is not None:
            return short
    init_value, end_value = clocks.as_value(init_value), clocks.as_value(end_value)
    rising = init_value <= end_value
    low = where(rising, init_value, end_value)
    high = where(rising, end_value, init_value)
    # Outside, where the shape is unused, 1 of 2 steps keeps its derivatives finite.
    inside = (elapsed > 0) & (left > 0)
    length = clocks.as_value(where(inside, elapsed + left, 2))
    from_low = where(inside, where(rising, elapsed, left), 1)
    from_high = where(inside, where(rising, left, elapsed), 1)
    near, far = clocks.as_value(from_low) / length, clocks.as_value(from_high) / length
    weight = shape.rise(near, far)
    if not shape.symmetric:
        weight = where(rising, weight, shape.fall(far, near))
    # low + (high - low) can differ from high in the last bit.
    formula = plus_product(low, high - low, weight)
    between = jnp.clip(where(weight < 1, formula, high), low, high)
    between = with_derivative_of(between, formula)
    return where(inside, between, where(left > 0, init_value, end_value))


def _short_ramp(
    init_value: ArrayLike,
    end_value: ArrayLike,
    elapsed: jax.Array,
    left: jax.Array,
    steps: ArrayLike,
    shape: Shape,
) -> jax.Array | None:
    """The same in a third of the operations, if enough is known while tracing.

    That is the length, and that one of the ends is 0, or else both. Most schedules of
    an optimizer are such constants of its program.
    """
    # XLA would divide by a constant by multiplying, and n * (1 / n) may not be 1.
    done, length = clocks.as_value(elapsed), clocks.as_value(steps)
    length = where(left > 0, length, done)
    progress, rest = done / length, clocks.as_value(left) / length
    if clocks.is_zero(init_value):
        weight = _pinned(shape.rise(progress, rest), left)
        return clocks.as_value(end_value) * weight
    if clocks.is_zero(end_value):
        weight = _pinned(shape.fall(progress, rest), elapsed)
        return clocks.as_value(init_value) * weight
    first, last = clocks.known(init_value), clocks.known(end_value)
    if first is None or last is None:
        return None
    low, high = clocks.as_value(init_value), clocks.as_value(end_value)
    if first <= last:
        weight = _pinned(shape.rise(progress, rest), left)
    else:
        low, high = high, low
        weight = _pinned(shape.fall(progress, rest), elapsed)
    between = jnp.minimum(plus_product(low, high - low, weight), high)
    return where(weight < 1, between, high)


def _pinned(weight: jax.Array, away: jax.Array) -> jax.Array:
    """The weight; exactly 1 where no step is left to there, and nowhere above."""
    return where(away > 0, jnp.minimum(weight, 1), 1)


class transition(Schedule):
    """Goes from one value to another along a shape, then holds it.

    value(step) = init_value + (end_value - init_value) * shape(step / steps)

    Args:
        init_value: the value at step 0, >= 0; may be traced.
        end_value: the value from step `steps` on, >= 0; may be traced.
        steps: length in updates, >= 0; with 0 it is `end_value` at once; may be traced.
        shape: any function f of progress with f(0) = 0 and f(1) = 1. The value never
            leaves the range between the two ends.

    Returns:
        A `Schedule`.

    Raises:
        TypeError: an argument is not a number, or the shape is not callable.
        ValueError: a value is negative, NaN or infinite; `steps` is negative or not
            whole; the shape does not map 0 to 0 and 1 to 1.

    Example:
        >>> import optax_warmup as ow
        >>> decay = ow.transition(1.0, 0.0, 4, ow.shapes.cosine)
        >>> [round(decay(step).item(), 3) for step in range(6)]
        [1.0, 0.854, 0.5, 0.146, 0.0, 0.0]
    """

    init_value: Rate
    end_value: Rate
    steps: Length
    shape: ShapeLike = linear

    def value_at(self, clock: Any) -> jax.Array:
        return ramp(self.init_value, self.end_value, clock, self.steps, self.shape)

    def start_value(self) -> jax.Array:
        # Not the value at step 0, which is `end_value` if the length is 0: a warmup as
        # long as the run still rises to the peak.
        return clocks.as_value(self.init_value)
