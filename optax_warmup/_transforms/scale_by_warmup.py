"""A warmup factor on the updates of any optimizer."""

from __future__ import annotations

from typing import NamedTuple

import jax
import optax

from optax_warmup._transforms.arguments import require_fraction
from optax_warmup._transforms.scale_by_learning_rate import scaling
from optax_warmup.values._checked import names_arguments


class ScaleByWarmupState(NamedTuple):
    """The state of `scale_by_warmup`.

    Attributes:
        count: updates done, int32, shape ().
        factor: what the last update was multiplied by, float32, shape (); before the
            first update, what that one will be multiplied by. It can be written, as the
            rate in `ScaleByLearningRateState` can.
        scheduled: as there, float32, shape ().

    Example:
        >>> import jax.numpy as jnp, optax_warmup as ow
        >>> transform = ow.scale_by_warmup(ow.warmup(1.0, 4, offset=1))
        >>> transform.init(jnp.ones(3)).factor.item()
        0.25
    """

    count: jax.Array  # type: ignore[assignment]  # tuple.count, as optax has it
    factor: jax.Array
    scheduled: jax.Array

    @property
    def schedule_count(self) -> jax.Array:
        """How many updates the schedule has counted."""
        return self.count

    @property
    def update_scale(self) -> jax.Array:
        """What the last update was multiplied by."""
        return self.factor

    @property
    def recorded(self) -> dict[str, jax.Array]:
        """Scalars for a diagnostic record."""
        return {"warmup_factor": self.factor}


@names_arguments
def scale_by_warmup(
    factor: optax.ScalarOrSchedule,
) -> optax.GradientTransformationExtraArgs:
    """Scales the updates of any optimizer by a warmup factor.

    updates = factor(count) * updates

    Put it last in a chain, after an optimizer with its own learning rate, so that it
    scales weight decay too: optax.chain(optax.adamw(schedule),
    scale_by_warmup(factor)). The schedule advances while the factor rises, whereas
    `warmup` puts a ramp in front of a schedule. The factor has its own count, which
    `restart_if` can reset. For a different warmup for each group of parameters, put it
    into `optax.partition` or `optax.masked`.

    It computes the same as `scale_by_learning_rate(factor, flip_sign=False)`, but its
    state says that this is a factor, so `learning_rate` multiplies by it. A constant
    factor, such as `scale_by_warmup(0.1)`, is likewise an `optax.scale(0.1)` that the
    reported learning rate accounts for.

    Args:
        factor: a schedule with values in [0, 1], such as `factors.untuned_linear(b2)`,
            or a number in [0, 1]. It is called with the number of completed updates.

    Returns:
        A transform with state `ScaleByWarmupState`. Updates keep their dtypes; the
        factor is computed in float32. Its update takes `step=k`, the run's own step, to
        be used in place of the count.

    Raises:
        TypeError: `factor` is neither a number nor callable.
        ValueError: it is a number that is not in [0, 1].

    Example:
        >>> import jax.numpy as jnp, optax, optax_warmup as ow
        >>> optimizer = optax.chain(
        ...     optax.sgd(1.0), ow.scale_by_warmup(ow.factors.untuned_linear(0.999))
        ... )
        >>> state = optimizer.init(jnp.ones(3))
        >>> for _ in range(2):
        ...     updates, state = optimizer.update(jnp.ones(3), state)
        >>> updates.tolist() == [-state[-1].factor.item()] * 3
        True
        >>> round(state[-1].factor.item() * 2000, 6)
        2.0

    Source: J. Ma and D. Yarats, "On the Adequacy of Untuned Warmup for Adaptive
    Optimization", 2021, arXiv:1910.04209 (warmup as a factor of the learning rate).
    """
    schedule = require_fraction(
        "scale_by_warmup",
        "factor",
        factor,
        "A learning rate belongs into scale_by_learning_rate; a factor is "
        "warmup(1.0, steps) or one of optax_warmup.factors.",
    )
    return scaling(schedule, 1, "scale_by_warmup", ScaleByWarmupState)
