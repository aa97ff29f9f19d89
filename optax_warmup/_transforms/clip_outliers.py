"""A guard of Adam against single gradients that are finite but huge."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import optax

from optax_warmup import _check
from optax_warmup._state.moments import moments_of, require_own_decays
from optax_warmup._transforms.arguments import require_optimizer
from optax_warmup._transforms.second_moment import (
    bias_correction,
    mean,
    require_adam,
)


def clip_outliers(
    inner: optax.GradientTransformation, *, theta: float = 5000.0, b2: float = 0.999
) -> optax.GradientTransformationExtraArgs:
    """Clips each coordinate of the gradient by what Adam's second moment knows of it.

    |g| <= sqrt(theta * max(nu_hat, mean(nu_hat))), with nu_hat before this update and
    its mean over the parameter

    Adam divides by the root of a mean that forgets by b2: after one gradient 1e9 times
    the usual, a coordinate stands still for 33,000 updates at b2 = 0.999, and after one
    of 1e20, whose square overflows, for ever. Clipped, its updates are back at half of
    their size or more within

        log(1 + theta * (1 - b2) * r**2 / 3) / (1 - b2)  updates,

    where r >= 1 is the parameter's RMS of sqrt(nu_hat) over the coordinate's own: 981
    for b2 = 0.999, 287 for 0.99, 89 for 0.95 and r = 1, however large the gradient.

    The mean is there for coordinates that are seldom seen, as rows of an embedding:
    their nu is 0 or has faded, and a bound by it alone would keep them out. And since
    the bound grows with what it lets through, gradients that become larger for good
    are held back for a few updates only. In the first update nothing is known: every
    gradient passes, up to half the root of the largest number of nu's type (9e18 for
    float32), so that nu stays finite.

    Wrap the transform that the gradient enters as it is meant, such as `scale_by_adam`
    behind a clipping of the norm.

    Args:
        inner: a transform with Adam's moments in it, as for `init_second_moment_from_gradient`.
        theta: the largest g**2 / nu_hat, >= 1; 5000 is 71 times the usual gradient.
        b2: the wrapped Adam's own, in [0, 1).

    Returns:
        A transform whose state is that of `inner`, so checkpoints fit either way. An
        infinite gradient is clipped as any other is, NaN stays NaN: for these there is
        `skip_nonfinite`.

    Raises:
        TypeError: `inner` is not a gradient transformation, or a number is none.
        ValueError: a number is out of its range, or b2 is not the optimizer's own
            (where that can be found out); at `init`, `inner` holds no moments of Adam's
            kind, or accumulates gradients.

    Example:
        >>> import jax.numpy as jnp, optax, optax_warmup as ow
        >>> adam = ow.clip_outliers(optax.scale_by_adam(b2=0.95), b2=0.95)
        >>> state = adam.init(jnp.ones(2))
        >>> for gradient in [jnp.ones(2), jnp.array([1.0, 3e38])]:
        ...     _, state = adam.update(gradient, state)
        >>> state.nu[1].item() < 300
        True

    Source: T. Huang et al., "SPAM: Spike-Aware Adam with Momentum Reset for Stable LLM
    Training", 2025, arXiv:2501.06842 (the bound by nu, and theta); the mean and the
    first updates are this library's.
    """
    owner = "clip_outliers"
    inner = require_optimizer(owner, inner)
    theta = float(_check.number(owner, "theta", theta, minimum=1))
    b2 = float(_check.number(owner, "b2", b2, minimum=0, below=1))
    require_own_decays(owner, inner, b2=b2)

    def init_fn(params: optax.Params) -> optax.OptState:
        return require_adam(owner, inner.init(params), params)

    def update_fn(
        updates: optax.Updates,
        state: optax.OptState,
        params: optax.Params | None = None,
        **extra: Any,
    ) -> tuple[optax.Updates, optax.OptState]:
        moments = moments_of(state, updates, owner)
        scale = theta / bias_correction(b2, moments.count)
        leaves, structure = jax.tree.flatten(updates)
        clipped = [
            gradient if nu is None else _clipped(gradient, nu, scale)
            for gradient, nu in zip(leaves, moments.nu, strict=True)
        ]
        updates = jax.tree.unflatten(structure, clipped)
        return inner.update(updates, state, params, **extra)

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)


def _clipped(gradient: jax.Array, nu: jax.Array, scale: jax.Array) -> jax.Array:
    wide = jnp.real(nu).astype(jnp.float32)  # optax keeps that of complex ones complex
    usual = mean(wide)
    most = math.sqrt(float(jnp.finfo(nu.dtype).max)) / 2
    # The roots apart: theta times nu could overflow.
    limit = jnp.sqrt(scale) * jnp.sqrt(jnp.maximum(wide, usual))
    limit = jnp.where(usual > 0, jnp.minimum(limit, most), most)
    if jnp.iscomplexobj(gradient):
        shrink = jnp.minimum(1, limit / jnp.maximum(jnp.abs(gradient), limit))
        return gradient * shrink.astype(gradient.dtype)
    limit = limit.astype(gradient.dtype)
    return jnp.clip(gradient, -limit, limit)
