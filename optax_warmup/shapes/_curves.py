"""Shapes with a parameter: exponential, logarithmic, tanh, sigmoid and rex."""

from __future__ import annotations

from typing import Annotated, TypeAlias

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from optax_warmup._numerics import (
    expm1,
    plus_product,
    quotient,
    where,
    with_derivative_of,
)
from optax_warmup.shapes._shape import Shape
from optax_warmup.values._checked import checked
from optax_warmup.values._kinds import Number, PositiveRate


class exponential(Shape):
    """Exponential curve: each increment is a constant factor times the one before.

    f(p) = (1 - ratio**p) / (1 - ratio), and p where ratio = 1

    A ramp from a to b with ratio = b / a follows the geometric path a (b / a)**p.

    Args:
        ratio: > 0; below 1 the curve is steep first, above 1 steep last; may be traced.

    Raises:
        TypeError: the ratio is not a number.
        ValueError: the ratio is not finite or not above 0.

    Example:
        >>> from optax_warmup import shapes
        >>> round(float(shapes.exponential(0.01)(0.5)), 6)
        0.909091

    Source: optax.exponential_decay; the normalised form is that of Megatron-LM's
    "exponential" WSD decay (ratio 1/2), NVIDIA, 2024.
    """

    ratio: PositiveRate

    def rise(self, progress: jax.Array, left: jax.Array) -> jax.Array:
        return _geometric(progress, jnp.asarray(self.ratio, progress.dtype))

    def fall(self, progress: jax.Array, left: jax.Array) -> jax.Array:
        return _geometric(left, 1 / jnp.asarray(self.ratio, left.dtype))


def _geometric(progress: jax.Array, ratio: jax.Array) -> jax.Array:
    steepness = jnp.log(ratio)
    flat = steepness == 0
    rate = where(flat, 1.0, steepness)  # keeps the unused branch finite for gradients
    curve = quotient(expm1(progress * rate), expm1(rate))
    return _straight(flat, progress, -steepness / 2, curve)


def _straight(
    flat: jax.Array, progress: jax.Array, bend: jax.Array, curve: jax.Array
) -> jax.Array:
    """The curve; where it is flat, progress, with the derivatives of the curve.

    For a small bend, the curve is p + bend p (1 - p).
    """
    formula = progress + bend * (progress - progress * progress)
    near = with_derivative_of(progress + jnp.zeros_like(formula), formula)
    return where(flat, near, curve)


class logarithmic(Shape):
    """Logarithmic curve: fast at first, then slower and slower.

    f(p) = log(1 + (base - 1) p) / log(base), and p where base = 1

    Args:
        base: the slope at the start divided by the slope at the end, > 0; below 1 the
            curve is slow first; may be traced.

    Raises:
        TypeError: the base is not a number.
        ValueError: the base is not finite or not above 0.

    Example:
        >>> from optax_warmup import shapes
        >>> round(float(shapes.logarithmic(9)(0.25)), 6)
        0.5

    Source: DeepSpeed's "log" warmup, Microsoft, 2020. It follows the logarithm of the
    update's number, which is `logarithmic(steps)` over steps - 1 updates.
    """

    base: PositiveRate

    def rise(self, progress: jax.Array, left: jax.Array) -> jax.Array:
        base = jnp.asarray(self.base, progress.dtype)
        return where(
            base < 1, _log_fall(left, progress, 1 / base), _log_rise(progress, base)
        )

    def fall(self, progress: jax.Array, left: jax.Array) -> jax.Array:
        base = jnp.asarray(self.base, progress.dtype)
        return where(
            base < 1, _log_rise(left, 1 / base), _log_fall(progress, left, base)
        )


def _log_rise(progress: jax.Array, base: jax.Array) -> jax.Array:
    """log(1 + (base - 1) p) / log(base) for base >= 1."""
    flat = base <= 1
    excess = where(flat, 1.0, base - 1)
    curve = quotient(jnp.log1p(_product(excess, progress)), jnp.log1p(excess))
    return _straight(flat, progress, (base - 1) / 2, curve)


def _log_fall(progress: jax.Array, left: jax.Array, base: jax.Array) -> jax.Array:
    """1 - _log_rise; near the end, as the accurate logarithm of a ratio near 1."""
    flat = base <= 1
    excess = where(flat, 1.0, base - 1)
    ratio = excess / (1 + excess)
    # (With a large base the curve is close to its end long before progress is.)
    near = -jnp.log1p(_product(-ratio, jnp.minimum(left, 0.9)))
    near = quotient(near, jnp.log1p(excess))
    far = 1 - _log_rise(progress, base)
    return _straight(flat, left, (1 - base) / 2, where(left < 0.9, near, far))


def _product(x: jax.Array, y: jax.Array) -> jax.Array:
    """x * y; in bit-exact mode it is not fused with the 1 that log1p adds."""
    return plus_product(jnp.zeros_like(x), x, y)


# Beyond these bounds the whole curve is a single jump.
Bound: TypeAlias = Annotated[ArrayLike, Number(minimum=-40, maximum=40)]


