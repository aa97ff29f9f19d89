"""Arithmetic for ramps of up to 2**31 steps, on any mesh, and bit-exact on request."""

import contextlib
import math
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

_BORDER = 0.5
_TERMS = [1 / math.factorial(n) for n in range(9, 1, -1)]
# What is traced with it and without are different programs, also for jax.jit's caches.
_exact = jax.make_user_context(default_value=False)


def bit_exact() -> contextlib.AbstractContextManager[Any]:
    """Makes schedules give the same bits in every program, at a price.

    By default a schedule's value may differ in its last bit between an eager call, a
    jitted function and a scan, since a compiler may fuse a product and a sum, or
    multiply by 1 / x instead of dividing by x. Inside this context it may not: programs
    that are traced in it take more operations, and keep a barrier that hinders XLA, for
    instance in turning the condition of a guard into a selection.

    Returns:
        A context manager. Use it around what traces: the first call of a jitted step.

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
    """Whether what is traced now must give the same bits in every program."""
    return bool(_exact.value)


def where(condition: ArrayLike, x: ArrayLike, y: ArrayLike) -> jax.Array:
    """`jnp.where` that takes arrays of different shardings on an explicit mesh.

    Other operations combine a replicated operand with a sharded one, but a selection
    refuses them.
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
    """The sharding of the whole-sized parts over explicit axes; None without one."""
    for part in parts:
        sharding = jax.typeof(part).sharding
        if part.shape == shape and any(name is not None for name in sharding.spec):
            return sharding
    return None


def expm1(x: jax.Array) -> jax.Array:
    """exp(x) - 1 that never decreases where x grows.

    XLA's own errs by a few of the last bits below 1/2, so that a ramp slower than one
    of them a step would go back and forth. Added to x, the rest of the series has
    errors too small for that; so has exp(x) - 1 further out.
    """
    if x.dtype != jnp.float32:
        return jnp.expm1(x)  # no ramp is as slow as the last bits of float64
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
    return where(near, series, plain)


def quotient(x: jax.Array, y: jax.Array) -> jax.Array:
    """x / y; bit-exact where that is asked for."""
    return exact_quotient(x, y) if is_bit_exact() else x / y


def exact_quotient(x: jax.Array, y: jax.Array) -> jax.Array:
    """x / y, the same to the last bit in every program.

    Where one y divides many x, a compiler multiplies by 1 / y, which rounds twice. The
    `where` makes it one y for each x.
    """
    return x / where(x > -jnp.inf, y, 1)


def plus_product(x: jax.Array, a: jax.Array, b: jax.Array) -> jax.Array:
    """x + a * b; bit-exact where that is asked for."""
    return exact_plus_product(x, a, b) if is_bit_exact() else x + a * b


def exact_plus_product(x: jax.Array, a: jax.Array, b: jax.Array) -> jax.Array:
    """x + a * b, the same to the last bit in every program.

    A compiler may fuse a product and a sum and round once, and does so in one program
    and not in the next: eager, jitted and scanned values would differ. The products
    below are of halves of the digits, so they are exact and fused or not are the same.
    """
    (a_head, a_tail), (b_head, b_tail) = _halves(a), _halves(b)
    product = a_tail * b_head + a_tail * b_tail
    product = a_head * b_head + (a_head * b_tail + product)
    return x + product


def _halves(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The first half of the digits and the rest, which carries the derivative."""
    info = jnp.finfo(x.dtype)
    bits = jax.lax.bitcast_convert_type(x, f"int{info.bits}")
    bits = bits & jnp.asarray(-1 << (info.nmant + 1) // 2, bits.dtype)
    head = jax.lax.bitcast_convert_type(bits, x.dtype)
    return head, x - head
