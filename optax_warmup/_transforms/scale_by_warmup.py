"""A warmup factor on the updates of any optimizer."""

from typing import NamedTuple

import jax
import optax

from optax_warmup import _check
from optax_warmup._schedules.schedule import as_schedule
from optax_warmup._transforms.scale_by_learning_rate import scaling


class ScaleByWarmupState(NamedTuple):
    """The state of `scale_by_warmup`.

    Attributes:
        count: updates done, int32, shape ().
        factor: what the last update was multiplied by, float32, shape (); before the
            first update, what it will be multiplied by.

    Example:
        >>> import jax.numpy as jnp, optax_warmup as ow
        >>> ow.scale_by_warmup(ow.warmup(1.0, 4, offset=1)).init(jnp.ones(3)).factor.item()
        0.25
    """

    count: jax.Array  # type: ignore[assignment]  # tuple.count, as optax has it
    factor: jax.Array


def scale_by_warmup(
    factor: optax.ScalarOrSchedule,
) -> optax.GradientTransformationExtraArgs:
    """Multiplies the updates of any optimizer by a warmup factor.

    updates = factor(count) * updates

    It stands last in a chain, behind an optimizer that has its learning rate already,
    weight decay included: optax.chain(optax.adamw(schedule), scale_by_warmup(factor)). The
    schedule's clock runs on below the factor, whereas `warmup` puts a ramp in front of
    it; and the factor has a clock of its own, which `restart_if` can set back. For
    another warmup for each group of parameters, put it into `optax.partition` or
    `optax.masked`. It is what `scale_by_learning_rate(factor, flip_sign=False)` does,
    under a name and a state that do not claim to be the learning rate.

    Args:
        factor: a schedule with values in [0, 1], such as `factors.untuned_linear(b2)`,
            or such a number. It is asked for the number of completed updates.

    Returns:
        A transform with state `ScaleByWarmupState`. Updates keep their types; the factor is
        computed in float32.

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
    if not callable(factor):
        factor = _check.number(
            "scale_by_warmup", "factor", factor, minimum=0, maximum=1
        )
    schedule = as_schedule(factor, "scale_by_warmup", "factor")
    return scaling(schedule, 1, ScaleByWarmupState)
