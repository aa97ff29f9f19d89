"""Warmup factors: schedules in [0, 1] that multiply another schedule.

The other schedule's clock runs from step 0 on, also during the warmup.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Annotated, Any, TypeAlias

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from optax_warmup import _check
from optax_warmup._numerics import exact_plus_product, exact_quotient, expm1, where
from optax_warmup._schedules import clock as clocks
from optax_warmup._schedules.decays import exponential_decay
from optax_warmup._schedules.delay import advance
from optax_warmup._schedules.schedule import Schedule
from optax_warmup._schedules.warmup import warmup
from optax_warmup.values._checked import checked
from optax_warmup.values._kinds import Count, Length, Number

# The latest start of the rectification, for b2 just above 0.6 in float32.
_LATEST_START = 64

B2: TypeAlias = Annotated[ArrayLike, Number(minimum=0, below=1)]


@checked("factors.")
def linear(steps: Length) -> Schedule:
    """Linear warmup factor, which is above 0 from the first update on.

    value(step) = min(1, (step + 1) / steps)

    Args:
        steps: length of the warmup in updates, >= 0; may be traced.

    Returns:
        A `Schedule` with values in [0, 1].

    Raises:
        TypeError: `steps` is not a number.
        ValueError: `steps` is negative or not whole.

    Example:
        >>> import optax_warmup as ow
        >>> [ow.factors.linear(4)(step).item() for step in range(5)]
        [0.25, 0.5, 0.75, 1.0, 1.0]

    Source: J. Ma and D. Yarats, "On the Adequacy of Untuned Warmup for Adaptive
    Optimization", 2021, arXiv:1910.04209, section 5.2.
    """
    return warmup(1.0, steps, offset=1)


@checked("factors.")
def exponential(timescale: Count) -> Schedule:
    """Exponential warmup factor, which approaches 1 ever more slowly.

    value(step) = 1 - exp(-(step + 1) / timescale)

    It never quite reaches 1: at step timescale - 1 it is 0.63. For a factor that does,
    use an ordinary schedule: `warmup(1.0, steps, shape=...)` with any shape,
    `join([(steps, 0.1)], last=1.0)` for a constant warmup, or
    `piecewise(0.0, [(100, 0.1), (900, 1.0)])` for a warmup in two stages.

    Args:
        timescale: number of updates, a whole number >= 1; may be traced.

    Returns:
        A `Schedule` with values in [0, 1].

    Raises:
        TypeError: the timescale is not a number.
        ValueError: the timescale is below 1 or not whole.

    Example:
        >>> import optax_warmup as ow
        >>> schedule = ow.multiply(ow.factors.exponential(100), 1e-3)
        >>> round(schedule(99).item(), 6)
        0.000632

    Source: J. Ma and D. Yarats, "On the Adequacy of Untuned Warmup for Adaptive
    Optimization", 2021, arXiv:1910.04209, section 5.1.
    """
    approach = exponential_decay(0.0, steps=timescale, rate=math.exp(-1), limit=1.0)
    return advance(approach, 1)


@checked("factors.")
def untuned_linear(b2: B2) -> Schedule:
    """Untuned linear warmup factor, whose length follows from Adam's b2.

    value(step) = min(1, (step + 1) / round(2 / (1 - b2)))

    Args:
        b2: Adam's decay rate of the second moment, 0 <= b2 < 1; may be traced.

    Returns:
        A `Schedule` with values in [0, 1]. The length is rounded to the nearest
        update: for b2=0.999 it is 2000, while pytorch_warmup uses 1999.

    Raises:
        TypeError: `b2` is not a number.
        ValueError: `b2` is not in [0, 1).

    Example:
        >>> import optax_warmup as ow
        >>> ow.factors.untuned_linear(0.999)
        warmup(constant(1.0), steps=2000, offset=1)

    Source: J. Ma and D. Yarats, "On the Adequacy of Untuned Warmup for Adaptive
    Optimization", 2021, arXiv:1910.04209, section 5.2.
    """
    return warmup(1.0, _memory(2, b2), offset=1)


@checked("factors.")
def untuned_exponential(b2: B2) -> Schedule:
    """Untuned exponential warmup factor, whose timescale follows from Adam's b2.

    value(step) = 1 - exp(-(step + 1) / round(1 / (1 - b2)))

    Args:
        b2: Adam's decay rate of the second moment, 0 <= b2 < 1; may be traced.

    Returns:
        A `Schedule` with values in [0, 1]. The timescale is rounded to the nearest
        update: for b2=0.95 it is 20, while pytorch_warmup uses 19.

    Raises:
        TypeError: `b2` is not a number.
        ValueError: `b2` is not in [0, 1).

    Example:
        >>> import optax_warmup as ow
        >>> ow.factors.untuned_exponential(0.95) == ow.factors.exponential(20)
        True

    Source: J. Ma and D. Yarats, "On the Adequacy of Untuned Warmup for Adaptive
    Optimization", 2021, arXiv:1910.04209, section 5.1.
    """
    return exponential(_memory(1, b2))


def _memory(times: int, b2: ArrayLike) -> ArrayLike:
    """times / (1 - b2), rounded to whole updates."""
    if isinstance(b2, float):
        return round(times / (1 - b2))
    length = jnp.round(times / jnp.maximum(1 - clocks.as_value(b2), 1e-7))
    return length.astype(jnp.int32)


@checked("factors.")
def radam(
    b2: Annotated[ArrayLike, Number(above=0.6, below=1, hint="Adam's usual is 0.999")],
) -> Schedule:
    """RAdam's rectification as a warmup factor, from the first update that has one.

    value(step) = sqrt((r - 4) (r - 2) s / ((s - 4) (s - 2) r)),  with n = step + d,
    r = s - 2 n b2**n / (1 - b2**n),  s = 2 / (1 - b2) - 1,
    and d the first n with r > 4 (5 for the usual b2)

    It equals `rectification` with the timescale 1 / (1 - b2).

    Args:
        b2: Adam's decay rate of the second moment, 0.6 < b2 < 1. Up to 0.6 the moving
            average is too short for RAdam's variance to exist. May be traced, but
            1 - b2 then has only float32's precision.

    Returns:
        A `Schedule` with values in [0, 1].

    Raises:
        TypeError: `b2` is not a number.
        ValueError: `b2` is not between 0.6 and 1.

    Example:
        >>> import optax_warmup as ow
        >>> ow.factors.radam(0.999)
        factors.rectification(1000.0)

    Source: L. Liu et al., "On the Variance of the Adaptive Learning Rate and Beyond",
    2020, arXiv:1908.03265, algorithm 2.
    """
    if isinstance(b2, float):
        # Exact for the decimal: in floats 1 / (1 - 0.999) is 999.9999999999991.
        return rectification(float(1 / (1 - Fraction(repr(b2)))))
    return rectification(1 / (1 - clocks.as_value(b2)))


class rectification(Schedule):
    """RAdam's rectification for a second moment that averages over `timescale` updates.

    value(step) = sqrt((r - 4) (r - 2) s / ((s - 4) (s - 2) r)),  with n = step + d,
    r = s - 2 n b2**n / (1 - b2**n),  s = 2 timescale - 1,  b2 = 1 - 1 / timescale,
    and d the first n with r > 4 (5 for the usual b2)

    Args:
        timescale: 1 / (1 - b2) in updates, > 2.5. Unlike b2, it keeps its precision in
            float32. May be traced.

    Returns:
        A `Schedule` with values in [0, 1].

    Raises:
        TypeError: the timescale is not a number.
        ValueError: the timescale is not finite or not above 2.5.

    Example:
        >>> import optax_warmup as ow
        >>> schedule = ow.factors.rectification(1000)
        >>> [round(schedule(step).item(), 6) for step in (0, 5, 1995)]
        [0.017312, 0.048998, 0.82839]

    Source: L. Liu et al., "On the Variance of the Adaptive Learning Rate and Beyond",
    2020, arXiv:1908.03265, algorithm 2. It starts at the first update where it is
    defined, as in pytorch_warmup.
    """

    _namespace = "factors."
    _fixed_length = (
        "has no length to change: its length follows from Adam's b2. Leave it out, "
        "and multiply the result by it"
    )

    timescale: Annotated[ArrayLike, Number(above=2.5)]

    def value_at(self, clock: Any) -> jax.Array:
        decay = -jnp.log1p(-1 / clocks.as_value(self.timescale))
        first = _first_rectified(decay)
        # first + clock could overflow int32.
        room = clocks.until(clock, clocks.minus(_check.MAX_STEP, first))
        n = clocks.as_value(room) + clocks.as_value(first)
        most = 2 / decay + _langevin(decay / 2)
        length = jnp.clip(_length(n, decay), 4 * (1 + jnp.finfo(n.dtype).eps), most)
        factor = exact_quotient(length - 4, most - 4) * exact_quotient(
            length - 2, most - 2
        )
        return jnp.sqrt(jnp.minimum(factor * (most / length), 1))


def _length(n: jax.Array, decay: jax.Array) -> jax.Array:
    """The length of the simple average that the moving one approximates: r above.

    With h = -log(b2) and L(x) = coth(x) - 1/x it is n + L(h / 2) - n L(n h / 2). In
    this form no terms as large as 1 / (1 - b2) cancel.
    """
    y = n * decay / 2
    small = y < 1
    near = 1 - _langevin(where(small, y, 1.0))
    y = where(small, 1.0, y)
    # n / y would lose digits that 2 / decay keeps.
    far = 2 / decay - 2 * n / expm1(2 * jnp.minimum(y, 40))
    far = where(y > 40, 2 / decay, far)
    near = exact_plus_product(_langevin(decay / 2), n, near)
    return where(small, near, far + _langevin(decay / 2))


def _langevin(x: jax.Array) -> jax.Array:
    """coth(x) - 1/x for 0 < x <= 1, by Lambert's continued fraction."""
    square = x * x
    tail = jnp.full_like(x, 17.0)
    for odd in (15.0, 13.0, 11.0, 9.0, 7.0, 5.0, 3.0):
        tail = odd + square / tail
    return x / tail


def _first_rectified(decay: jax.Array) -> jax.Array:
    """The first number of updates with an average longer than 4: d above."""
    n = jnp.arange(1.0, _LATEST_START, dtype=decay.dtype)
    n = n.reshape(-1, *(1,) * jnp.ndim(decay))
    return 1 + jnp.sum(_length(n, decay) <= 4, axis=0, dtype=jnp.int32)
