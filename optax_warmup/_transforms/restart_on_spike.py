"""A wrapper that restarts what it wraps when the loss jumps up."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from optax_warmup import _check
from optax_warmup._state import start
from optax_warmup._state.finite_start import require_finite_start
from optax_warmup._state.order import require_order
from optax_warmup._transforms.arguments import (
    chosen,
    require_optimizer,
    require_state,
    require_value,
    zeros,
)
from optax_warmup._transforms.restart_if import restarted


class RestartOnSpikeState(NamedTuple):
    """The state of `restart_on_spike`.

    Attributes:
        inner_state: the state of the wrapped transform.
        count: updates done, int32, shape ().
        restarts: restarts so far, int32, shape ().
        last_restart: the step of the last restart, int32, shape (); 0 before the
            first.
        mean: moving average of the loss, float32, shape ().
        variance: moving variance of the loss, float32, shape ().
        samples: losses in them, since the last restart, int32, shape ().

    Example:
        >>> import jax.numpy as jnp, optax_warmup as ow
        >>> optimizer = ow.restart_on_spike(ow.scale_by_warmup(0.5))
        >>> optimizer.init(jnp.ones(3)).samples.item()
        0
    """

    inner_state: optax.OptState
    count: jax.Array  # type: ignore[assignment]  # tuple.count, as optax has it
    restarts: jax.Array
    last_restart: jax.Array
    mean: jax.Array
    variance: jax.Array
    samples: jax.Array

    @property
    def gates_updates(self) -> bool:
        """That what is wrapped does not see every update, or begins anew."""
        return True

    @property
    def recorded(self) -> dict[str, jax.Array]:
        """Scalars for a diagnostic record."""
        return {"restarts": self.restarts}


def restart_on_spike(
    inner: optax.GradientTransformation, *, threshold: float = 6.0, decay: float = 0.99
) -> optax.GradientTransformationExtraArgs:
    """Restarts the wrapped transform from `init` when the loss jumps up.

    A spike is a loss above mean + threshold * sqrt(variance), with the moving mean and
    variance of the losses before it. The first 1 / (1 - decay) losses have equal
    weight, and none of them is a spike.

    Whatever is wrapped is reset, as with `restart_if`. A spike does not enter the mean,
    and the statistics are reset after it: a loss that stays high is the new normal, and
    there is at most one restart in 1 / (1 - decay) updates. Only differences of losses
    matter, so they may be negative. A loss that is NaN or infinite is ignored.

    Args:
        inner: the transform to restart.
        threshold: in standard deviations, > 0.
        decay: of the mean and the variance, 0 <= decay < 1; 0.99 remembers 100 losses.

    Returns:
        A transform with state `RestartOnSpikeState`, whose update takes `value=loss`:
        one number, the same in all processes. Losses beyond 1e18 count as 1e18.

    Raises:
        TypeError: `inner` is not a gradient transformation, or an argument is not a
            number.
        ValueError: an argument is out of its range; at `update`, `params` or `value` is
            missing, or `value` is not one number.

    Example:
        >>> import jax.numpy as jnp, optax, optax_warmup as ow
        >>> factor = ow.scale_by_warmup(ow.warmup(1.0, 50))
        >>> optimizer = ow.restart_on_spike(factor, decay=0.9)
        >>> params = jnp.ones(2)
        >>> state = optimizer.init(params)
        >>> for loss in [-1.0, -1.1] * 30 + [5.0, -1.1]:
        ...     updates, state = optimizer.update(params, state, params, value=loss)
        >>> state.last_restart.item(), round(state.inner_state.factor.item(), 2)
        (60, 0.02)
    """
    owner = "restart_on_spike"
    inner = require_optimizer(owner, inner)
    threshold = _check.scalar(owner, "threshold", threshold, above=0)
    decay = _check.scalar(owner, "decay", decay, minimum=0, below=1)
    memory = math.ceil(1 / (1 - decay) - 1e-6)

    def init_fn(params: optax.Params) -> RestartOnSpikeState:
        statistics = *zeros(2, jnp.float32), *zeros(1)
        inner_state = inner.init(params)
        require_order(owner, inner_state)
        require_finite_start(owner, inner, inner_state, params)
        count, _ = start.counts()
        return RestartOnSpikeState(inner_state, count, *zeros(2), *statistics)

    def update_fn(
        updates: optax.Updates,
        state: RestartOnSpikeState,
        params: optax.Params | None = None,
        *,
        value: ArrayLike | None = None,
        **extra: Any,
    ) -> tuple[optax.Updates, RestartOnSpikeState]:
        require_state(owner, state, RestartOnSpikeState)
        loss, finite = require_value(owner, value)
        above = loss - state.mean
        # What is left of a constant loss is its rounding.
        noise = threshold * jnp.sqrt(state.variance) + 1e-6 * jnp.abs(state.mean)
        spike = finite & (state.samples >= memory) & (above > noise)
        extra["value"] = value
        updates, fields = restarted(owner, inner, spike, updates, state, params, extra)
        weight = jnp.maximum(1 - decay, 1 / (state.samples.astype(jnp.float32) + 1))
        learnt = {
            "mean": state.mean + weight * above,
            "variance": (1 - weight) * (state.variance + weight * jnp.square(above)),
            "samples": optax.safe_increment(state.samples),
        }
        old = {name: getattr(state, name) for name in learnt}
        fresh = jax.tree.map(jnp.zeros_like, old)
        fields |= chosen(spike, fresh, chosen(finite, learnt, old))
        return updates, RestartOnSpikeState(**fields)

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)
