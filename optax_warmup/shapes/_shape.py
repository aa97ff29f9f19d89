"""What a shape is, and how a callable becomes one.

A shape is a function f of progress with f(0) = 0 and f(1) = 1. Any callable serves. The
ones of this library are given what is left, 1 - progress, beside the progress, and know
1 - f as well as f: so a ramp is as exact near its end as near its start.
"""

import abc
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from optax_warmup.values._value import Static, Value, value

# What is taken where a shape is asked for: a Shape, or any function of progress. Fields
# so declared hold a Shape once they are checked.
ShapeLike: TypeAlias = Any


class Shape(Value, abc.ABC):
    """A function f of progress in [0, 1] with f(0) = 0 and f(1) = 1.

    Derive from it only to give a shape of your own an exact `fall`; otherwise pass any
    callable where a shape is asked for.

    Example:
        >>> from optax_warmup import shapes
        >>> isinstance(shapes.linear, shapes.Shape)
        True
    """

    _namespace = "shapes."
    symmetric = False  # whether fall(p, q) is rise(q, p), so that one of them will do

    def __call__(self, progress: ArrayLike) -> jax.Array:
        """f(progress), of progress' shape, floating point."""
        progress = jnp.asarray(progress, _float_type(progress))
        return self.rise(progress, 1 - progress)

    @abc.abstractmethod
    def rise(self, progress: jax.Array, left: jax.Array) -> jax.Array:
        """f(progress), where left = 1 - progress to full precision."""

    def fall(self, progress: jax.Array, left: jax.Array) -> jax.Array:
        """1 - f(progress), likewise; exact as it nears 0, if it can be."""
        return 1 - self.rise(progress, left)


def _float_type(x: ArrayLike) -> Any:
    dtype = jnp.result_type(x)
    return dtype if jnp.issubdtype(dtype, jnp.floating) else jnp.result_type(float)


class Parameterless(Shape):
    def __repr__(self) -> str:
        return f"{self._namespace}{type(self).__name__.lstrip('_')}"


@value
class _function(Shape):
    """A callable of the user's as a shape."""

    function: Static

    def rise(self, progress: jax.Array, left: jax.Array) -> jax.Array:
        return jnp.asarray(self.function.function(progress), progress.dtype)

    def __repr__(self) -> str:
        return repr(self.function)


def as_shape(owner: str, shape: ShapeLike) -> Shape:
    """`shape` as a `Shape`; a plain callable is checked at its two ends."""
    if isinstance(shape, Shape):
        return shape
    if not callable(shape) or isinstance(shape, type):
        raise TypeError(
            f"{owner}: shape must be a function of progress such as shapes.linear or "
            f"shapes.power(2), got {shape!r}."
        )
    try:
        with jax.ensure_compile_time_eval():
            ends = [float(shape(jnp.asarray(end, float))) for end in (0.0, 1.0)]
    except Exception as error:
        raise TypeError(
            f"{owner}: shape must give a number for a progress from 0 to 1, got "
            f"{shape!r}, which fails with {type(error).__name__}: {error}"
        ) from error
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
