"""The largest eigenvalue of the Hessian, plain or preconditioned by Adam."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from optax_warmup import _check
from optax_warmup._state.moments import bias_correction, moments_of
from optax_warmup.curvature._critical import require_alike

_OWNER = "sharpness"


class Sharpness(NamedTuple):
    """What `sharpness` found.

    Attributes:
        value: the largest eigenvalue, float32, shape ().
        residual: |S v - value v| for the unit eigenvector v, relative to `value`: 0 if
            the iteration has converged. Shape ().
        vector: that eigenvector, a tree like the parameters. Pass it as `start` next
            time, and a few iterations are enough.

    Example:
        >>> import jax.numpy as jnp, optax_warmup as ow
        >>> loss = lambda p: 3 * p[0] ** 2 + p[1] ** 2
        >>> found = ow.curvature.sharpness(loss, jnp.ones(2), iterations=2)
        >>> round(found.value.item(), 4)
        6.0
    """

    value: jax.Array
    residual: jax.Array
    vector: Any


def sharpness(
    loss_fn: Callable[[Any], jax.Array],
    params: optax.Params,
    opt_state: optax.OptState | None = None,
    *,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
    iterations: int = 16,
    start: Any = None,
    seed: int = 0,
) -> Sharpness:
    """Returns the curvature that limits the learning rate.

    That is the largest eigenvalue of P^-1/2 H P^-1/2, where H is the Hessian of the
    loss. Without an optimizer's state P = 1. With the state of Adam after n updates
    P = (1 - b1**n) (sqrt(nu / (1 - b2**n)) + eps), by which Adam divides its first
    moment. Training is stable while the curvature stays below `stability_threshold`.

    P^-1 H has the same eigenvalues, but the symmetric form converges better. One
    iteration of Lanczos' method costs about three gradients, and each iteration keeps
    one copy of the parameters in memory. Call it now and then, outside of the training
    step; jit it together with its loss for repeated use.

    Args:
        loss_fn: maps parameters to a loss of shape (), on data of your choice.
        params: the point at which to measure, a tree of floating-point arrays.
        opt_state: the state of an optimizer that holds Adam's moments, in any nesting.
        b1, b2, eps: those of the optimizer; they are not in its state.
        iterations: of Lanczos' method, >= 1; at most the number of parameters is used.
        start: a tree like `params` to start from; None draws a random one.
        seed: of the random start.

    Returns:
        A `Sharpness`. `residual` tells how far it has converged.

    Raises:
        TypeError: an argument is not a number.
        ValueError: an argument is out of its range, or the state holds no Adam moments,
            or none for some parameter.

    Example:
        >>> import jax.numpy as jnp, optax, optax_warmup as ow
        >>> loss = lambda p: 3 * p[0] ** 2 + p[1] ** 2
        >>> params, optimizer = jnp.ones(2), optax.adam(1e-3)
        >>> _, state = optimizer.update(jax.grad(loss)(params), optimizer.init(params))
        >>> found = ow.curvature.sharpness(loss, params, state, iterations=2)
        >>> round(found.value.item(), 2)  # (6 / 6) / (1 - b1)
        10.0

    Source: D. Kalra and M. Barkeshli, "Why Warmup the Learning Rate? Underlying
    Mechanisms and Improvements", 2024, arXiv:2406.09405, section 4 (P); J. Cohen et
    al., "Adaptive Gradient Methods at the Edge of Stability", 2022, arXiv:2207.14484.
    """
    iterations = _check.count(_OWNER, "iterations", iterations, minimum=1)
    b1 = _check.scalar(_OWNER, "b1", b1, minimum=0, below=1)
    b2 = _check.scalar(_OWNER, "b2", b2, minimum=0, below=1)
    eps = _check.scalar(_OWNER, "eps", eps, minimum=0)
    _check.function(_OWNER, "loss_fn", loss_fn, "params")
    seed = _check.length(_OWNER, "seed", _check.one(_OWNER, "seed", seed, "a number"))
    require_alike(_OWNER, params, "start", params if start is None else start)
    scale = _inverse_root(params, opt_state, b1, b2, eps)
    if start is None:
        start = _random_like(params, jax.random.key(seed))
    gradient = jax.grad(loss_fn)

    def apply(vector: Any) -> Any:
        vector = jax.tree.map(jnp.multiply, scale, vector)
        vector = jax.tree.map(lambda v, p: v.astype(p.dtype), vector, params)
        product = jax.jvp(gradient, (params,), (vector,))[1]
        return jax.tree.map(lambda s, x: s * x.astype(jnp.float32), scale, product)

    size = sum(x.size for x in jax.tree.leaves(params))
    return _lanczos(apply, start, min(iterations, size))


def _inverse_root(params: Any, opt_state: Any, b1: float, b2: float, eps: float) -> Any:
    """P^-1/2, a tree like the parameters, float32."""
    if opt_state is None:
        return jax.tree.map(lambda x: jnp.ones(x.shape, jnp.float32), params)
    adam = moments_of(opt_state, params, _OWNER)
    if any(nu is None for nu in adam.nu):
        raise ValueError(
            f"{_OWNER}: opt_state has no second moment for some parameters. Pass the "
            f"part of the parameters that Adam trains, and a loss of it."
        )
    first, second = jnp.float32(1), jnp.float32(1)
    if adam.count is not None:
        second = bias_correction(b2, adam.count)
        if any(mu is not None for mu in adam.mu):  # rmsprop does not average gradients
            first = bias_correction(b1, adam.count)

    def root(nu: Any) -> jax.Array:
        denominator = jnp.sqrt(nu.astype(jnp.float32) / second) + eps
        return jax.lax.rsqrt(first * denominator)

    return jax.tree.unflatten(jax.tree.structure(params), [root(v) for v in adam.nu])


def _lanczos(apply: Callable[[Any], Any], start: Any, iterations: int) -> Sharpness:
    """Lanczos' method, fully reorthogonalised twice, which undoes rounding."""
    basis = jax.tree.map(
        lambda x: jnp.zeros((iterations, *x.shape), jnp.float32), start
    )

    def step(carry: Any, index: jax.Array) -> tuple[Any, tuple[jax.Array, jax.Array]]:
        basis, vector, previous = carry
        basis = jax.tree.map(lambda b, v: b.at[index].set(v), basis, vector)
        product = apply(vector)
        alpha = _dot(vector, product)
        product = _without(basis, _without(basis, product))
        beta = jnp.sqrt(_dot(product, product))
        # In an invariant subspace only rounding noise is left; it counts as zero.
        alive = beta > 1e-6 * jnp.maximum(jnp.abs(alpha), previous)
        scale = jnp.where(alive, 1 / jnp.where(alive, beta, 1), 0)
        vector = jax.tree.map(lambda x: x * scale, product)
        beta = jnp.where(alive, beta, 0)
        return (basis, vector, jnp.abs(alpha)), (alpha, beta)

    length = jnp.sqrt(_dot(start, start))
    unit = jax.tree.map(lambda x: x.astype(jnp.float32) / length, start)
    (basis, _, _), (alphas, betas) = jax.lax.scan(
        step, (basis, unit, jnp.float32(0)), jnp.arange(iterations)
    )
    off = betas[:-1]
    small = jnp.diag(alphas) + jnp.diag(off, 1) + jnp.diag(off, -1)
    values, vectors = jnp.linalg.eigh(small)
    top = vectors[:, -1]
    vector = jax.tree.map(lambda b: jnp.tensordot(top, b, 1), basis)
    residual = jnp.abs(betas[-1] * top[-1] / values[-1])
    return Sharpness(values[-1], residual, vector)


def _dot(x: Any, y: Any) -> jax.Array:
    pairs = zip(*map(jax.tree.leaves, (x, y)), strict=True)
    return jnp.asarray(sum(jnp.vdot(a, b) for a, b in pairs))


def _without(basis: Any, vector: Any) -> Any:
    """What is left of a vector without its part in the span of a basis."""
    pairs = zip(*map(jax.tree.leaves, (basis, vector)), strict=True)
    overlaps = sum(jnp.tensordot(b, v, v.ndim) for b, v in pairs)
    return jax.tree.map(lambda v, b: v - jnp.tensordot(overlaps, b, 1), vector, basis)


def _random_like(params: Any, key: jax.Array) -> Any:
    leaves, structure = jax.tree.flatten(params)
    keys = jax.random.split(key, len(leaves))
    return jax.tree.unflatten(
        structure,
        [jax.random.normal(k, x.shape) for k, x in zip(keys, leaves, strict=True)],
    )
