"""A guard that skips updates where the loss or the gradient jumps up."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from optax_warmup import _check
from optax_warmup._state.order import require_order
from optax_warmup._transforms.arguments import (
    chosen,
    one_loss,
    require_optimizer,
    require_state,
    zeros,
)
from optax_warmup._transforms.made_if import made_if
from optax_warmup._transforms.recent import Recent, norm

_OWNER = "skip_spikes"


class SkipSpikesState(NamedTuple):
    """The state of `skip_spikes`.

    Attributes:
        inner_state: the state of the wrapped optimizer.
        losses: the last losses that were no spikes, float32, shape (window,), NaN where
            there is none yet.
        loss_count: how many of them there were, int32, shape ().
        gradient_norms: the same for the norm of the gradient.
        gradient_norm_count: the same for the norm of the gradient.
        gradient_norm: that of the last gradient, float32, shape ().
        skipped: steps skipped so far, int32, shape ().
        skipped_in_a_row: steps skipped since the last one that was not, int32, shape
            ().

    Example:
        >>> import jax.numpy as jnp, optax, optax_warmup as ow
        >>> ow.guards.skip_spikes(optax.adam(1e-3)).init(jnp.ones(3)).skipped.item()
        0
    """

    inner_state: optax.OptState
    losses: jax.Array
    loss_count: jax.Array
    gradient_norms: jax.Array
    gradient_norm_count: jax.Array
    gradient_norm: jax.Array
    skipped: jax.Array
    skipped_in_a_row: jax.Array

    @property
    def gates_updates(self) -> bool:
        """That what is wrapped does not see every update, or begins anew."""
        return True

    @property
    def watched(self) -> optax.OptState:
        """The part that training depends on; the rest may be NaN."""
        return self.inner_state

    @property
    def recorded(self) -> dict[str, jax.Array]:
        """Scalars for a diagnostic record."""
        return {
            "skipped_spikes": self.skipped,
            "incoming_gradient_norm": self.gradient_norm,
        }


def skip_spikes(
    inner: optax.GradientTransformation | optax.MultiSteps,
    *,
    window: int = 128,
    threshold: float = 6.0,
    max_skips: int = 10,
) -> optax.GradientTransformationExtraArgs:
    """Skips every step whose loss or gradient norm jumps up, as if it never happened.

    A spike is a value above

        median + threshold * max(1.4826 * MAD, 0.01 * |median|)

    of the last `window` that were none, MAD being their median absolute deviation; or
    one that is not finite. The norm of the gradient is always looked at, the loss where
    `update` is given `value=loss`. A skipped step gives updates of zero and leaves the
    whole state of `inner` as it was.

    As long as there are fewer than window / 4 values none is too high, so nothing is
    skipped at the beginning. After `max_skips` spikes in a row the statistics begin
    anew: what stays high is the new normal, and training goes on. Only what is not
    finite is skipped without an end.

    Around `optax.MultiSteps` it looks at each gradient of a sum and leaves out the bad
    ones; inside, at the mean, and at the loss given with the last of them.

    Args:
        inner: the whole optimizer to protect. Clipping belongs into it: then the norm
            is that of before.
        window: values that a new one is compared with, >= 8.
        threshold: in standard deviations, > 0.
        max_skips: spikes in a row after which the statistics begin anew, >= 1.

    Returns:
        A transform with state `SkipSpikesState`.

    Raises:
        TypeError: `inner` is not a gradient transformation, or an argument is not a
            number.
        ValueError: an argument is out of its range; at `update`, `value` is not one
            number.

    Example:
        >>> import jax.numpy as jnp, optax, optax_warmup as ow
        >>> optimizer = ow.guards.skip_spikes(optax.sgd(0.1), window=8)
        >>> params = jnp.ones(2)
        >>> state = optimizer.init(params)
        >>> for size in [1.0, 1.1, 0.9, 1.0, 30.0, 1.0]:
        ...     updates, state = optimizer.update(size * params, state, params)
        >>> state.skipped.item(), state.skipped_in_a_row.item()
        (1, 0)

    Source: Team OLMo, "2 OLMo 2 Furious", 2025, arXiv:2501.00656 (skipping by standard
    deviations of the last 128 steps). Median and MAD, which spikes do not move, are
    this library's.
    """
    inner = require_optimizer(_OWNER, inner)
    window = _check.count(_OWNER, "window", window, minimum=8)
    threshold = _check.scalar(_OWNER, "threshold", threshold, above=0)
    max_skips = _check.count(_OWNER, "max_skips", max_skips, minimum=1)

    def init_fn(params: optax.Params) -> SkipSpikesState:
        inner_state = inner.init(params)
        require_order(_OWNER, inner_state)
        losses, norms = Recent.empty(window), Recent.empty(window)
        first_norm = jnp.zeros((), jnp.float32)
        return SkipSpikesState(inner_state, *losses, *norms, first_norm, *zeros(2))

    def update_fn(
        updates: optax.Updates,
        state: SkipSpikesState,
        params: optax.Params | None = None,
        *,
        value: ArrayLike | None = None,
        **extra: Any,
    ) -> tuple[optax.Updates, SkipSpikesState]:
        require_state(_OWNER, state, SkipSpikesState)
        if value is not None:
            extra["value"] = value

        def update(gradients: optax.Updates, inner_state: optax.OptState) -> Any:
            return inner.update(gradients, inner_state, params, **extra)

        size, loss = norm(updates), _loss(value)
        norms = Recent(state.gradient_norms, state.gradient_norm_count)
        losses = Recent(state.losses, state.loss_count)
        finite = jnp.isfinite(size) & (jnp.isfinite(loss) | (value is None))
        high = (size > norms.limit(threshold)) | (loss > losses.limit(threshold))
        again = finite & high & (state.skipped_in_a_row >= max_skips)
        good = finite & (~high | again)
        new_updates, inner_state, _ = made_if(
            good, update, updates, state.inner_state, look=False
        )
        norms = norms.cleared_if(again).with_value(size, good)
        losses = losses.cleared_if(again).with_value(loss, good & (value is not None))
        more = optax.safe_increment
        skipped = chosen(
            good,
            (state.skipped, jnp.zeros_like(state.skipped)),
            (more(state.skipped), more(state.skipped_in_a_row)),
        )
        return new_updates, SkipSpikesState(
            inner_state, *losses, *norms, size, *skipped
        )

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)


def _loss(value: ArrayLike | None) -> jax.Array:
    """The loss as float32; if it was not given, below any limit."""
    if value is None:
        return jnp.full((), -jnp.inf, jnp.float32)
    return one_loss(_OWNER, value)
