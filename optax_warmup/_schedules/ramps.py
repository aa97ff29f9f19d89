"""Ramps: schedules that go from one value to another, and power laws."""

from collections.abc import Sequence
from dataclasses import KW_ONLY
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from optax_warmup import _check
from optax_warmup._numerics import plus_product
from optax_warmup._schedules import clock as clocks
from optax_warmup._schedules.schedule import Schedule
from optax_warmup.shapes._powers import linear
from optax_warmup.shapes._shape import Shape, ShapeLike, as_shape
from optax_warmup.values._value import value


def ramp(
    init_value: ArrayLike,
    end_value: ArrayLike,
    clock: ArrayLike,
    steps: ArrayLike,
    shape: Shape,
) -> jax.Array:
    """From `init_value` at clock 0 to `end_value` at clock `steps`, and held there.

    The value is counted from the lower end, with that end's own distance in whole
    steps, so nothing cancels: the relative error is that of the shape everywhere.
    """
    left = clocks.since(steps, clock)
    elapsed = clocks.minus(steps, left)
    init_value, end_value = clocks.as_value(init_value), clocks.as_value(end_value)
    rising = init_value <= end_value
    low, high = jnp.minimum(init_value, end_value), jnp.maximum(init_value, end_value)
    # 1 of 2 steps outside, where the shape is not asked, keeps its derivatives finite.
    inside = (elapsed > 0) & (left > 0)
    length = clocks.as_value(jnp.where(inside, clocks.minus(steps, 0), 2))
    from_low = jnp.where(inside, jnp.where(rising, elapsed, left), 1)
    from_high = jnp.where(inside, jnp.where(rising, left, elapsed), 1)
    near, far = clocks.as_value(from_low) / length, clocks.as_value(from_high) / length
    weight = shape.rise(near, far)
    if not shape.symmetric:
        weight = jnp.where(rising, weight, shape.fall(far, near))
    # low + (high - low) can miss high by its last bit.
    between = jnp.where(weight < 1, plus_product(low, high - low, weight), high)
    between = jnp.clip(between, low, high)
    return jnp.where(left <= 0, end_value, jnp.where(elapsed <= 0, init_value, between))


@value
class transition(Schedule):
    """From one value to another along a shape, then held.

    value(step) = init_value + (end_value - init_value) * shape(step / steps)

    Args:
        init_value: the value at step 0, >= 0; may be traced.
        end_value: the value from step `steps` on, >= 0; may be traced.
        steps: the length in updates, >= 0; 0 gives `end_value` at once; may be traced.
        shape: any function f of progress with f(0) = 0 and f(1) = 1. The value never
            leaves the range between the two ends.

    Returns:
        A `Schedule`.

    Raises:
        TypeError: an argument is not a number, or the shape is not callable.
        ValueError: a value is negative, NaN or infinite; `steps` is negative or not
            whole; the shape does not join 0 to 1.

    Example:
        >>> import optax_warmup as ow
        >>> decay = ow.transition(1.0, 0.0, 4, ow.shapes.cosine)
        >>> [round(decay(step).item(), 3) for step in range(6)]
        [1.0, 0.854, 0.5, 0.146, 0.0, 0.0]
    """

    init_value: ArrayLike
    end_value: ArrayLike
    steps: ArrayLike
    shape: ShapeLike = linear

    def __post_init__(self) -> None:
        self._set(
            init_value=_check.rate("transition", "init_value", self.init_value),
            end_value=_check.rate("transition", "end_value", self.end_value),
            steps=_check.length("transition", "steps", self.steps),
            shape=as_shape("transition", self.shape),
        )

    def _at(self, clock: Any) -> jax.Array:
        return ramp(self.init_value, self.end_value, clock, self.steps, self.shape)

    def _start(self) -> jax.Array:
        # Not the value at step 0, which is `end_value` where the length is 0: a warmup
        # as long as the run still rises to the peak.
        return clocks.as_value(self.init_value)


