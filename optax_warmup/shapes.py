"""Shapes: how a ramp goes from its start to its end.

A shape is a function f of progress with f(0) = 0 and f(1) = 1. Any callable serves; the
ones here also know their `complement` 1 - f(1 - left), so that a ramp is as exact near
its end as near its start.
"""

import abc
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from optax_warmup import _check
from optax_warmup._value import Static, Value, value

__all__ = [
    "Shape",
    "cosine",
    "exponential",
    "linear",
    "polynomial",
    "power",
    "reverse",
]


class Shape(Value, abc.ABC):
    """A function f of progress in [0, 1] with f(0) = 0 and f(1) = 1.

    Derive from it only to give a shape of your own an exact `complement`; otherwise
    pass any callable where a shape is asked for.

    Example:
        >>> from optax_warmup import shapes
        >>> isinstance(shapes.linear, shapes.Shape)
        True
    """

    _namespace = "shapes."

    def __call__(self, progress: ArrayLike) -> jax.Array:
        """f(progress), of progress' shape, floating point."""
        return self._rise(jnp.asarray(progress, _float_type(progress)))

    def complement(self, left: ArrayLike) -> jax.Array:
        """1 - f(1 - left): how far the end still is, where `left` = 1 - progress."""
        return self._fall(jnp.asarray(left, _float_type(left)))

    @abc.abstractmethod
    def _rise(self, progress: jax.Array) -> jax.Array:
        """f, of a floating array."""

    def _fall(self, left: jax.Array) -> jax.Array:
        return 1 - self._rise(1 - left)


def _float_type(x: ArrayLike) -> Any:
    dtype = jnp.result_type(x)
    return dtype if jnp.issubdtype(dtype, jnp.floating) else jnp.result_type(float)


class _Parameterless(Shape):
    def __repr__(self) -> str:
        return f"{self._namespace}{type(self).__name__.lstrip('_')}"


@value
class _linear(_Parameterless):
    """A straight line.

    f(p) = p

    Example:
        >>> from optax_warmup import shapes
        >>> float(shapes.linear(0.25))
        0.25
    """

    def _rise(self, progress: jax.Array) -> jax.Array:
        return progress

    def _fall(self, left: jax.Array) -> jax.Array:
        return left


@value
class _cosine(_Parameterless):
    """Half a wave of the cosine: flat at both ends.

    f(p) = (1 - cos(pi p)) / 2 = sin(pi p / 2)**2

    Example:
        >>> from optax_warmup import shapes
        >>> round(float(shapes.cosine(0.25)), 6)
        0.146447

    Source: I. Loshchilov and F. Hutter, "SGDR: Stochastic Gradient Descent with Warm
    Restarts", 2017, arXiv:1608.03983, equation 5.
    """

    # The sine's square is exact to the last digits near 0, where 1 - cos cancels.
    def _rise(self, progress: jax.Array) -> jax.Array:
        return jnp.square(jnp.sin(progress * (np.pi / 2)))

    def _fall(self, left: jax.Array) -> jax.Array:
        return self._rise(left)


linear = _linear()
cosine = _cosine()


@value
class power(Shape):
    """A power of progress: slow start for exponents above 1, fast below.

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

    exponent: ArrayLike

    def __post_init__(self) -> None:
        exponent = _check.number(repr_name(self), "exponent", self.exponent, above=0)
        self._set(exponent=exponent)

    def _rise(self, progress: jax.Array) -> jax.Array:
        return progress ** jnp.asarray(self.exponent, progress.dtype)

    def _fall(self, left: jax.Array) -> jax.Array:
        exponent = jnp.asarray(self.exponent, left.dtype)
        return -jnp.expm1(exponent * jnp.log1p(-left))


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

    def _rise(self, progress: jax.Array) -> jax.Array:
        return _geometric(progress, jnp.asarray(self.ratio, progress.dtype))

    def _fall(self, left: jax.Array) -> jax.Array:
        return _geometric(left, 1 / jnp.asarray(self.ratio, left.dtype))


def _geometric(progress: jax.Array, ratio: jax.Array) -> jax.Array:
    rate = jnp.log(ratio)
    flat = rate == 0
    rate = jnp.where(flat, 1.0, rate)  # keeps the unused branch finite for gradients
    return jnp.where(flat, progress, jnp.expm1(progress * rate) / jnp.expm1(rate))


@value
class reverse(Shape):
    """A shape turned by half a circle: its end is the start.

    f(p) = 1 - shape(1 - p)

    Args:
        shape: any shape.

    Example:
        >>> from optax_warmup import shapes
        >>> float(shapes.reverse(shapes.power(2))(0.5))
        0.75
    """

    shape: Callable[..., ArrayLike]

    def __post_init__(self) -> None:
        self._set(shape=as_shape(repr_name(self), self.shape))

    def _rise(self, progress: jax.Array) -> jax.Array:
        return self.shape._fall(progress)

    def _fall(self, left: jax.Array) -> jax.Array:
        return self.shape._rise(left)


def polynomial(exponent: ArrayLike) -> Shape:
    """The polynomial of optax, torch and Keras: the power of what is left.

    f(p) = 1 - (1 - p)**exponent

    Args:
        exponent: > 0; may be traced.

    Returns:
        A shape; `reverse(power(exponent))`.

    Raises:
        TypeError: the exponent is not a number.
        ValueError: the exponent is not finite or not above 0.

    Example:
        >>> from optax_warmup import shapes
        >>> float(shapes.polynomial(2)(0.5))
        0.75
    """
    return reverse(power(exponent))


@value
class _function(Shape):
    """A callable of the user's as a shape."""

    function: Static

    def _rise(self, progress: jax.Array) -> jax.Array:
        return jnp.asarray(self.function.function(progress), progress.dtype)

    def __repr__(self) -> str:
        return repr(self.function)


def as_shape(owner: str, shape: Callable[..., ArrayLike]) -> Shape:
    """`shape` as a `Shape`; a plain callable is checked at its two ends."""
    if isinstance(shape, Shape):
        return shape
    if not callable(shape) or isinstance(shape, type):
        raise TypeError(
            f"{owner}: shape must be a function of progress such as shapes.linear or "
            f"shapes.power(2), got {shape!r}."
        )
    with jax.ensure_compile_time_eval():
        ends = [float(shape(jnp.asarray(end, float))) for end in (0.0, 1.0)]
    if not np.allclose(ends, [0.0, 1.0], atol=1e-6):
        raise ValueError(
            f"{owner}: shape must map 0 to 0 and 1 to 1, got {shape!r}, which maps "
            f"them to {ends[0]:g} and {ends[1]:g}. Subtract f(0) and divide by "
            f"f(1) - f(0)."
        )
    return _function(Static(shape))


def repr_name(shape: Shape) -> str:
    """The public name, for messages."""
    return f"{shape._namespace}{type(shape).__name__}"
