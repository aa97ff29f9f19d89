"""Shared by the wrappers that go right around Adam and use its second moment."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from optax_warmup._state.find import find
from optax_warmup._state.moments import moments_of

# Amsgrad never forgets its largest nu, and adabelief's is no mean of squares.
_NOT_ADAMS = (optax.ScaleByAmsgradState, optax.ScaleByBeliefState)


def require_adam(owner: str, inner_state: Any, params: Any) -> Any:
    """Returns `inner_state`, refused unless the gradient goes straight into an Adam."""
    moments = moments_of(inner_state, params, owner)
    without_mu = any(
        mu is None and nu is not None
        for mu, nu in zip(moments.mu, moments.nu, strict=True)
    )
    if without_mu or find(inner_state, _NOT_ADAMS):
        raise ValueError(
            f"{owner}: inner must keep Adam's own moments, as optax.scale_by_adam "
            "does; those of amsgrad, adabelief and rmsprop start and decay differently."
        )
    if find(inner_state, optax.MultiStepsState):
        raise ValueError(
            f"{owner}: inner must take every gradient at once, but it accumulates "
            f"them. Put {owner}(...) inside optax.MultiSteps instead."
        )
    return inner_state


def mean(x: jax.Array) -> jax.Array:
    """The mean, 0 for an array without elements."""
    return jnp.sum(x) / max(x.size, 1)


def magnitude(nu: jax.Array) -> jax.Array:
    """A second moment in float32 at least; optax keeps a complex one complex."""
    real = jnp.real(nu)
    return real.astype(jnp.promote_types(real.dtype, jnp.float32))