class tanh(Shape):
    """A section of the hyperbolic tangent, rescaled to go from 0 to 1.

    f(p) = (tanh(x) - tanh(lower)) / (tanh(upper) - tanh(lower)),
    x = lower + (upper - lower) p, and p where lower = upper

    Args:
        lower: where the section starts, from -40 to 40; may be traced.
        upper: where the section ends, from -40 to 40; may be traced.

    Raises:
        TypeError: a bound is not a number.
        ValueError: a bound is not finite or not within -40 and 40.

    Example:
        >>> from optax_warmup import shapes
        >>> round(float(shapes.tanh(-2, 2)(0.75)), 6)
        0.895006

    Source: B. Y. Hsueh, W. Li and I.-C. Wu, "Stochastic Gradient Descent with
    Hyperbolic-Tangent Decay on Classification", 2019, arXiv:1806.01593, equation 2.
    """

    lower: Bound
    upper: Bound

    def rise(self, progress: jax.Array, left: jax.Array) -> jax.Array:
        lower = jnp.asarray(self.lower, progress.dtype)
        upper = jnp.asarray(self.upper, progress.dtype)
        return _tanh_rise(progress, left, lower, upper)

    def fall(self, progress: jax.Array, left: jax.Array) -> jax.Array:
        lower = jnp.asarray(self.lower, progress.dtype)
        upper = jnp.asarray(self.upper, progress.dtype)
        return _tanh_rise(left, progress, -upper, -lower)


def _tanh_rise(
    progress: jax.Array, left: jax.Array, lower: jax.Array, upper: jax.Array
) -> jax.Array:
    """sinh(width p) cosh(upper) / (sinh(width) cosh(x)), where width > 0.

    In this form nothing cancels. It is one quotient, whose numerator never falls with p
    and whose denominator never rises, so it stays monotone when it is rounded.
    """
    flat = upper == lower
    bend = jnp.tanh(lower) * (upper - lower)
    width = where(flat, 1.0, upper - lower)
    turned = width < 0  # tanh is odd: the mirrored section has the same shape
    upper, lower = where(turned, -upper, upper), where(turned, -lower, lower)
    width = jnp.abs(width)
    # Count from the nearer end; the two halves meet in the middle.
    middle = plus_product(lower, width, jnp.full_like(progress, 0.5))
    near = plus_product(lower, width, jnp.minimum(progress, 0.5))
    far = plus_product(upper, -width, jnp.minimum(left, 0.5))
    x = where(progress < 0.5, jnp.minimum(near, middle), jnp.maximum(far, middle))
    x = with_derivative_of(x, lower + width * progress)
    above = expm1(-2 * width * progress) * (1 + jnp.exp(-2 * upper))
    below = expm1(-2 * width) * (1 + jnp.exp(-2 * x))
    return _straight(flat, progress, bend, above / below)


@checked("shapes.")
def sigmoid(
    steepness: Annotated[ArrayLike, Number(minimum=-80, maximum=80)],
) -> Shape:
    """The middle of the logistic curve: slow at both ends, fast in between.

    f(p) = (s(p) - s(0)) / (s(1) - s(0)), s(p) = 1 / (1 + exp(-steepness (p - 1/2)))

    Args:
        steepness: from -80 to 80; the sign does not matter, and 0 gives a straight
            line; may be traced.

    Returns:
        A shape, equal to `tanh(-steepness / 4, steepness / 4)`.

    Raises:
        TypeError: the steepness is not a number.
        ValueError: the steepness is not finite or not within -80 and 80.

    Example:
        >>> from optax_warmup import shapes
        >>> round(float(shapes.sigmoid(10)(0.25)), 6)
        0.070104
    """
    half = 0.25 * steepness
    return tanh(-half, half)


class rex(Shape):
    """The reflected exponential (REX): slow at first, steep only near its end.

    f(p) = beta p / (1 - (1 - beta) p)

    Args:
        beta: the slope at the start, > 0; above 1 the curve is fast first; may be
            traced.

    Raises:
        TypeError: `beta` is not a number.
        ValueError: `beta` is not finite or not above 0.

    Example:
        >>> from optax_warmup import shapes
        >>> round(float(shapes.rex()(0.5)), 6)
        0.333333

    Source: J. Chen, C. Wolfe and A. Kyrillidis, "REX: Revisiting Budgeted Training with
    an Improved Schedule", 2022, arXiv:2107.04197, equation 1 (beta = 1/2).
    """

    beta: PositiveRate = 0.5

    def rise(self, progress: jax.Array, left: jax.Array) -> jax.Array:
        beta, begun = jnp.asarray(self.beta, progress.dtype), progress > 0
        odds = left / (beta * where(begun, progress, 1))
        formula = beta * progress / (left + beta * progress)
        return with_derivative_of(where(begun, 1 / (1 + odds), 0), formula)

    def fall(self, progress: jax.Array, left: jax.Array) -> jax.Array:
        beta, begun = jnp.asarray(self.beta, left.dtype), left > 0
        odds = beta * progress / where(begun, left, 1)
        formula = left / (left + beta * progress)
        return with_derivative_of(where(begun, 1 / (1 + odds), 0), formula)
