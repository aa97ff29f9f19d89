"""Curves that approach their end: exponential and its kin."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from optax_warmup import _check
from optax_warmup._value import value
from optax_warmup.shapes._shape import Shape, repr_name


@value
class exponential(Shape):
    """Steps of a constant ratio: each step closes or opens the gap by the same factor.

    f(p) = (1 - ratio**p) / (1 - ratio), and p where ratio = 1

    From a to b with ratio = b / a it is the geometric path a (b / a)**p.

    Args:
        ratio: > 0; below 1 the change is fast first, above 1 fast last; may be traced.

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

    ratio: ArrayLike

    def __post_init__(self) -> None:
        self._set(ratio=_check.number(repr_name(self), "ratio", self.ratio, above=0))

    def rise(self, progress: jax.Array, left: jax.Array) -> jax.Array:
        return _geometric(progress, jnp.asarray(self.ratio, progress.dtype))

    def fall(self, progress: jax.Array, left: jax.Array) -> jax.Array:
        return _geometric(left, 1 / jnp.asarray(self.ratio, left.dtype))


def _geometric(progress: jax.Array, ratio: jax.Array) -> jax.Array:
    rate = jnp.log(ratio)
    flat = rate == 0
    rate = jnp.where(flat, 1.0, rate)  # keeps the unused branch finite for gradients
    return jnp.where(flat, progress, jnp.expm1(progress * rate) / jnp.expm1(rate))
