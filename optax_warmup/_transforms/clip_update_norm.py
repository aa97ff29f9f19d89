"""A guard that shrinks updates which are much larger than those before."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from optax_warmup import _check
from optax_warmup._transforms.arguments import require_state
from optax_warmup._transforms.recent import Recent, norm
from optax_warmup._transforms.scale_by_learning_rate import scaled

_OWNER = "clip_update_norm"


class ClipUpdateNormState(NamedTuple):
    """The state of `clip_update_norm`.

    Attributes:
        norms: the last norms, after clipping, float32, shape (window,), NaN where there
            is none yet.
        count: how many there were, int32, shape ().
        scale: what the last update was multiplied by, in (0, 1], float32, shape ().

    Example:
        >>> import jax.numpy as jnp, optax_warmup as ow
        >>> ow.guards.clip_update_norm().init(jnp.ones(3)).scale.item()
        1.0
    """

    norms: jax.Array
    count: jax.Array  # type: ignore[assignment]  # tuple.count, as optax has it
    scale: jax.Array

    @property
    def recorded(self) -> dict[str, jax.Array]:
        """Scalars for a diagnostic record."""
        return {"update_norm_scale": self.scale}


def clip_update_norm(
    *, window: int = 128, threshold: float = 3.0
) -> optax.GradientTransformationExtraArgs:
    """Shrinks an update whose norm is far above those of the last updates.

    updates = updates * min(1, limit / |updates|)
    limit = median + threshold * max(1.4826 * MAD, 0.01 * |median|)

    of the norms of the last `window` updates, as they went out; MAD is their median
    absolute deviation. As long as there are fewer than window / 4, none is clipped. A
    clipped norm enters the history at the limit, which so rises: updates that stay
    large are let through after a while.

    Put it behind Adam and in front of the learning rate, so that the norm is that of
    the direction and a warmup or a decay does not move it: optax.chain(scale_by_adam(),
    clip_update_norm(), scale_by_learning_rate(schedule)). In published runs the norm of
    the updates doubles before the loss jumps up, while gradients and nu show nothing.

    An update that is zero or not finite is left alone and does not enter the history;
    for the latter use `skip_nonfinite`. Inside `shard_map` the norm is that of what a
    device holds.

    Args:
        window: norms that a new one is compared with, >= 8.
        threshold: in standard deviations, > 0.

    Returns:
        A transform with state `ClipUpdateNormState`. Updates keep their dtypes.

    Raises:
        TypeError: an argument is not a number.
        ValueError: an argument is out of its range.

    Example:
        >>> import jax.numpy as jnp, optax_warmup as ow
        >>> clip = ow.guards.clip_update_norm(window=8)
        >>> state = clip.init(jnp.ones(1))
        >>> for size in [1.0, 1.1, 0.9, 1.0, 30.0]:
        ...     updates, state = clip.update(size * jnp.ones(1), state)
        >>> round(updates[0].item(), 2)
        1.22

    Source: Levanter's clip_update_norm, Stanford CRFM, 2025 (mean and standard
    deviation of the last 128 norms). Median and MAD are this library's.
    """
    window = _check.count(_OWNER, "window", window, minimum=8)
    threshold = _check.scalar(_OWNER, "threshold", threshold, above=0)

    def init_fn(params: Any) -> ClipUpdateNormState:
        del params
        return ClipUpdateNormState(*Recent.empty(window), jnp.ones((), jnp.float32))

    def update_fn(
        updates: optax.Updates,
        state: ClipUpdateNormState,
        params: Any = None,
        **extra: Any,
    ) -> tuple[optax.Updates, ClipUpdateNormState]:
        del params, extra
        require_state(_OWNER, state, ClipUpdateNormState)
        recent = Recent(state.norms, state.count)
        size, limit = norm(updates), recent.limit(threshold)
        counts = jnp.isfinite(size) & (size > 0)
        high = counts & (size > limit)
        scale = jnp.where(high, limit / jnp.where(high, size, 1), 1).astype(jnp.float32)
        recent = recent.with_value(jnp.minimum(size, limit), counts)
        return scaled(updates, scale), ClipUpdateNormState(*recent, scale)

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)
