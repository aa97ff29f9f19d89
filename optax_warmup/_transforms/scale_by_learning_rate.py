"""The transform that applies a schedule and remembers the rate it used."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from optax_warmup._schedules.schedule import Schedule, as_schedule


class ScaleByLearningRateState(NamedTuple):
    """The state of `scale_by_learning_rate`.

    Attributes:
        count: updates done, int32, shape ().
        learning_rate: the rate of the last update, float32, shape (); before the first
            update, the rate that it will use.

    Example:
        >>> import jax.numpy as jnp, optax_warmup as ow
        >>> ow.scale_by_learning_rate(0.5).init(jnp.ones(3)).learning_rate.item()
        0.5
    """

    count: jax.Array  # type: ignore[assignment]  # tuple.count, as optax has it
    learning_rate: jax.Array


def scale_by_learning_rate(
    learning_rate: optax.ScalarOrSchedule, *, flip_sign: bool = True
) -> optax.GradientTransformationExtraArgs:
    """Multiplies updates by a learning rate, and remembers the rate it used.

    updates = -learning_rate(count) * updates

    It stands where `optax.scale_by_learning_rate` does, last in a chain. What its state
    keeps, `optax_warmup.learning_rate` reads from any nesting: nobody has to compute
    the rate a second time in order to log it.

    Args:
        learning_rate: a schedule or a number >= 0. The schedule is asked for the number
            of completed updates: 0 for the first.
        flip_sign: whether to descend (the default) or not.

    Returns:
        A transform with state `ScaleByLearningRateState`. Updates keep their types; the
        rate is computed in float32.

    Raises:
        TypeError: `learning_rate` is neither a number nor callable.
        ValueError: it is a number that is negative, NaN or infinite.

    Example:
        >>> import jax.numpy as jnp, optax, optax_warmup as ow
        >>> optimizer = optax.chain(
        ...     optax.scale_by_adam(),
        ...     ow.scale_by_learning_rate(ow.warmup_constant(0.5, 2)),
        ... )
        >>> params = jnp.ones(3)
        >>> state = optimizer.init(params)
        >>> for _ in range(2):
        ...     updates, state = optimizer.update(jnp.ones(3), state, params)
        >>> ow.learning_rate(state).item()
        0.25
    """
    schedule = as_schedule(learning_rate, "scale_by_learning_rate", "learning_rate")
    sign = -1 if flip_sign else 1
    return scaling(schedule, sign, ScaleByLearningRateState)


def scaling(
    schedule: Schedule, sign: int, remember: Callable[[jax.Array, jax.Array], Any]
) -> optax.GradientTransformationExtraArgs:
    """Multiplies updates by sign * schedule(count), and remembers count and value."""

    def init_fn(params: Any) -> Any:
        del params
        count = jnp.zeros((), jnp.int32)
        return remember(count, schedule(count))

    def update_fn(
        updates: Any, state: Any, params: Any = None, **extra: Any
    ) -> tuple[Any, Any]:
        del params, extra
        value = schedule(state.count)
        updates = scaled(updates, sign * value)
        return updates, remember(optax.safe_increment(state.count), value)

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)


def scaled(updates: Any, factor: jax.Array) -> Any:
    """Updates times a number, in their own types."""

    def times(update: ArrayLike) -> jax.Array:
        update = jnp.asarray(update)
        return update * factor.astype(update.dtype)

    return jax.tree.map(times, updates)
