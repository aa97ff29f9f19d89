"""The weight that the newest parameters get in a running average, as schedules."""

from __future__ import annotations

from typing import Annotated, Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from optax_warmup._numerics import expm1
from optax_warmup._schedules import clock as clocks
from optax_warmup._schedules.decays import inverse_power
from optax_warmup._schedules.schedule import Schedule
from optax_warmup.values._checked import checked
from optax_warmup.values._kinds import Number


class exponential(Schedule):
    """Weight of the newest parameters in an exponential moving average.

    value(step) = (1 - decay) / (1 - decay**(step + 1))

    So the average after n updates is sum(decay**(n - i) * params_i) over i = 1 to n,
    divided by the sum of these weights: nothing is left of the initial parameters, and
    the first update has weight 1. It remembers about 1 / (1 - decay) updates; before
    that many it is close to the plain mean, which is how the decay warms up.

    Args:
        decay: of the older weights at each update, 0 <= decay < 1; may be traced.

    Returns:
        A `Schedule` with values in (0, 1], for `average_params`.

    Raises:
        TypeError: `decay` is not a number.
        ValueError: `decay` is not in [0, 1).

    Example:
        >>> import optax_warmup as ow
        >>> weight = ow.averages.exponential(0.75)
        >>> [round(weight(step).item(), 4) for step in (0, 1, 2, 100)]
        [1.0, 0.5714, 0.4324, 0.25]

    Source: D. P. Kingma and J. Ba, "Adam", 2015, arXiv:1412.6980, section 3 (the bias
    correction) and section 7.2 (the average).
    """

    _namespace = "averages."
    _fixed_length = "has no length to change: change its decay"

    decay: Annotated[ArrayLike, Number(minimum=0, below=1)]

    def value_at(self, clock: Any) -> jax.Array:
        decay = clocks.as_value(self.decay)
        # 1 - decay**n without the rounding error of a power close to 1.
        n = clocks.as_value(clock) + 1
        tiny = jnp.finfo(n.dtype).tiny
        rate = jnp.log(jnp.maximum(decay, tiny))
        return (1 - decay) / -expm1(jnp.maximum(n * rate, -80.0))


@checked("averages.")
def polynomial(power: Annotated[ArrayLike, Number(minimum=0)] = 0.0) -> Schedule:
    """Weight of the newest parameters in a mean with polynomial weights.

    value(step) = (power + 1) / (step + power + 1)

    With power 0 the average is the plain mean of the parameters after every update.
    With a larger one, those of update i weigh about i**power, so that the beginning is
    forgotten: power 8 averages about the last tenth of the run, however long it is.

    Args:
        power: of the weights, >= 0; may be traced.

    Returns:
        A `Schedule` with values in (0, 1], for `average_params`.

    Raises:
        TypeError: `power` is not a number.
        ValueError: `power` is negative, NaN or infinite.

    Example:
        >>> import optax_warmup as ow
        >>> [ow.averages.polynomial()(step).item() for step in range(4)]
        [1.0, 0.5, 0.3333333432674408, 0.25]

    Source: O. Shamir and T. Zhang, "Stochastic Gradient Descent for Non-smooth
    Optimization", 2013, arXiv:1212.1824, section 4 (polynomial-decay averaging).
    """
    return inverse_power(1.0, timescale=power + 1.0, power=1.0)
