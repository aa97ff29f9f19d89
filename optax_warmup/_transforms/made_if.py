"""An update that is made, or left out as if it had never been."""

from collections import Counter
from collections.abc import Callable
from functools import partial, reduce
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
    """Makes an update if a condition holds.

    With `look` only if gradients, updates and state are finite, too.

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

    operands = (condition, gradients, state)
    if not any(map(_check.is_traced, jax.tree.leaves(operands))):
        # Where a conditional would be compiled anew.
        new = update(gradients, state) if condition else skip(gradients, state)
        good = condition & _stays_finite(gradients, new, state) if look else condition
        if not _check.is_traced(good):
            return *(new if good else skip(gradients, state)), good
    done: tuple[Any, Any, jax.Array] = jax.lax.platform_dependent(
        *operands,
        cpu=partial(_branched, traced, skip, look),
        default=partial(_selected, traced, skip, look),
    )
    return done


def _branched(
    update: _Step,
    skip: _Step,
    look: bool,
    condition: jax.Array,
    gradients: Any,
    state: Any,
) -> tuple[Any, Any, jax.Array]:
    """For CPUs, where a choice would keep both versions of the moments.

    To look at an update it is computed twice, which takes less time and memory than to
    keep it, unless it is much more than a few operations on each coordinate.
    """
    good = condition
    if look:
        good &= _stays_finite(gradients, update(gradients, state), state)
    # The branches say which of them was taken: XLA would copy the whole condition to
    # each of its uses.
    done = jax.lax.cond(
        good,
        lambda *operands: (*update(*operands), jnp.ones((), bool)),
        lambda *operands: (*skip(*operands), jnp.zeros((), bool)),
        gradients,
        state,
    )
    made: tuple[Any, Any, jax.Array] = jax.tree.map(partial(_varying_as, good), done)
    return made


def _selected(
    update: _Step,
    skip: _Step,
    look: bool,
    condition: jax.Array,
    gradients: Any,
    state: Any,
) -> tuple[Any, Any, jax.Array]:
    """For accelerators: XLA fuses the choice into the update.

    A GPU would wait until the host knows which branch of a conditional to launch.
    """

    def choose(condition: jax.Array, new: Any, old: Any) -> Any:
        return jax.lax.select(condition, new, old)

    if look:
        condition &= all_finite(gradients)
    # The update that is not wanted is computed from zeros, to be finite: a derivative
    # through the choice would turn NaN otherwise.
    harmless = jax.tree.map(
        lambda g: choose(condition, g, jnp.zeros_like(g)), gradients
    )
    new = update(harmless, state)
    good = condition & _stays_finite((), new, state) if look else condition
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


def _stays_finite(gradients: Any, update: tuple[Any, Any], old_state: Any) -> jax.Array:
    """Whether an update comes from finite numbers and puts no others anywhere.

    A state may hold infinities by design, such as the best loss before the first. These
    are booleans, as XLA:CPU would not fuse a sum of floats into what computes them.
    """
    new_updates, new_state = update
    entering = [jnp.isfinite(x) for x in jax.tree.leaves(gradients) if _is_inexact(x)]
    leaving = [jnp.isfinite(x) for x in jax.tree.leaves(new_updates) if _is_inexact(x)]
    states = [
        jnp.isfinite(new) | ~jnp.isfinite(old)
        for new, old in zip(
            jax.tree.leaves(watched(new_state)),
            jax.tree.leaves(watched(old_state)),
            strict=True,
        )
        if _is_inexact(new)
    ]
    parts = _of_each_parameter(leaving, [*leaving, *entering, *states])
    return _all([jnp.all(_all(part)) for part in parts])


def _of_each_parameter(
    parameters: list[jax.Array], arrays: list[jax.Array]
) -> list[list[jax.Array]]:
    """Puts arrays together that probably belong to one parameter, for one reduction.

    These are of one type, and in the state they come in the parameters' order, all of
    mu and then all of nu. Where that is not so, less is computed at once.
    """
    alike = Counter(jax.typeof(x) for x in parameters)
    seen: Counter[Any] = Counter()
    parts: dict[Any, list[jax.Array]] = {}
    for array in arrays:
        kind = jax.typeof(array)
        place = seen[kind] % alike[kind] if kind in alike else seen[kind]
        parts.setdefault((kind, place), []).append(array)
        seen[kind] += 1
    return list(parts.values())


def _all(conditions: list[jax.Array]) -> jax.Array:
    """Not of one array: inside `shard_map` they vary over different axes."""
    return reduce(jnp.logical_and, conditions, jnp.ones((), bool))


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
