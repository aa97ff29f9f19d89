"""The composition of two shapes, and the mirrored cosine."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from optax_warmup._numerics import plus_product
from optax_warmup.shapes._shape import (
    Parameterless,
    Shape,
    ShapeLike,
    as_shape,
)


class warp(Shape):
    """Composes two shapes: `outer` of `inner`.

    f(p) = outer(inner(p))

    `warp(cosine, power(k))` is the cosine with k-decay. `warp(polynomial(k), cosine)`
    is the cosine decay raised to the power k, which optax calls `exponent`.

    Args:
        outer: any shape; it is applied to the result of `inner`.
        inner: any shape; it is applied to the progress.

    Raises:
        TypeError: one of them is not callable.
        ValueError: one of them does not map 0 to 0 and 1 to 1.

    Example:
        >>> from optax_warmup import shapes
        >>> shape = shapes.warp(shapes.cosine, shapes.power(2))
        >>> round(float(shape(0.5)), 6) == round(float(shapes.cosine(0.25)), 6)
        True

    Source: T. Zhang and W. Li, "k-decay: A New Method for Learning Rate Schedule",
    2020, arXiv:2004.05909.
    """

    outer: ShapeLike
    inner: ShapeLike

    def rise(self, progress: jax.Array, left: jax.Array) -> jax.Array:
        inner = as_shape(self.inner)
        return as_shape(self.outer).rise(
            inner.rise(progress, left), inner.fall(progress, left)
        )

    def fall(self, progress: jax.Array, left: jax.Array) -> jax.Array:
        inner = as_shape(self.inner)
        return as_shape(self.outer).fall(
            inner.rise(progress, left), inner.fall(progress, left)
        )


class _mirror_cosine(Parameterless):
    """The cosine mirrored at the straight line: steep at both ends, flat in between.

    f(p) = 2 p - (1 - cos(pi p)) / 2

    Example:
        >>> from optax_warmup import shapes
        >>> round(float(shapes.mirror_cosine(0.25)), 6)
        0.353553

    Source: A. Hägele et al., "Scaling Laws and Compute-Optimal Training Beyond Fixed
    Training Durations", 2024, arXiv:2405.18392, appendix A.1 ("mirror cosine").
    """

    def rise(self, progress: jax.Array, left: jax.Array) -> jax.Array:
        sine = jnp.sin(progress * (np.pi / 2))
        return plus_product(2 * progress, -sine, sine)

    def fall(self, progress: jax.Array, left: jax.Array) -> jax.Array:
        return self.rise(left, progress)


mirror_cosine = _mirror_cosine()
