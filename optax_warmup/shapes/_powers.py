"""Linear, cosine and power shapes, and the reverse of any shape."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from optax_warmup._numerics import expm1, where, with_derivative_of
from optax_warmup.shapes._shape import (
    Parameterless,
    Shape,
    ShapeLike,
    as_shape,
)
from optax_warmup.values._checked import checked
from optax_warmup.values._kinds import PositiveRate


class _linear(Parameterless):
    """A straight line.

    f(p) = p

    Example:
        >>> from optax_warmup import shapes
        >>> float(shapes.linear(0.25))
        0.25
    """

    symmetric = True
    _exact_ends = True

    def rise(self, progress: jax.Array, left: jax.Array) -> jax.Array:
        return progress

    def fall(self, progress: jax.Array, left: jax.Array) -> jax.Array:
        return left


class _cosine(Parameterless):
    """Half a cosine wave: flat at both ends.

    f(p) = (1 - cos(pi p)) / 2 = sin(pi p / 2)**2

    Example:
        >>> from optax_warmup import shapes
        >>> round(float(shapes.cosine(0.25)), 6)
        0.146447

    Source: I. Loshchilov and F. Hutter, "SGDR: Stochastic Gradient Descent with Warm
    Restarts", 2017, arXiv:1608.03983, equation 5.
    """

    symmetric = True
    _exact_ends = True

    # The sine's square is accurate near 0, where 1 - cos would cancel.
    def rise(self, progress: jax.Array, left: jax.Array) -> jax.Array:
        return jnp.square(jnp.sin(progress * (np.pi / 2)))

    def fall(self, progress: jax.Array, left: jax.Array) -> jax.Array:
        return self.rise(left, progress)


linear = _linear()
cosine = _cosine()


class power(Shape):
    """A power of progress: slow at first for exponents above 1, fast below 1.

    f(p) = p**exponent

    A cooldown with `power(0.5)` is the "1 - sqrt" cooldown.

    Args:
        exponent: > 0; may be traced.

    Raises:
        TypeError: the exponent is not a number.
        ValueError: the exponent is not finite or not above 0.

    Example:
        >>> from optax_warmup import shapes
        >>> float(shapes.power(2)(0.5))
        0.25

    Source: A. Hägele et al., "Scaling Laws and Compute-Optimal Training Beyond Fixed
    Training Durations", 2024, arXiv:2405.18392, equation 2 (the 1 - sqrt cooldown).
    """

    exponent: PositiveRate

    def rise(self, progress: jax.Array, left: jax.Array) -> jax.Array:
        return progress ** jnp.asarray(self.exponent, progress.dtype)

    def fall(self, progress: jax.Array, left: jax.Array) -> jax.Array:
        exponent = jnp.asarray(self.exponent, left.dtype)
        # Each half uses the logarithm that is accurate there. In the middle, where they
        # meet, rounding must not make the curve step back.
        middle = -expm1(exponent * jnp.log(jnp.asarray(0.5, left.dtype)))
        near = -expm1(exponent * jnp.log1p(-jnp.minimum(left, 0.5)))
        far = -expm1(exponent * jnp.log(jnp.minimum(progress, 0.5)))
        rest = where(left < 0.5, jnp.minimum(near, middle), jnp.maximum(far, middle))
        return with_derivative_of(rest, 1 - progress**exponent)


class reverse(Shape):
    """Reverses a shape: it begins the way the original ends.

    f(p) = 1 - shape(1 - p)

    Args:
        shape: any function f of progress with f(0) = 0 and f(1) = 1.

    Raises:
        TypeError: `shape` is not callable.
        ValueError: `shape` does not map 0 to 0 and 1 to 1.

    Example:
        >>> from optax_warmup import shapes
        >>> float(shapes.reverse(shapes.power(2))(0.5))
        0.75
    """

    shape: ShapeLike

    def rise(self, progress: jax.Array, left: jax.Array) -> jax.Array:
        return as_shape(self.shape).fall(left, progress)

    def fall(self, progress: jax.Array, left: jax.Array) -> jax.Array:
        return as_shape(self.shape).rise(left, progress)


@checked("shapes.")
def polynomial(exponent: PositiveRate) -> Shape:
    """A power of the remaining progress: the polynomial of optax, torch and Keras.

    f(p) = 1 - (1 - p)**exponent

    Args:
        exponent: > 0; may be traced.

    Returns:
        A shape, equal to `reverse(power(exponent))`.

    Raises:
        TypeError: the exponent is not a number.
        ValueError: the exponent is not finite or not above 0.

    Example:
        >>> from optax_warmup import shapes
        >>> float(shapes.polynomial(2)(0.5))
        0.75
    """
    return reverse(power(exponent))
