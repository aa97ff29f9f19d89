"""The transform that applies a learning rate and keeps the value that it used."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from optax_warmup import _check
from optax_warmup._schedules.schedule import Schedule, as_schedule
from optax_warmup._state import start
from optax_warmup._transforms.arguments import clock, require_state
from optax_warmup.values._checked import names_arguments


class ScaleByLearningRateState(NamedTuple):
    """The state of `scale_by_learning_rate`.

    Attributes:
        count: updates done, int32, shape ().
        learning_rate: the rate of the last update, float32, shape (); before the first
            update, the rate that it will use. A host may write another: it holds until
            the next is written, and NaN goes back to the schedule.
        scheduled: the schedule's value in the last update, by which a written rate is
            told from the schedule's; -1 while one holds. float32, shape ().

    Example:
        >>> import jax.numpy as jnp, optax_warmup as ow
        >>> ow.scale_by_learning_rate(0.5).init(jnp.ones(3)).learning_rate.item()
        0.5
    """

    count: jax.Array  # type: ignore[assignment]  # tuple.count, as optax has it
    learning_rate: jax.Array
    scheduled: jax.Array

    @property
    def schedule_count(self) -> jax.Array:
        """How many updates the schedule has counted."""
        return self.count

    @property
    def update_scale(self) -> jax.Array:
        """What the last update was multiplied by, but for the sign."""
        return self.learning_rate

    @property
    def is_learning_rate(self) -> bool:
        """That this is the learning rate itself, and not a factor on one."""
        return True


@names_arguments
def scale_by_learning_rate(
    learning_rate: optax.ScalarOrSchedule, *, flip_sign: bool = True
) -> optax.GradientTransformationExtraArgs:
    """Scales updates by a learning rate, and keeps the rate in its state.

    updates = -learning_rate(count) * updates

    It takes the place of `optax.scale_by_learning_rate`, last in a chain.
    `optax_warmup.learning_rate` reads the rate from the state in any nesting, so that
    nobody has to compute it a second time to log it. To set the rate from the host, use
    `runs.set_learning_rate`.

    Args:
        learning_rate: a schedule or a number >= 0. The schedule is called with the
            number of completed updates: 0 for the first.
        flip_sign: whether to multiply by -1 too, in order to descend.

    Returns:
        A transform with state `ScaleByLearningRateState`. Updates keep their types; the
        rate is computed in float32. Its update takes `step=k`, the run's own step, to
        be used in place of the count.

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
        >>> ow.learning_rate(state)
        0.25
    """
    owner = "scale_by_learning_rate"
    if not callable(learning_rate):
        _check.one(owner, "learning_rate", learning_rate, "a number or a schedule")
    schedule = as_schedule(learning_rate, owner, "learning_rate")
    sign = -1 if _check.flag(owner, "flip_sign", flip_sign) else 1
    return scaling(schedule, sign, owner, ScaleByLearningRateState)


def scaling(
    schedule: Schedule,
    sign: int,
    owner: str,
    remember: Callable[[jax.Array, jax.Array, jax.Array], Any],
) -> optax.GradientTransformationExtraArgs:
    """Scales updates by sign * schedule(count), and keeps count and value.

    The second field of the state is the value. Where it differs from the third, which
    nobody else writes, the host has written it.
    """

    def init_fn(params: Any) -> Any:
        del params
        count, shown = start.counts()
        value = schedule(shown)
        return remember(count, value, jnp.array(value, copy=True))

    def update_fn(
        updates: Any,
        state: Any,
        params: Any = None,
        *,
        step: ArrayLike | None = None,
        **extra: Any,
    ) -> tuple[Any, Any]:
        del params, extra
        count, written, scheduled = require_state(owner, state, remember)
        count = clock(owner, count, step)
        rate, scheduled = held(written, scheduled, schedule(count))
        updates = scaled(updates, sign * rate)
        return updates, remember(optax.safe_increment(count), rate, scheduled)

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)


def held(
    written: ArrayLike, scheduled: ArrayLike, value: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """The rate: the schedule's, or what the host has written in its place.

    Args:
        written: the rate in the state.
        scheduled: the schedule's value in the state.
        value: what the schedule says now.

    Returns:
        The rate and the schedule's value, for the next state.
    """
    written = jnp.asarray(written, value.dtype)
    holds = (written != scheduled) & ~jnp.isnan(written)
    # -1 is no rate: it stays held.
    return jnp.where(holds, written, value), jnp.where(holds, -1.0, value)


def scaled(updates: Any, factor: jax.Array) -> Any:
    """Updates times a number, in their own dtypes.

    The product is made in single precision: a number below 6e-8 is zero in float16.
    """

    def times(update: ArrayLike) -> jax.Array:
        update = jnp.asarray(update)
        wide = jnp.promote_types(update.dtype, factor.dtype)
        return (update.astype(wide) * factor.astype(wide)).astype(update.dtype)

    return jax.tree.map(times, updates)
