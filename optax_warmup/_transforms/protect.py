"""An optimizer that no single gradient can ruin, whatever its dtype."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from optax_warmup import _check
from optax_warmup._numerics import is_narrow
from optax_warmup._transforms.arguments import require_optimizer
from optax_warmup._transforms.skip_nonfinite import skip_nonfinite

_OWNER = "protect"


def protect(
    inner: optax.GradientTransformation | optax.MultiSteps, *, max_norm: float = 1.0
) -> optax.GradientTransformationExtraArgs:
    """Protects an optimizer from every gradient that would ruin or freeze it.

    skip_nonfinite(float32(optax.chain(optax.clip_by_global_norm(max_norm), inner)))

    It takes all three. Clipping alone passes NaN and infinity on. Skipping alone lets a
    finite gradient of 1e10 into Adam's second moment, which then holds that coordinate
    for tens of thousands of updates. And in 16 bits the square of a usual gradient
    overflows or vanishes, and eps is 0: so `inner` sees parameters and gradients of
    fewer than 32 bits as float32, keeps its moments so, and its updates are rounded to
    the parameters' dtypes when they leave.

    With gradient accumulation put it outside, protect(optax.MultiSteps(...)); each
    gradient of a sum is then clipped, and a bad one left out.

    Args:
        inner: the whole optimizer, for instance `automatic_warmup(optax.adamw(1e-3))`.
        max_norm: what the gradient's global norm is clipped at, > 0.

    Returns:
        A transform with state `SkipNonfiniteState`. Its `inner_state` is that of the
        chain, with the state of `inner` second.

    Raises:
        TypeError: `inner` is not a gradient transformation, or `max_norm` not a number.
        ValueError: `max_norm` is not positive and finite.

    Example:
        >>> import jax.numpy as jnp, optax, optax_warmup as ow
        >>> optimizer = ow.guards.protect(optax.adam(0.1))
        >>> params = jnp.ones(2, jnp.float16)
        >>> state = optimizer.init(params)
        >>> for bad in (jnp.nan, jnp.inf, 6e4, 0.0):
        ...     gradient = jnp.array([0.1, bad], jnp.float16)
        ...     updates, state = optimizer.update(gradient, state, params)
        >>> bool(jnp.isfinite(updates).all()), state.skipped.item()
        (True, 2)
    """
    inner = require_optimizer(_OWNER, inner)
    max_norm = _check.scalar(_OWNER, "max_norm", max_norm, above=0)
    return skip_nonfinite(
        _in_float32(optax.chain(optax.clip_by_global_norm(max_norm), inner))
    )


def _in_float32(
    inner: optax.GradientTransformationExtraArgs,
) -> optax.GradientTransformationExtraArgs:
    """Lets an optimizer compute in float32 for arrays of fewer bits."""

    def init_fn(params: optax.Params) -> optax.OptState:
        return inner.init(_widened(params))

    def update_fn(
        updates: optax.Updates,
        state: optax.OptState,
        params: optax.Params | None = None,
        **extra: Any,
    ) -> tuple[optax.Updates, optax.OptState]:
        wide = None if params is None else _widened(params)
        new, state = inner.update(_widened(updates), state, wide, **extra)
        like = updates if params is None else params
        return jax.tree.map(_as_narrow_as, new, like), state

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)


def _widened(tree: Any) -> Any:
    def widened(leaf: Any) -> Any:
        return leaf.astype(jnp.float32) if is_narrow(jnp.result_type(leaf)) else leaf

    return jax.tree.map(widened, tree)


def _as_narrow_as(update: Any, like: Any) -> Any:
    dtype = jnp.result_type(like)
    return update.astype(dtype) if is_narrow(dtype) else update