@value
class piecewise(Schedule):
    """A chain of transitions, continuous by construction, then held.

    In segment i, which starts where the one before it ended,
    value(step) = value[i-1] + (value[i] - value[i-1]) * shape[i](progress in segment i)

    Args:
        init_value: the value at step 0, >= 0; may be traced.
        segments: the segments in order, each (steps, value) or (steps, value, shape):
            its length in updates, the value at its end, and its shape (linear).

    Returns:
        A `Schedule`.

    Raises:
        TypeError: a segment is not such a tuple, or an argument is not a number.
        ValueError: no segment; a value is negative, NaN or infinite; a length is
            negative or not whole.

    Example:
        >>> import optax_warmup as ow
        >>> trapezoid = ow.piecewise(0.0, [(2, 1.0), (3, 1.0), (2, 0.0)])
        >>> [trapezoid(step).item() for step in range(8)]
        [0.0, 0.5, 1.0, 1.0, 1.0, 1.0, 0.5, 0.0]
    """

    init_value: ArrayLike
    segments: Sequence[tuple[Any, ...]]

    def __post_init__(self) -> None:
        init_value = _check.rate("piecewise", "init_value", self.init_value)
        self._set(init_value=init_value, segments=_segments(self.segments))

    def _at(self, clock: Any) -> jax.Array:
        start, reached = self.init_value, jnp.asarray(True)
        result = jnp.broadcast_to(clocks.as_value(start), jnp.shape(clock))
        for steps, end, shape in self.segments:
            segment = ramp(start, end, clock, steps, shape)
            result = jnp.where(reached, segment, result)
            reached &= clocks.minus(clock, steps) >= 0
            clock, start = clocks.since(clock, steps), end
        return result


def _segments(segments: Any) -> tuple[tuple[Any, ...], ...]:
    if not isinstance(segments, list | tuple) or not segments:
        raise _bad_segments("segments", segments)
    checked = []
    for index, segment in enumerate(segments):
        name = f"segments[{index}]"
        if not isinstance(segment, list | tuple) or len(segment) not in (2, 3):
            raise _bad_segments(name, segment)
        steps, end, shape = (*segment, linear)[:3]
        checked.append(
            (
                _check.length("piecewise", f"{name} steps", steps),
                _check.rate("piecewise", f"{name} value", end),
                as_shape(f"piecewise, {name}", shape),
            )
        )
    return tuple(checked)


def _bad_segments(name: str, got: Any) -> Exception:
    error = ValueError if isinstance(got, list | tuple) else TypeError
    return error(
        "piecewise: segments must be a list of (steps, value) or (steps, value, shape)"
        f", one at least; {name} is {got!r}."
    )


@value
class inverse_power(Schedule):
    """A power law in time: long tails that never end.

    value(step) = init_value * (1 + step / timescale)**-power

    With power 1/2 it is the inverse square root, with 1 inverse time. After a warmup of
    `timescale` steps it is init_value * (timescale / step)**power.

    Args:
        init_value: the value at step 0, >= 0; may be traced.
        timescale: updates after which 1 + step / timescale has doubled, > 0 and not
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

    init_value: ArrayLike
    _: KW_ONLY
    timescale: ArrayLike
    power: ArrayLike = 0.5

    def __post_init__(self) -> None:
        owner = "inverse_power"
        self._set(
            init_value=_check.rate(owner, "init_value", self.init_value),
            timescale=_check.number(owner, "timescale", self.timescale, above=0),
            power=_check.number(owner, "power", self.power, minimum=0),
        )

    def _at(self, clock: Any) -> jax.Array:
        timescale = clocks.as_value(self.timescale)
        # timescale / (timescale + clock) keeps its last digits where 1 + x would not.
        base = timescale / (timescale + clocks.as_value(clock))
        power = clocks.as_value(self.power)
        # The square root is exact; a general power errs by a few units in its place.
        decay = jnp.where(power == 0.5, jnp.sqrt(base), base**power)
        return clocks.as_value(self.init_value) * decay
