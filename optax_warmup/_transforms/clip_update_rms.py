"""A wrapper of Adam that shrinks updates for which its second moment is too small."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from optax_warmup import _check
from optax_warmup._state.moments import bias_correction, moments_of
from optax_warmup._state.probe import second_moment_decays
from optax_warmup._transforms.adam import magnitude, mean, require_adam
from optax_warmup._transforms.arguments import require_optimizer, require_state

_OWNER = "clip_update_rms"


class ClipUpdateRmsState(NamedTuple):
    """The state of `clip_update_rms`.

    Attributes:
        inner_state: the state of the wrapped transform.
        normalized_gradient_rms: RMS of g / sqrt(nu_hat) in the last update for each
            parameter, in the order of `jax.tree.leaves(params)`, float32, shape
            (parameters,). It is 1 where nu_hat fits the gradients, and 0 before the
            first update and for a parameter without moments.

    Example:
        >>> import jax.numpy as jnp, optax, optax_warmup as ow
        >>> adam = ow.clip_update_rms(optax.scale_by_adam())
        >>> state = adam.init({"w": jnp.ones((2, 2)), "b": jnp.ones(2)})
        >>> state.normalized_gradient_rms.tolist()
        [0.0, 0.0]
    """

    inner_state: optax.OptState
    normalized_gradient_rms: jax.Array


def clip_update_rms(
    inner: optax.GradientTransformation,
    *,
    threshold: float = 1.0,
    b2: float | None = None,
    eps: float = 1e-8,
) -> optax.GradientTransformationExtraArgs:
    """Shrinks Adam's update where its second moment lags behind (StableAdamW).

    For each parameter, with nu_hat of this update:

    updates = updates / max(1, normalized_gradient_rms / threshold)
    normalized_gradient_rms = sqrt(mean(g**2 / max(nu_hat, eps**2)))

    The RMS is 1 as long as gradients keep their size, and never above
    1 / sqrt(1 - b2): when gradients grow by a factor k, it becomes
    k / sqrt(1 + (1 - b2) (k**2 - 1)). So a threshold belongs to a b2: 2.3 is far below
    the maximum 31.6 for b2 = 0.999, but half of the maximum 4.5 for 0.95. It responds
    to jumps of the gradients and is no warmup, as the RMS is 1 from the first update.

    Wrap the transform that should see the gradient, such as `scale_by_adam` after
    clipping by norm. Around the whole of `optax.adamw` it shrinks the weight decay too,
    as the paper does. Inside `shard_map` the RMS is that of the part of the parameter
    that a device holds.

    Args:
        inner: a transform that holds Adam's moments, as for
            `init_second_moment_from_gradient`.
        threshold: the largest RMS that is left alone, > 0 and < 1 / sqrt(1 - b2).
        b2: the decay of the wrapped Adam, in [0, 1); None finds it by trying `inner`.
        eps: a lower bound for sqrt(nu_hat), > 0.

    Returns:
        A transform with state `ClipUpdateRmsState`.

    Raises:
        TypeError: `inner` is not a gradient transformation, or an argument is not a
            number.
        ValueError: an argument is out of its range, or b2 contradicts the optimizer's
            own; at `init`, if b2 is needed and cannot be found, or `inner` does not
            hold Adam's moments, or accumulates gradients.

    Example:
        >>> import jax.numpy as jnp, optax, optax_warmup as ow
        >>> adam = ow.clip_update_rms(optax.scale_by_adam(b2=0.95))
        >>> state = adam.init(jnp.ones(2))
        >>> for size in [1.0] * 100 + [10.0]:
        ...     updates, state = adam.update(jnp.full(2, size), state)
        >>> round(state.normalized_gradient_rms[0].item(), 2)
        4.09

    Source: M. Wortsman et al., "Stable and low-precision training for large-scale
    vision-language models", 2023, arXiv:2304.13013 (StableAdamW).
    """
    inner = require_optimizer(_OWNER, inner)
    if b2 is not None:
        b2 = _check.scalar(_OWNER, "b2", b2, minimum=0, below=1)
    eps = _check.scalar(_OWNER, "eps", eps, above=0)
    threshold = _check.scalar(_OWNER, "threshold", threshold, above=0)
    if b2 is not None:
        _require_below_the_maximum(threshold, b2)
    decays_for = second_moment_decays(_OWNER, inner, b2)

    def init_fn(params: optax.Params) -> ClipUpdateRmsState:
        inner_state = require_adam(_OWNER, inner.init(params), params)
        decays = decays_for(params)
        if any(decays):
            _require_below_the_maximum(threshold, max(decays))
        return ClipUpdateRmsState(inner_state, jnp.zeros(len(decays), jnp.float32))

    def update_fn(
        updates: optax.Updates,
        state: ClipUpdateRmsState,
        params: optax.Params | None = None,
        **extra: Any,
    ) -> tuple[optax.Updates, ClipUpdateRmsState]:
        require_state(_OWNER, state, ClipUpdateRmsState)
        gradients = jax.tree.leaves(updates)
        new_updates, inner_state = inner.update(
            updates, state.inner_state, params, **extra
        )
        moments = moments_of(inner_state, updates, _OWNER)
        assert moments.count is not None  # require_adam refused what does not count
        measured = [
            jnp.float32(0)
            if nu is None
            else normalized_gradient_rms(
                gradient, magnitude(nu) / bias_correction(decay, moments.count), eps
            )
            for gradient, nu, decay in zip(
                gradients, moments.nu, decays_for(updates), strict=True
            )
        ]
        leaves, structure = jax.tree.flatten(new_updates)
        clipped = [
            _shrunk(update, rms / threshold)
            for update, rms in zip(leaves, measured, strict=True)
        ]
        rms = jnp.stack(measured) if measured else state.normalized_gradient_rms
        return (
            jax.tree.unflatten(structure, clipped),
            ClipUpdateRmsState(inner_state, rms.astype(jnp.float32)),
        )

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)


def normalized_gradient_rms(
    gradient: jax.Array, nu_hat: jax.Array, eps: float
) -> jax.Array:
    """RMS of g / sqrt(nu_hat): divided before it is squared, which could overflow."""
    scale = jnp.maximum(jnp.sqrt(nu_hat), eps)
    ratio = jnp.abs(gradient).astype(scale.dtype) / scale
    return jnp.sqrt(mean(jnp.square(ratio)))


def _shrunk(update: jax.Array, ratio: jax.Array) -> jax.Array:
    return update / jnp.maximum(1, ratio).astype(update.dtype)


def _require_below_the_maximum(threshold: float, b2: float) -> None:
    """Refuses a threshold that no RMS can exceed."""
    maximum = 1 / math.sqrt(1 - b2)
    hint = f"for b2={b2:g} the RMS is never above {maximum:.3g}"
    _check.number(_OWNER, "threshold", threshold, above=0, below=maximum, hint=hint)
