"""The base class of shapes, and how a callable becomes one.

A shape is a function f of progress with f(0) = 0 and f(1) = 1. Any callable will do.
The shapes of this library also receive the remaining progress, 1 - progress, and
compute 1 - f as well as f. So a ramp is as accurate near its end as near its start.
"""

from __future__ import annotations

import abc
from collections.abc import Callable
from typing import Annotated, Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from optax_warmup import _check
from optax_warmup.values._kinds import Kind
from optax_warmup.values._value import Static, Value


class Shape(Value, abc.ABC):
    """Base class of shapes: functions f of progress with f(0) = 0 and f(1) = 1.

    Progress is in [0, 1]. Any callable can be passed as a shape. Derive from `Shape` if
    yours needs parameters that can be traced, a name in configurations, or an accurate
    `fall`: annotate each field with what it holds (see `optax_warmup.values`) and
    define `rise`.

    Example:
        >>> import optax_warmup as ow
        >>> class smoothstep(ow.shapes.Shape):
        ...     def rise(self, progress, left):
        ...         return progress**2 * (1 + 2 * left)
        >>> ow.warmup(1.0, 4, shape=smoothstep())(1).item()
        0.15625
    """

    _namespace = "shapes."
    symmetric = False  # whether fall(p, q) is rise(q, p), so that one is enough
    # Whether both are exactly 0 and 1 at the ends, and have finite derivatives there.
    _exact_ends = False

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if cls.__module__.split(".")[0] != __name__.split(".")[0]:
            cls._namespace = ""  # a user's own shape

    def __call__(self, progress: ArrayLike) -> jax.Array:
        """f(progress), a floating-point array with the shape of `progress`."""
        progress = jnp.asarray(progress, _float_type(progress))
        return self.rise(progress, 1 - progress)

    @abc.abstractmethod
    def rise(self, progress: jax.Array, left: jax.Array) -> jax.Array:
        """f(progress); `left` is 1 - progress to full precision."""

    def fall(self, progress: jax.Array, left: jax.Array) -> jax.Array:
        """1 - f(progress); override it if 1 - rise is inaccurate near 0."""
        return 1 - self.rise(progress, left)


def _float_type(x: ArrayLike) -> Any:
    dtype = jnp.result_type(x)
    return dtype if jnp.issubdtype(dtype, jnp.floating) else jnp.result_type(float)


class Parameterless(Shape):
    """A shape without parameters; its public name is the instance, not the class."""

    def __repr__(self) -> str:
        return f"{self._namespace}{type(self).__name__.lstrip('_')}"


class _Held(Kind):
    """A callable that is stored unchanged."""

    def check(self, owner: str, name: str, x: Any) -> Any:
        return x


class _function(Shape):
    """Wraps a user's callable as a shape."""

    function: Annotated[Static, _Held()]

    def rise(self, progress: jax.Array, left: jax.Array) -> jax.Array:
        return jnp.asarray(self.function.function(progress), progress.dtype)

    def __repr__(self) -> str:
        return repr(self.function)


class _OneShape(Kind):
    def check(self, owner: str, name: str, x: Any) -> Shape:
        return as_shape(x, owner, name)


Shape._kind = _OneShape()  # for a field annotated with the class itself

# What is accepted as a shape: a Shape, or any function of progress. A field that is
# declared so holds a Shape once it is checked.
ShapeLike: TypeAlias = Annotated[Shape | Callable[[Any], Any], _OneShape()]


def as_shape(x: ShapeLike, owner: str = "shape", name: str = "shape") -> Shape:
    """Converts `x` to a `Shape`; traces a callable once and checks its two ends."""
    if isinstance(x, Shape):
        return x
    if not callable(x) or isinstance(x, type):
        raise TypeError(
            f"{owner}: {name} must be a function of progress such as shapes.linear or "
            f"shapes.power(2), got {x!r}."
        )
    try:
        out = _check.traced_once(x, jnp.result_type(float))
        with jax.ensure_compile_time_eval():
            ends = [np.asarray(x(jnp.asarray(end, float))) for end in (0.0, 1.0)]
    except Exception as error:
        raise TypeError(
            f"{owner}: {name} must be a function of progress that can be traced, "
            f"written with jax.numpy, got {x!r}, which fails with "
            f"{type(error).__name__}: {error}"
        ) from error
    if getattr(out, "shape", None) != () or not _check.is_real(out.dtype):
        raise TypeError(
            f"{owner}: {name} must return one real number for each progress, got "
            f"{x!r}, which returns {out}."
        )
    if not np.allclose(ends, [0.0, 1.0], atol=1e-6):
        raise ValueError(
            f"{owner}: {name} must map 0 to 0 and 1 to 1, got {x!r}, which maps "
            f"them to {ends[0]:g} and {ends[1]:g}. Subtract f(0) and divide by "
            f"f(1) - f(0)."
        )
    return _function(Static(x))
