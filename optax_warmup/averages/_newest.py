"""An update of the wrapped optimizer, and the parameters that it makes."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from optax_warmup._numerics import is_narrow
from optax_warmup._state.order import require_order
from optax_warmup._transforms.arguments import require_params


class Newest(NamedTuple):
    """What an update has made.

    Attributes:
        updates, inner_state: of the wrapped optimizer.
        count: completed updates, this one among them.
        params: the parameters with the updates applied.
    """

    updates: optax.Updates
    inner_state: optax.OptState
    count: jax.Array  # type: ignore[assignment]  # tuple.count, as optax has it
    params: optax.Params

    @classmethod
    def after(
        cls,
        owner: str,
        inner: optax.GradientTransformationExtraArgs,
        updates: optax.Updates,
        state: Any,
        params: optax.Params | None,
        extra: dict[str, Any],
    ) -> "Newest":
        """Updates; `state` has a `count` and the `inner_state`."""
        require_params(owner, params)
        updates, inner_state = inner.update(updates, state.inner_state, params, **extra)
        count = optax.safe_increment(state.count)
        return cls(updates, inner_state, count, optax.apply_updates(params, updates))


def init_inner(
    owner: str, inner: optax.GradientTransformation, params: optax.Params
) -> optax.OptState:
    """The state of the wrapped optimizer, which must be composed rightly."""
    inner_state = inner.init(params)
    require_order(owner, inner_state)
    return inner_state


def widened(param: Any) -> jax.Array:
    """A copy of a parameter that a small change does not get lost in."""
    param = jnp.asarray(param)
    dtype = jnp.float32 if is_narrow(param.dtype) else param.dtype
    # A buffer of its own: a donated state must not share one with the parameters.
    return jnp.array(param, dtype, copy=True)
