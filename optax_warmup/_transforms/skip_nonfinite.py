"""A guard against numbers that are not finite."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from optax_warmup import _check
from optax_warmup._state.finite_start import require_finite_start
from optax_warmup._state.order import require_order
from optax_warmup._transforms.arguments import (
    require_optimizer,
    require_state,
    zeros,
)
from optax_warmup._transforms.made_if import all_finite, made_if


class SkipNonfiniteState(NamedTuple):
    """The state of `skip_nonfinite`.

    Attributes:
        inner_state: the state of the wrapped optimizer.
        skipped: steps skipped so far, int32, shape ().
        skipped_in_a_row: steps skipped since the last one that was not, int32, shape
            ().

    Example:
        >>> import jax.numpy as jnp, optax, optax_warmup as ow
        >>> ow.skip_nonfinite(optax.adam(1e-3)).init(jnp.ones(3)).skipped.item()
        0
    """

    inner_state: optax.OptState
    skipped: jax.Array
    skipped_in_a_row: jax.Array

    @property
    def gates_updates(self) -> bool:
        """That what is wrapped does not see every update, or begins anew."""
        return True

    @property
    def recorded(self) -> dict[str, jax.Array]:
        """Scalars for a diagnostic record."""
        return {"skipped": self.skipped}


def skip_nonfinite(
    inner: optax.GradientTransformation | optax.MultiSteps,
    *,
    check_updates: bool = True,
) -> optax.GradientTransformationExtraArgs:
    """Skips every step that is not finite, as if it never happened.

    A NaN or an infinity anywhere in the gradient, in the updates that would go out, or
    new in the state of `inner`, gives updates of zero and leaves the whole state as it
    was, to the last bit: moments, counts, schedules. So a finite gradient of 1e20,
    whose square would make Adam's nu infinite for ever, is skipped as well. It never
    gives up, unlike `optax.apply_if_finite`, which lets a bad gradient through
    after some bad steps in a row and so ruins all parameters for good. Whether to stop
    is up to you: watch `skipped_in_a_row` when you log.

    With gradient accumulation put it outside, `skip_nonfinite(optax.MultiSteps(...,
    4))`: then the bad gradient never reaches the sum, and the next good one takes its
    place. Inside it is too late, since the sum stays NaN.

    In float16 the eps of `optax.adam` rounds to 0, and a gradient of 0 gives an update
    of 0 / 0, step after step: pass a larger eps, such as 1e-4, or let the optimizer
    compute in float32.

    Under `jit` every process sees the same global gradient. Inside `shard_map` or
    `pmap` average the gradients first, or one replica skips what another does not.

    Args:
        inner: the whole optimizer to protect.
        check_updates: False looks at the gradients alone. That is cheaper: to look at
            what goes out, the update is computed twice, or kept until it is known to be
            finite. The gradients must then be such that no square of one overflows, for
            instance clipped ones, and eps must not round to 0.

    Returns:
        A transform with state `SkipNonfiniteState`.

    Raises:
        TypeError: `inner` is not a gradient transformation, or `check_updates` is not
            True or False.

    Example:
        >>> import jax.numpy as jnp, optax, optax_warmup as ow
        >>> optimizer = ow.skip_nonfinite(optax.adam(1e-3))
        >>> state = optimizer.init(jnp.ones(2))
        >>> updates, state = optimizer.update(jnp.array([1.0, jnp.nan]), state)
        >>> updates.tolist(), state.skipped.item(), state.inner_state[0].count.item()
        ([0.0, 0.0], 1, 0)
    """
    inner = require_optimizer("skip_nonfinite", inner)
    _check.flag("skip_nonfinite", "check_updates", check_updates)

    def init_fn(params: optax.Params) -> SkipNonfiniteState:
        inner_state = inner.init(params)
        require_order("skip_nonfinite", inner_state)
        require_finite_start("skip_nonfinite", inner, inner_state, params)
        return SkipNonfiniteState(inner_state, *zeros(2))

    def update_fn(
        updates: optax.Updates,
        state: SkipNonfiniteState,
        params: optax.Params | None = None,
        **extra: Any,
    ) -> tuple[optax.Updates, SkipNonfiniteState]:
        require_state("skip_nonfinite", state, SkipNonfiniteState)

        def update(gradients: optax.Updates, inner_state: optax.OptState) -> Any:
            return inner.update(gradients, inner_state, params, **extra)

        finite = jnp.ones((), bool) if check_updates else all_finite(updates)
        new_updates, inner_state, finite = made_if(
            finite, update, updates, state.inner_state, look=check_updates
        )
        more = optax.safe_increment
        return new_updates, SkipNonfiniteState(
            inner_state,
            jnp.where(finite, state.skipped, more(state.skipped)),
            jnp.where(finite, 0, more(state.skipped_in_a_row)),
        )

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)
