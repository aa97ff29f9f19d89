"""An update that is made, or left out as if it had never been."""

from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp

from optax_warmup import _check
from optax_warmup._state.declared import watched

# (gradients, state) -> (updates, state)
_Step: TypeAlias = Callable[[Any, Any], Any]


def made_if(
    condition: jax.Array, update: _Step, gradients: Any, state: Any, *, look: bool
) -> tuple[Any, Any, jax.Array]:
    """Makes an update if a condition holds, and with `look` if it is finite itself.

    Returns:
        Updates, which are zeros where it is not made; the new state, or the old one;
        and whether it was made.
    """
    traced = jax.jit(update)  # once, for all its uses

    def skip(gradients: Any, state: Any) -> Any:
        new_updates, new_state = jax.eval_shape(traced, gradients, state)
        return (
            jax.tree.map(jnp.zeros_like, new_updates),
            jax.tree.map(_typed_as, state, new_state),
        )

    def made(condition: jax.Array, new: Any, old_state: Any) -> jax.Array:
        return condition & _stays_finite(new, old_state) if look else condition

    if not _check.is_traced(condition):  # where a conditional would be compiled anew
        if condition:
            new = update(gradients, state)
            if made(condition, new, state):
                return *new, condition
        return *skip(gradients, state), jnp.zeros((), bool)
    steps = (traced, skip, made)
    done: tuple[Any, Any, jax.Array] = jax.lax.platform_dependent(
        condition,
        gradients,
        state,
        cpu=partial(_branched, *steps),
        default=partial(_selected, *steps),
    )
    return done


def _branched(
    update: _Step,
    skip: _Step,
    made: Callable[..., jax.Array],
    condition: jax.Array,
    gradients: Any,
    state: Any,
) -> tuple[Any, Any, jax.Array]:
    """For CPUs, where a choice would keep both versions of the moments.

    To look at an update it is computed twice, which takes less time and memory than to
    keep it, unless it is much more than a few operations on each coordinate.
    """
    good = made(condition, update(gradients, state), state)
    done = jax.lax.cond(good, update, skip, gradients, state)
    return *jax.tree.map(partial(_varying_as, good), done), good


def _selected(
    update: _Step,
    skip: _Step,
    made: Callable[..., jax.Array],
    condition: jax.Array,
    gradients: Any,
    state: Any,
) -> tuple[Any, Any, jax.Array]:
    """For accelerators: XLA fuses the choice into the update.

    A GPU would wait until the host knows which branch of a conditional to launch.
    """

    def choose(condition: jax.Array, new: Any, old: Any) -> Any:
        return jax.lax.select(condition, new, old)

    # The update that is not wanted is computed from zeros, to be finite: a derivative
    # through the choice would turn NaN otherwise.
    harmless = jax.tree.map(
        lambda g: choose(condition, g, jnp.zeros_like(g)), gradients
    )
    new = update(harmless, state)
    good = made(condition, new, state)
    chosen = jax.tree.map(partial(choose, good), new, skip(gradients, state))
    return *chosen, good


def _varying_as(condition: jax.Array, leaf: jax.Array) -> jax.Array:
    """A result of a conditional, in the type that a choice by the condition would have.

    Inside `shard_map` it varies over the devices that the condition varies over. The
    conditional does not say so, but both lowerings must have the same types.
    """
    chosen = jax.lax.select(condition, leaf, leaf)
    return leaf if jax.typeof(chosen) == jax.typeof(leaf) else chosen


def all_finite(gradients: Any) -> jax.Array:
    """Whether all numbers of a tree are finite.

    0 times a number is NaN if that is not: XLA:CPU adds the floats of arrays in memory
    twice as fast as it combines booleans.
    """
    leaves = [x for x in jax.tree.leaves(gradients) if _is_inexact(x)]
    return _all([jnp.isfinite(jnp.sum(x * 0)) for x in leaves])


def _stays_finite(update: tuple[Any, Any], old_state: Any) -> jax.Array:
    """Whether an update puts nothing into parameters and state that is not finite.

    A state may hold infinities by design, such as the best loss before the first. These
    are booleans, as XLA:CPU would not fuse a sum of floats into what computes them.
    """
    new_updates, new_state = update
    updates = [
        jnp.all(jnp.isfinite(x)) for x in jax.tree.leaves(new_updates) if _is_inexact(x)
    ]
    states = [
        jnp.all(jnp.isfinite(new) | ~jnp.isfinite(old))
        for new, old in zip(
            jax.tree.leaves(watched(new_state)),
            jax.tree.leaves(watched(old_state)),
            strict=True,
        )
        if _is_inexact(new)
    ]
    return _all([*updates, *states])


def _all(conditions: list[jax.Array]) -> jax.Array:
    """Not of one array: inside `shard_map` they vary over different axes."""
    together: jax.Array = jnp.ones((), bool)
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
