"""Refuses optimizers that a first rate of 0 turns to NaN."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from optax_warmup._state.find import find
from optax_warmup._state.trial import tried

# They divide by their own estimate of the rate, which stays 0 with it.
_DIVIDING = (optax.contrib.ProdigyState, optax.contrib.DAdaptAdamWState)


def require_finite_start(
    owner: str,
    inner: optax.GradientTransformationExtraArgs,
    opt_state: Any,
    params: Any,
) -> None:
    """Refuses prodigy and D-Adaptation with a warmup from 0.

    Raises:
        ValueError: in the owner's name: trying the optimizer gives NaN.
    """
    if not find(opt_state, _DIVIDING):
        return
    try:
        _, steps = tried(inner, params, owner, coordinates=4)
        leaves = jax.tree.leaves((steps[-1].updates, steps[-1].after))
        finite = all(bool(jnp.all(jnp.isfinite(leaf))) for leaf in leaves)
    except Exception:  # it cannot be tried: made for other parameters, or traced
        return
    if not finite:
        raise ValueError(
            f"{owner}: inner gives NaN in its first updates. optax.contrib.prodigy and "
            "dadapt_adamw do so where the learning rate begins at 0. Build their "
            "warmup with offset=1, as in warmup(1.0, steps, offset=1)."
        )
