"""A guard against gradients that are not finite."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import optax

from optax_warmup import _check
from optax_warmup._state.finite_start import require_finite_start
from optax_warmup._state.order import require_order
from optax_warmup._transforms.arguments import require_optimizer, zeros

_Step: TypeAlias = Callable[[Any, Any], Any]


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
) -> optax.GradientTransformationExtraArgs:
    """Skips every step with a gradient that is not finite, as if it never happened.

    A NaN or an infinity anywhere in the gradient gives updates of zero and leaves the
    whole state of `inner` as it was, to the last bit: moments, counts, schedules. It
    never gives up, unlike `optax.apply_if_finite`, which lets a bad gradient through
    after some bad steps in a row and so ruins all parameters for good. Whether to stop
    is up to you: watch `skipped_in_a_row` when you log.

    With gradient accumulation put it outside, `skip_nonfinite(optax.MultiSteps(...,
    4))`: then the bad gradient never reaches the sum, and the next good one takes its
    place. Inside it is too late, since the sum stays NaN.

    The gradient is checked, not the update. In float16 the eps of `optax.adam` rounds
    to 0, and a gradient of 0 gives an update of 0 / 0: pass a larger eps, such as 1e-4,
    or keep float32 parameters.

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
        require_finite_start("skip_nonfinite", inner, inner_state, params)
        return SkipNonfiniteState(inner_state, *zeros(2))

    def update_fn(
        updates: optax.Updates,
        state: SkipNonfiniteState,
        params: optax.Params | None = None,
        **extra: Any,
    ) -> tuple[optax.Updates, SkipNonfiniteState]:
        def update(gradients: optax.Updates, inner_state: optax.OptState) -> Any:
            return inner.update(gradients, inner_state, params, **extra)

        traced = jax.jit(update)  # once, for all its uses

        def skip(gradients: optax.Updates, inner_state: optax.OptState) -> Any:
            new_updates, new_state = jax.eval_shape(traced, gradients, inner_state)
            return (
                jax.tree.map(jnp.zeros_like, new_updates),
                jax.tree.map(_typed_as, inner_state, new_state),
            )

        leaves = jax.tree.leaves(updates)
        finite = jnp.all(jnp.array([_is_finite(g) for g in leaves]))
        if _check.is_traced(finite):
            new_updates, inner_state = jax.lax.platform_dependent(
                finite,
                updates,
                state.inner_state,
                cpu=partial(_branched, traced, skip),
                default=partial(_selected, traced, skip),
            )
        else:  # outside of jit, where a conditional would be compiled at every call
            run = update if finite else skip
            new_updates, inner_state = run(updates, state.inner_state)
        more = optax.safe_increment
        return new_updates, SkipNonfiniteState(
            inner_state,
            jnp.where(finite, state.skipped, more(state.skipped)),
            jnp.where(finite, 0, more(state.skipped_in_a_row)),
        )

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)


def _is_finite(x: jax.Array) -> jax.Array:
    """Whether all of an array is finite: 0 times a number is NaN if that is not.

    XLA:CPU adds floats twice as fast as it combines booleans.
    """
    return jnp.isfinite(jnp.sum(x * 0))


def _branched(
    update: _Step, skip: _Step, finite: jax.Array, gradients: Any, inner_state: Any
) -> Any:
    """For CPUs, where a choice would compute a step that is skipped, and keep both."""
    return jax.lax.cond(finite, update, skip, gradients, inner_state)


def _selected(
    update: _Step, skip: _Step, finite: jax.Array, gradients: Any, inner_state: Any
) -> Any:
    """For accelerators: XLA fuses the choice into the update.

    A conditional would hold the gradients and both versions of the moments, and a GPU
    would wait until the host knows which branch to launch.
    """

    def choose(new: Any, old: Any) -> Any:
        return jax.lax.select(finite, new, old)

    # The update that is not wanted is computed from zeros, to be finite: a derivative
    # through the choice would turn NaN otherwise.
    harmless = jax.tree.map(lambda g: choose(g, jnp.zeros_like(g)), gradients)
    updated = update(harmless, inner_state)
    return jax.tree.map(choose, updated, skip(gradients, inner_state))


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
