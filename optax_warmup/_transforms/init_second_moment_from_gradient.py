"""A wrapper that starts Adam's second moment at the first squared gradient."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from optax_warmup._transforms.adam import require_adam
from optax_warmup._transforms.arguments import require_optimizer

_OWNER = "init_second_moment_from_gradient"


def init_second_moment_from_gradient(
    inner: optax.GradientTransformation,
) -> optax.GradientTransformationExtraArgs:
    """Initializes Adam's second moment with the square of the first gradient (GI-Adam).

    nu_0 = g_1**2 instead of 0

    The bias correction nu / (1 - b2**n) is kept, so nu_hat is too large by
    1 / (1 - b2**n), and updates are sqrt(1 - b2**n) of what they would be. That is a
    warmup: the first update is sqrt(1 - b2) * sign(g), or 0.03 of Adam's for b2 = 0.999
    and 0.22 for 0.95. In total it holds back 0.61 / (1 - b2) updates.

    Wrap the transform that should see the gradient, such as `scale_by_adam` after
    clipping by norm, and not the whole chain. Do not combine it with other warmups that
    are derived from b2 (`optax.radam`, `factors.untuned_linear`): both would apply.

    Args:
        inner: a transform that holds Adam's moments: adam, adamw, nadam, yogi, lamb, or
            a chain or partition with `optax.scale_by_adam`.

    Returns:
        A transform whose state is that of `inner`, so checkpoints of either can be
        restored into the other.

    Raises:
        TypeError: `inner` is not a gradient transformation.
        ValueError: at `init`, if `inner` does not hold Adam's moments, or accumulates
            gradients.

    Example:
        >>> import jax.numpy as jnp, optax, optax_warmup as ow
        >>> adam = ow.init_second_moment_from_gradient(optax.scale_by_adam(b2=0.99))
        >>> gradient = jnp.array([3.0, -0.5])
        >>> updates, state = adam.update(gradient, adam.init(gradient))
        >>> [round(update, 4) for update in updates.tolist()]
        [0.1, -0.1]

    Source: D. S. Kalra and M. Barkeshli, "Why Warmup the Learning Rate? Underlying
    Mechanisms and Improvements", 2024, arXiv:2406.09405 (GI-Adam). Here the first
    training gradient takes the place of their extra one.
    """
    inner = require_optimizer(_OWNER, inner)

    def init_fn(params: optax.Params) -> optax.OptState:
        return require_adam(_OWNER, inner.init(params), params)

    def update_fn(
        updates: optax.Updates,
        state: optax.OptState,
        params: optax.Params | None = None,
        **extra: Any,
    ) -> tuple[optax.Updates, optax.OptState]:
        started = _started(state, updates)
        new_updates, new_state = inner.update(updates, started, params, **extra)
        return new_updates, new_state

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)


def _started(state: optax.OptState, gradients: Any) -> optax.OptState:
    """The state, with every nu that no gradient has entered set to its square."""

    def start(node: Any) -> Any:
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
        start, state, is_leaf=lambda node: isinstance(node, optax.ScaleByAdamState)
    )
