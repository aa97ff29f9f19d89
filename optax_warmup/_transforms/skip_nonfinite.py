"""A guard against numbers that are not finite."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from optax_warmup import _check
from optax_warmup._state.declared import watched
from optax_warmup._state.order import require_order
from optax_warmup._transforms.arguments import (
    require_optimizer,
    require_state,
    zeros,
)


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
    def recorded(self) -> dict[str, jax.Array]:
        """Scalars for a diagnostic record."""
        return {"skipped": self.skipped}


def skip_nonfinite(
    inner: optax.GradientTransformation | optax.MultiSteps,
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

    Returns:
        A transform with state `SkipNonfiniteState`.

    Raises:
        TypeError: `inner` is not a gradient transformation.

    Example:
        >>> import jax.numpy as jnp, optax, optax_warmup as ow
        >>> optimizer = ow.skip_nonfinite(optax.adam(1e-3))
        >>> state = optimizer.init(jnp.ones(2))
        >>> updates, state = optimizer.update(jnp.array([1.0, jnp.nan]), state)
        >>> updates.tolist(), state.skipped.item(), state.inner_state[0].count.item()
        ([0.0, 0.0], 1, 0)
    """
    inner = require_optimizer("skip_nonfinite", inner)

    def init_fn(params: optax.Params) -> SkipNonfiniteState:
        inner_state = inner.init(params)
        require_order("skip_nonfinite", inner_state)
        return SkipNonfiniteState(inner_state, *zeros(2))

    def update_fn(
        updates: optax.Updates,
        state: SkipNonfiniteState,
        params: optax.Params | None = None,
        **extra: Any,
    ) -> tuple[optax.Updates, SkipNonfiniteState]:
        require_state("skip_nonfinite", state, SkipNonfiniteState)

        def update() -> Any:
            return inner.update(updates, state.inner_state, params, **extra)

        finite = all_finite(updates) & _stays_finite(update(), state.inner_state)
        new_updates, inner_state = updated_if(finite, update, state.inner_state)
        more = optax.safe_increment
        return new_updates, SkipNonfiniteState(
            inner_state,
            jnp.where(finite, state.skipped, more(state.skipped)),
            jnp.where(finite, 0, more(state.skipped_in_a_row)),
        )

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)


def updated_if(condition: jax.Array, update: Callable[[], Any], old_state: Any) -> Any:
    """What `update` returns, or updates of zero and the old state."""

    def skip() -> Any:
        new_updates, new_state = jax.eval_shape(update)
        return (
            jax.tree.map(jnp.zeros_like, new_updates),
            jax.tree.map(_typed_as, old_state, new_state),
        )

    if _check.is_traced(condition):
        # A choice without a branch would hold two more copies of the moments.
        return jax.lax.cond(condition, update, skip)
    # Outside of jit, where a conditional would be compiled at every call.
    return update() if condition else skip()


def all_finite(tree: Any) -> jax.Array:
    leaves = [x for x in jax.tree.leaves(tree) if _is_inexact(x)]
    return _all([jnp.all(jnp.isfinite(leaf)) for leaf in leaves])


def _stays_finite(update: tuple[optax.Updates, Any], old_state: Any) -> jax.Array:
    """Whether an update puts nothing into parameters and state that is not finite.

    A state may hold infinities by design, such as the best loss before the first.
    """
    new_updates, new_state = update
    sound = [
        jnp.all(jnp.isfinite(new) | ~jnp.isfinite(old))
        for new, old in zip(
            jax.tree.leaves(watched(new_state)),
            jax.tree.leaves(watched(old_state)),
            strict=True,
        )
        if _is_inexact(new)
    ]
    return _all([all_finite(new_updates), *sound])


def _all(conditions: list[jax.Array]) -> jax.Array:
    """Not of one array: inside `shard_map` they vary over different axes."""
    together: jax.Array = jnp.bool_(True)
    for condition in conditions:
        together = together & condition
    return together


def _is_inexact(leaf: Any) -> bool:
    return bool(jnp.issubdtype(jnp.result_type(leaf), jnp.inexact))


def _typed_as(old: Any, new: jax.ShapeDtypeStruct) -> Any:
    """A leaf of the state in the type that it has after an update.

    Both branches must give the same. Adam's moments of bfloat16 parameters are float32
    after an update by float32 gradients; on a mesh with explicit axes they take the
    gradients' sharding; inside `shard_map` they vary over the axes that these do.
    """
    if jnp.issubdtype(new.dtype, jax.dtypes.prng_key):
        return old
    zero = jnp.zeros_like(new)
    old = jnp.asarray(old, new.dtype)
    place = jax.typeof(zero).sharding
    explicit = jax.sharding.AxisType.Explicit in place.mesh.axis_types
    if explicit and jax.typeof(old).sharding.spec != place.spec:
        old = jax.sharding.reshard(old, place)  # type: ignore[no-untyped-call]
    if jax.typeof(old) != jax.typeof(zero):
        old = jnp.where(False, zero, old)  # XLA leaves nothing of it
    return old
