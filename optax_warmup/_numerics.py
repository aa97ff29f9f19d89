"""Arithmetic for ramps of up to 2**31 steps: on any mesh, and bit-exact on request."""

import contextlib
import math
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

_BORDER = 0.5
_TERMS = [1 / math.factorial(n) for n in range(9, 1, -1)]
# A user context is part of jax.jit's cache key, so programs that were traced inside and
# outside of it are never confused.
_exact = jax.make_user_context(default_value=False)


def bit_exact() -> contextlib.AbstractContextManager[Any]:
    """Makes schedules bit-exact: the same value in every program, at some cost.

    By default a schedule's value may differ in its last bit between an eager call, a
    jitted function and a scan: a compiler may fuse a product and a sum, or multiply by
    1 / x instead of dividing by x. Inside this context it cannot. Programs that are
    traced in it take more operations. They also contain an optimization barrier, which
    for instance may keep XLA from turning a conditional into a select.

    Returns:
        A context manager. It must be active while a function is traced: put it around
        the first call of a jitted step.

    Example:
        >>> import jax, optax_warmup as ow
        >>> schedule = ow.warmup_cosine(1e-3, 7, 100)
        >>> with ow.bit_exact():
        ...     bool(schedule(50) == jax.jit(schedule)(50))
        True
    """
    context: contextlib.AbstractContextManager[Any] = _exact(True)
    return context


def is_bit_exact() -> bool:
    """Whether the `bit_exact` context is active."""
    return bool(_exact.value)


def is_narrow(dtype: Any) -> bool:
    """Whether a dtype is a real floating-point one of less than 32 bits."""
    return bool(jnp.issubdtype(dtype, jnp.floating)) and jnp.dtype(dtype).itemsize < 4


def where(condition: ArrayLike, x: ArrayLike, y: ArrayLike) -> jax.Array:
    """`jnp.where` for arrays of different shardings on an explicit mesh.

    Other operations combine a replicated operand with a sharded one, but
    `jnp.where` raises.
    """
    parts = [jnp.asarray(part) for part in (condition, x, y)]
    shape = jnp.broadcast_shapes(*(part.shape for part in parts))
    sharding = _explicit_sharding(parts, shape)
    if sharding is not None:
        parts = [
            jax.sharding.reshard(jnp.broadcast_to(part, shape), sharding)
            for part in parts
        ]
    condition, x, y = parts
    return jnp.where(condition, x, y)


def _explicit_sharding(parts: list[jax.Array], shape: tuple[int, ...]) -> Any:
    """The sharding over explicit axes of a part with the full shape, or None."""
    for part in parts:
        sharding = jax.typeof(part).sharding
        if part.shape == shape and any(name is not None for name in sharding.spec):
            return sharding
    return None


@jax.custom_jvp
def with_derivative_of(value: jax.Array, formula: jax.Array) -> jax.Array:
    """Returns `value`, with the derivative of a formula of the same shape and dtype.

    For a formula whose value is held within bounds or replaced at one number, only so
    that rounding does no harm. There, JAX would return half of the derivative, or that
    of the bound. In a program without derivatives the formula costs nothing.
    """
    return value


@with_derivative_of.defjvp
def _formula_jvp(
    primals: tuple[jax.Array, jax.Array], tangents: tuple[jax.Array, jax.Array]
) -> tuple[jax.Array, jax.Array]:
    return primals[0], tangents[1]


def expm1(x: jax.Array) -> jax.Array:
    """exp(x) - 1, monotone in x.

    For |x| < 1/2, XLA's `expm1` is wrong by a few units in the last place, so that a
    ramp that moves by less than that per step would go back and forth. There, x plus
    the rest of the Taylor series is accurate enough. Elsewhere exp(x) - 1 is.
    """
    if x.dtype != jnp.float32:
        return jnp.expm1(x)  # no ramp is slow enough to show it in float64
    near = jnp.abs(x) < _BORDER
    inside, outside = where(near, x, 0), where(near, _BORDER, x)
    rest = jnp.zeros_like(x)
    for term in _TERMS:
        rest = rest * inside + term
    series = inside + inside * inside * rest
    low, high = math.expm1(-_BORDER), math.expm1(_BORDER)
    series = jnp.clip(series, low, high)
    plain = jnp.exp(outside) - 1
    plain = where(x < 0, jnp.minimum(plain, low), jnp.maximum(plain, high))
    return with_derivative_of(where(near, series, plain), jnp.expm1(x))


def quotient(x: jax.Array, y: jax.Array) -> jax.Array:
    """x / y; bit-exact inside the `bit_exact` context."""
    return exact_quotient(x, y) if is_bit_exact() else x / y


def exact_quotient(x: jax.Array, y: jax.Array) -> jax.Array:
    """x / y, the same to the last bit in every program.

    If one y divides many x, a compiler multiplies by 1 / y, which rounds twice. The
    `where` prevents that, since it gives each x its own y.
    """
    return x / where(x > -jnp.inf, y, 1)


def plus_product(x: jax.Array, a: jax.Array, b: jax.Array) -> jax.Array:
    """x + a * b; bit-exact inside the `bit_exact` context."""
    return exact_plus_product(x, a, b) if is_bit_exact() else x + a * b


def exact_plus_product(x: jax.Array, a: jax.Array, b: jax.Array) -> jax.Array:
    """x + a * b, the same to the last bit in every program.

    A compiler fuses a product and a sum, and so rounds once, in some programs but not
    in others: eager, jitted and scanned values would differ. Here each factor is split
    into two halves of its digits. Their products are exact, so fusing changes nothing.
    """
    (a_head, a_tail), (b_head, b_tail) = _halves(a), _halves(b)
    product = a_tail * b_head + a_tail * b_tail
    product = a_head * b_head + (a_head * b_tail + product)
    return x + product


def _halves(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Splits x into the first half of its digits and the rest.

    The rest carries the derivative.
    """
    info = jnp.finfo(x.dtype)
    bits = jax.lax.bitcast_convert_type(x, f"int{info.bits}")
    bits = bits & jnp.asarray(-1 << (info.nmant + 1) // 2, bits.dtype)
    head = jax.lax.bitcast_convert_type(bits, x.dtype)
    return head, x - head
