"""Wrappers of Adam that start its second moment higher, or clip updates by it."""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from optax_warmup import _check
from optax_warmup._state.find import find
from optax_warmup._state.moments import moments_of, require_own_decays
from optax_warmup._transforms.arguments import require_optimizer


def init_second_moment_from_gradient(
    inner: optax.GradientTransformation,
) -> optax.GradientTransformationExtraArgs:
    """Lets Adam's second moment begin with the square of the first gradient (GI-Adam).

    nu_0 = g_1**2 instead of 0, and the correction nu / (1 - b2**n) is kept: nu_hat is
    then too large by that factor, and updates are sqrt(1 - b2**n) of what they would
    be. That is a warmup: the first update is sqrt(1 - b2) * sign(g), 0.03 of Adam's for
    b2 = 0.999 and 0.22 for 0.95, and all in all 0.61 / (1 - b2) updates are withheld.

    Wrap the transform that the gradient enters as it is meant, such as `scale_by_adam`
    behind a clipping of the norm, not the whole chain. Leave out what else warms up by
    b2 (`optax.radam`, `untuned_linear_warmup`): both would apply.

    Args:
        inner: a transform with Adam's moments in it: adam, adamw, nadam, yogi, lamb, or
            a chain or partition with `optax.scale_by_adam`.

    Returns:
        A transform whose state is that of `inner`, so checkpoints fit either way.

    Raises:
        TypeError: `inner` is not a gradient transformation.
        ValueError: at `init`, `inner` holds no moments of Adam's kind, or accumulates
            gradients.

    Example:
        >>> import jax.numpy as jnp, optax, optax_warmup as ow
        >>> adam = ow.init_second_moment_from_gradient(optax.scale_by_adam(b2=0.99))
        >>> gradient = jnp.array([3.0, -0.5])
        >>> updates, state = adam.update(gradient, adam.init(gradient))
        >>> [round(update, 4) for update in updates.tolist()]
        [0.1, -0.1]

    Source: D. S. Kalra and M. Barkeshli, "Why Warmup the Learning Rate? Underlying
    Mechanisms and Improvements", 2024, arXiv:2406.09405 (GI-Adam). The first training
    gradient takes the place of the extra one there.
    """
    owner = "init_second_moment_from_gradient"
    inner = require_optimizer(owner, inner)

    def init_fn(params: optax.Params) -> optax.OptState:
        return require_adam(owner, inner.init(params), params)

    def update_fn(
        updates: optax.Updates,
        state: optax.OptState,
        params: optax.Params | None = None,
        **extra: Any,
    ) -> tuple[optax.Updates, optax.OptState]:
        return inner.update(updates, _seeded(state, updates), params, **extra)

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)


def _seeded(state: optax.OptState, gradients: Any) -> optax.OptState:
    """The state with each nu that has seen no update set to the gradient's square."""

    def seeded(node: Any) -> Any:
        if not isinstance(node, optax.ScaleByAdamState):
            return node

        def leaf(nu: Any, gradient: Any) -> Any:
            if isinstance(nu, optax.MaskedNode):
                return nu
            square = jnp.square(jnp.abs(gradient)).astype(nu.dtype)
            return jnp.where(node.count == 0, square, nu)

        nu = jax.tree.map(
            leaf,
            node.nu,
            gradients,
            is_leaf=lambda x: isinstance(x, optax.MaskedNode),
        )
        return node._replace(nu=nu)

    return jax.tree.map(
        seeded, state, is_leaf=lambda node: isinstance(node, optax.ScaleByAdamState)
    )


class ClipUpdateRmsState(NamedTuple):
    """The state of `clip_update_rms`.

    Attributes:
        inner_state: the state of the wrapped transform, whole.
        rms: RMS of g / sqrt(nu_hat) in the last update for each parameter, in the order
            of `jax.tree.leaves(params)`, float32, shape (parameters,); 1 where nu_hat
            fits the gradients, 0 before the first update and for a parameter without
            moments.

    Example:
        >>> import jax.numpy as jnp, optax, optax_warmup as ow
        >>> adam = ow.clip_update_rms(optax.scale_by_adam())
        >>> adam.init({"w": jnp.ones((2, 2)), "b": jnp.ones(2)}).normalized_gradient_rms.tolist()
        [0.0, 0.0]
    """

    inner_state: optax.OptState
    normalized_gradient_rms: jax.Array


