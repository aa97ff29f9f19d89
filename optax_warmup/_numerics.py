"""Arithmetic as exact as a ramp of 2**31 steps asks for, and alike in every program."""

import math

import jax
import jax.numpy as jnp

_BORDER = 0.5
_TERMS = [1 / math.factorial(n) for n in range(9, 1, -1)]


def expm1(x: jax.Array) -> jax.Array:
    """exp(x) - 1 that never decreases where x grows.

    XLA's own errs by a few of the last bits below 1/2, so that a ramp slower than one
    of them a step would go back and forth. Added to x, the rest of the series has
    errors too small for that; so has exp(x) - 1 further out.
    """
    if x.dtype != jnp.float32:
        return jnp.expm1(x)  # no ramp is as slow as the last bits of float64
    near = jnp.abs(x) < _BORDER
    inside, outside = jnp.where(near, x, 0), jnp.where(near, _BORDER, x)
    rest = jnp.zeros_like(x)
    for term in _TERMS:
        rest = rest * inside + term
    series = inside + inside * inside * rest
    low, high = math.expm1(-_BORDER), math.expm1(_BORDER)
    series = jnp.clip(series, low, high)
    plain = jnp.exp(outside) - 1
    plain = jnp.where(x < 0, jnp.minimum(plain, low), jnp.maximum(plain, high))
    return jnp.where(near, series, plain)


def quotient(x: jax.Array, y: jax.Array) -> jax.Array:
    """x / y, the same to the last bit in every program.

    Where one y divides many x, a compiler multiplies by 1 / y, which rounds twice. The
    `where` makes it one y for each x.
    """
    return x / jnp.where(x > -jnp.inf, y, 1)


def plus_product(x: jax.Array, a: jax.Array, b: jax.Array) -> jax.Array:
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
