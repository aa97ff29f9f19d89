"""A wrapper that restarts what it wraps when a condition holds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from optax_warmup._state import start
from optax_warmup._state.finite_start import require_finite_start
from optax_warmup._state.order import require_order
from optax_warmup._transforms.arguments import (
    chosen,
    require_optimizer,
    require_params,
    require_state,
    zeros,
)


class RestartIfState(NamedTuple):
    """The state of `restart_if`.

    Attributes:
        inner_state: the state of the wrapped transform.
        count: updates done, int32, shape ().
        restarts: restarts so far, int32, shape ().
        last_restart: the step of the last restart, int32, shape (); 0 before the
            first. So count - last_restart is the age of the wrapped transform.

    Example:
        >>> import jax.numpy as jnp, optax_warmup as ow
        >>> never = lambda state, **extra: False
        >>> optimizer = ow.restart_if(ow.scale_by_warmup(0.5), never)
        >>> optimizer.init(jnp.ones(3)).restarts.item()
        0
    """

    inner_state: optax.OptState
    count: jax.Array  # type: ignore[assignment]  # tuple.count, as optax has it
    restarts: jax.Array
    last_restart: jax.Array

    @property
    def gates_updates(self) -> bool:
        """That what is wrapped does not see every update, or begins anew."""
        return True

    @property
    def recorded(self) -> dict[str, jax.Array]:
        """Scalars for a diagnostic record."""
        return {"restarts": self.restarts}


def restart_if(
    inner: optax.GradientTransformation, condition: Callable[..., ArrayLike]
) -> optax.GradientTransformationExtraArgs:
    """Restarts the wrapped transform from `init` whenever a condition holds.

    Whatever is wrapped is reset: `scale_by_warmup(factor)` alone for another warmup,
    `optax.chain(optax.adamw(schedule), scale_by_warmup(factor))` for fresh moments and
    a fresh schedule as well. The update for which the condition holds is the first one
    with the fresh state.

        lambda state, **extra: state.count - state.last_restart >= 500  # periodic
        lambda state, *, resumed=False, **extra: resumed                # on demand

    To restart on a spike of the loss, use `restart_on_spike`.

    Args:
        inner: the transform to restart.
        condition: condition(state, **extra) with the `RestartIfState` before the update
            and the extra arguments of `update`; returns one bool, which may be traced.

    Returns:
        A transform with state `RestartIfState`.

    Raises:
        TypeError: `inner` is not a gradient transformation, or `condition` is not
            callable or does not return one bool.
        ValueError: at `update`, `params` is missing.

    Example:
        >>> import jax.numpy as jnp, optax, optax_warmup as ow
        >>> optimizer = ow.restart_if(
        ...     ow.scale_by_warmup(ow.warmup(1.0, 4)),
        ...     lambda state, *, resumed=False, **extra: resumed,
        ... )
        >>> params = jnp.ones(2)
        >>> state = optimizer.init(params)
        >>> for step in range(6):
        ...     updates, state = optimizer.update(
        ...         params, state, params, resumed=step == 3
        ...     )
        >>> state.inner_state.factor.item()
        0.5
        >>> state.restarts.item(), state.last_restart.item()
        (1, 3)

    Source: T. Huang et al., "SPAM: Spike-Aware Adam with Momentum Reset for Stable LLM
    Training", 2025, arXiv:2501.06842 (moments are reset, and warmed up again).
    """
    owner = "restart_if"
    inner = require_optimizer(owner, inner)
    if not callable(condition) or isinstance(condition, type):
        raise TypeError(
            f"{owner}: condition must be a function such as lambda state, **extra: "
            f"state.count == 500, got {condition!r}."
        )

    def init_fn(params: optax.Params) -> RestartIfState:
        inner_state = inner.init(params)
        require_order(owner, inner_state)
        require_finite_start(owner, inner, inner_state, params)
        return RestartIfState(inner_state, start.counts()[0], *zeros(2))

    def update_fn(
        updates: optax.Updates,
        state: RestartIfState,
        params: optax.Params | None = None,
        **extra: Any,
    ) -> tuple[optax.Updates, RestartIfState]:
        require_state(owner, state, RestartIfState)
        due = _one_bool(owner, condition(state, **extra))
        updates, fields = restarted(owner, inner, due, updates, state, params, extra)
        return updates, RestartIfState(**fields)

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)


def restarted(
    owner: str,
    inner: optax.GradientTransformationExtraArgs,
    due: jax.Array,
    updates: optax.Updates,
    state: Any,
    params: optax.Params | None,
    extra: dict[str, Any],
) -> tuple[optax.Updates, dict[str, Any]]:
    """The updates, and the fields of the state that both wrappers have."""
    require_params(owner, params)
    inner_state = chosen(due, inner.init(params), state.inner_state)
    updates, inner_state = inner.update(updates, inner_state, params, **extra)
    return updates, {
        "inner_state": inner_state,
        "count": optax.safe_increment(state.count),
        "restarts": jnp.where(
            due, optax.safe_increment(state.restarts), state.restarts
        ),
        "last_restart": jnp.where(due, state.count, state.last_restart),
    }


def _one_bool(owner: str, answer: ArrayLike) -> jax.Array:
    found = jnp.asarray(answer)
    if found.dtype != jnp.bool_ or found.shape != ():
        raise TypeError(
            f"{owner}: condition must return one bool, got {found.dtype} of shape "
            f"{found.shape}; compare, or reduce with jnp.any."
        )
    return found
