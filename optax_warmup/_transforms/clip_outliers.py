"""A guard of Adam against single gradients that are finite but huge."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from optax_warmup import _check
from optax_warmup._state.moments import bias_correction, moments_of
from optax_warmup._state.probe import second_moment_decays
from optax_warmup._transforms.adam import magnitude, mean, require_adam
from optax_warmup._transforms.arguments import require_optimizer

_OWNER = "clip_outliers"


def clip_outliers(
    inner: optax.GradientTransformation,
    *,
    theta: float = 5000.0,
    b2: float | None = None,
) -> optax.GradientTransformationExtraArgs:
    """Clips each coordinate of the gradient at a multiple of Adam's second moment.

    |g| <= sqrt(theta * max(nu_hat, mean(nu_hat)))

    with nu_hat before this update, and its mean over the parameter.

    Adam divides by the root of a moving average of squares. After one gradient 1e9
    times the usual, a coordinate stands still for 33,000 updates at b2 = 0.999; after
    one of 1e20, whose square overflows, it stands still for good. With clipping, its
    updates are back at half of their size or more within

        log(1 + theta * (1 - b2) * r**2 / 3) / (1 - b2)  updates,

    where r >= 1 is the parameter's RMS of sqrt(nu_hat) over the coordinate's own: 981
    for b2 = 0.999, 287 for 0.99, 89 for 0.95 and r = 1, however large the gradient.

    The mean serves coordinates with rare gradients, such as rows of an embedding: their
    nu is 0 or has decayed, and a bound by it alone would block them. Since each clipped
    gradient raises the bound, gradients that grow for good are held back for a few
    updates only. Before the first update nu is unknown, and gradients are clipped at
    half the root of the largest number of nu's dtype (9e18 for float32), so that nu
    stays finite.

    Wrap the transform that should see the gradient, such as `scale_by_adam` after
    clipping by norm. Inside `shard_map` the mean is that of the part of the parameter
    that a device holds. Integer gradients are left alone.

    Args:
        inner: a transform that holds Adam's moments, as for
            `init_second_moment_from_gradient`.
        theta: the largest g**2 / nu_hat, >= 1; 5000 is 71 times the usual gradient.
        b2: the decay of the wrapped Adam, in [0, 1); None finds it by trying `inner`.

    Returns:
        A transform whose state is that of `inner`, so checkpoints of either can be
        restored into the other. An infinite gradient is clipped; NaN passes through,
        use `skip_nonfinite` for both.

    Raises:
        TypeError: `inner` is not a gradient transformation, or an argument is not a
            number.
        ValueError: an argument is out of its range, or b2 contradicts the optimizer's
            own; at `init`, if b2 is needed and cannot be found, or `inner` does not
            hold Adam's moments, or accumulates gradients.

    Example:
        >>> import jax.numpy as jnp, optax, optax_warmup as ow
        >>> adam = ow.clip_outliers(optax.scale_by_adam(b2=0.95))
        >>> state = adam.init(jnp.ones(2))
        >>> for gradient in [jnp.ones(2), jnp.array([1.0, 3e38])]:
        ...     _, state = adam.update(gradient, state)
        >>> state.nu[1].item() < 300
        True

    Source: T. Huang et al., "SPAM: Spike-Aware Adam with Momentum Reset for Stable LLM
    Training", 2025, arXiv:2501.06842 (the bound by nu, and theta). The mean and the
    bound before the first update are this library's.
    """
    inner = require_optimizer(_OWNER, inner)
    theta = _check.scalar(_OWNER, "theta", theta, minimum=1)
    if b2 is not None:
        b2 = _check.scalar(_OWNER, "b2", b2, minimum=0, below=1)
    decays_for = second_moment_decays(_OWNER, inner, b2)

    def init_fn(params: optax.Params) -> optax.OptState:
        inner_state = require_adam(_OWNER, inner.init(params), params)
        decays_for(params)
        return inner_state

    def update_fn(
        updates: optax.Updates,
        state: optax.OptState,
        params: optax.Params | None = None,
        **extra: Any,
    ) -> tuple[optax.Updates, optax.OptState]:
        moments = moments_of(state, updates, _OWNER)
        assert moments.count is not None  # require_adam refused what does not count
        leaves, structure = jax.tree.flatten(updates)
        clipped = [
            gradient
            if nu is None
            else clipped_gradient(
                gradient, nu, theta / bias_correction(decay, moments.count)
            )
            for gradient, nu, decay in zip(
                leaves, moments.nu, decays_for(updates), strict=True
            )
        ]
        new_updates, new_state = inner.update(
            jax.tree.unflatten(structure, clipped), state, params, **extra
        )
        return new_updates, new_state

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)


def clipped_gradient(gradient: ArrayLike, nu: jax.Array, scale: jax.Array) -> jax.Array:
    """A gradient with |g| <= sqrt(scale * max(nu, mean(nu))), complex ones by size."""
    g: jax.Array = jnp.asarray(gradient)
    if not all(jnp.issubdtype(x.dtype, jnp.inexact) for x in (g, nu)):
        return g  # integers are no parameters to train, though optax.adam takes them
    size = magnitude(nu)
    usual = mean(size)
    # Optax squares a gradient in the gradient's own type.
    most = math.sqrt(min(_largest(nu.dtype), _largest(g.dtype))) / 2
    # The roots apart: theta times nu could overflow.
    limit = jnp.sqrt(scale) * jnp.sqrt(jnp.maximum(size, usual))
    limit = jnp.where(usual > 0, jnp.minimum(limit, most), most)
    if jnp.iscomplexobj(g):
        shrink = jnp.minimum(1, limit / jnp.maximum(jnp.abs(g), limit))
        return g * shrink.astype(g.dtype)
    limit = limit.astype(g.dtype)
    return jnp.clip(g, -limit, limit)


def _largest(dtype: Any) -> float:
    """The largest number of a floating-point type."""
    return float(jnp.finfo(dtype).max)  # type: ignore[no-untyped-call]