def clip_update_rms(
    inner: optax.GradientTransformation,
    *,
    threshold: float = 1.0,
    b2: float = 0.999,
    eps: float = 1e-8,
) -> optax.GradientTransformationExtraArgs:
    """Makes Adam's update smaller where its second moment lags behind (StableAdamW).

    updates = updates / max(1, normalized_gradient_rms / threshold), for each parameter, with
    normalized_gradient_rms = sqrt(mean(g**2 / max(nu_hat, eps**2))) and nu_hat of this update

    normalized_gradient_rms is 1 for gradients that stay alike, and never above 1 / sqrt(1 - b2): a jump
    of the gradients by a factor k gives k / sqrt(1 + (1 - b2) (k**2 - 1)). So a
    threshold belongs to a b2: 2.3 is far from the cap 31.6 of 0.999, but half of the
    cap 4.5 of 0.95. It answers jumps of the gradients; as normalized_gradient_rms begins at 1, it is no
    warmup.

    Wrap the transform that the gradient enters as it is meant, such as `scale_by_adam`
    behind a clipping of the norm. Around the whole of `optax.adamw` it makes the
    weight decay smaller too, as the paper does.

    Args:
        inner: a transform with Adam's moments in it, as for `init_second_moment_from_gradient`.
        threshold: the largest normalized_gradient_rms that is left alone, > 0 and < 1 / sqrt(1 - b2).
        b2: the wrapped Adam's own, in [0, 1).
        eps: a floor for sqrt(nu_hat), > 0.

    Returns:
        A transform with state `ClipUpdateRmsState`.

    Raises:
        TypeError: `inner` is not a gradient transformation, or a number is none.
        ValueError: a number is out of its range, or b2 is not the optimizer's own
            (where that can be found out); at `init`, `inner` holds no moments of Adam's
            kind, or accumulates gradients.

    Example:
        >>> import jax.numpy as jnp, optax, optax_warmup as ow
        >>> adam = ow.clip_update_rms(optax.scale_by_adam(b2=0.95), b2=0.95)
        >>> state = adam.init(jnp.ones(2))
        >>> for size in [1.0] * 100 + [10.0]:
        ...     updates, state = adam.update(jnp.full(2, size), state)
        >>> round(state.normalized_gradient_rms[0].item(), 2)
        4.09

    Source: M. Wortsman et al., "Stable and low-precision training for large-scale
    vision-language models", 2023, arXiv:2304.13013 (StableAdamW).
    """
    owner = "clip_update_rms"
    inner = require_optimizer(owner, inner)
    b2 = float(_check.number(owner, "b2", b2, minimum=0, below=1))
    eps = float(_check.number(owner, "eps", eps, above=0))
    threshold = float(
        _check.number(
            owner,
            "threshold",
            threshold,
            above=0,
            below=1 / math.sqrt(1 - b2),
            hint=f"for b2={b2:g} the RMS is never above {1 / math.sqrt(1 - b2):.3g}",
        )
    )
    require_own_decays(owner, inner, b2=b2)

    def init_fn(params: optax.Params) -> ClipUpdateRmsState:
        inner_state = require_adam(owner, inner.init(params), params)
        leaves = len(jax.tree.leaves(params))
        return ClipUpdateRmsState(inner_state, jnp.zeros(leaves, jnp.float32))

    def update_fn(
        updates: optax.Updates,
        state: ClipUpdateRmsState,
        params: optax.Params | None = None,
        **extra: Any,
    ) -> tuple[optax.Updates, ClipUpdateRmsState]:
        gradients = jax.tree.leaves(updates)
        updates, inner_state = inner.update(updates, state.inner_state, params, **extra)
        moments = moments_of(inner_state, updates, owner)
        correction = bias_correction(b2, moments.count)
        measured = [
            jnp.float32(0) if nu is None else _lag(gradient, nu / correction, eps)
            for gradient, nu in zip(gradients, moments.nu, strict=True)
        ]
        leaves, structure = jax.tree.flatten(updates)
        clipped = [
            update / jnp.maximum(1, rms / threshold).astype(update.dtype)
            for update, rms in zip(leaves, measured, strict=True)
        ]
        rms = jnp.stack(measured) if measured else state.normalized_gradient_rms
        return jax.tree.unflatten(structure, clipped), ClipUpdateRmsState(
            inner_state, rms
        )

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)


def _lag(gradient: jax.Array, nu_hat: jax.Array, eps: float) -> jax.Array:
    """RMS of g / sqrt(nu_hat): divided before it is squared, which could overflow."""
    scale = jnp.maximum(jnp.sqrt(jnp.real(nu_hat).astype(jnp.float32)), eps)
    ratio = jnp.abs(gradient).astype(jnp.float32) / scale
    return jnp.sqrt(mean(jnp.square(ratio)))


def mean(x: jax.Array) -> jax.Array:
    """The mean, 0 for an array without elements."""
    return jnp.sum(x) / max(x.size, 1)


def bias_correction(b2: float, count: Any) -> jax.Array:
    """1 - b2**count, for a count of at least 1."""
    logarithm = math.log(max(b2, 1e-38))
    return -jnp.expm1(jnp.maximum(count, 1).astype(jnp.float32) * logarithm)


def require_adam(owner: str, inner_state: Any, params: Any) -> Any:
    """`inner_state`, refused where the gradient does not go straight into an Adam."""
    moments = moments_of(inner_state, params, owner)
    without_mu = any(
        mu is None and nu is not None
        for mu, nu in zip(moments.mu, moments.nu, strict=True)
    )
    if without_mu or find(inner_state, _NOT_ADAMS):
        raise ValueError(
            f"{owner}: inner must keep Adam's own moments, as optax.scale_by_adam "
            "does; those of amsgrad, adabelief and rmsprop do not start and forget "
            "alike."
        )
    accumulating = find(inner_state, optax.MultiStepsState)
    if accumulating:
        raise ValueError(
            f"{owner}: inner must take every gradient at once, but it accumulates "
            f"them. Put {owner}(...) inside optax.MultiSteps instead."
        )
    return inner_state


# Amsgrad never forgets its largest nu, and adabelief's is no mean of squares.
_NOT_ADAMS = (optax.ScaleByAmsgradState, optax.ScaleByBeliefState)
