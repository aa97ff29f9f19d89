"""A wrapper that keeps a running average of the parameters."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from optax_warmup._schedules.schedule import ScheduleLike
from optax_warmup._transforms.arguments import require_fraction, require_optimizer
from optax_warmup.averages._newest import Newest, init_inner, widened

_OWNER = "average_params"


class AverageParamsState(NamedTuple):
    """The state of `average_params`.

    Attributes:
        inner_state: the state of the wrapped optimizer.
        count: completed updates, int32, shape ().
        average: the average of the parameters; real ones of less than 32 bits are kept
            in float32.

    Example:
        >>> import jax.numpy as jnp, optax, optax_warmup as ow
        >>> optimizer = ow.averages.average_params(optax.sgd(0.1), 0.01)
        >>> optimizer.init(jnp.ones(2, jnp.bfloat16)).average
        Array([1., 1.], dtype=float32)
    """

    inner_state: optax.OptState
    count: jax.Array  # type: ignore[assignment]  # tuple.count, as optax has it
    average: optax.Params


def average_params(
    inner: optax.GradientTransformation, weight: ScheduleLike
) -> optax.GradientTransformationExtraArgs:
    """Keeps a running average of the parameters, and changes no update.

    average_n = average_(n-1) + weight(n-1) * (params_n - average_(n-1))

    where params_n are the parameters after update n, and average_0 the initial ones.
    Evaluate the model with `averaged_params(opt_state)`.

    - `exponential(0.999)` is an exponential moving average without a trace of the
      initial parameters; a number, such as 0.001, is one that starts from them.
    - `polynomial(0)` is the mean over the run, `polynomial(8)` about that over its last
      tenth.
    - `delay(weight, 1000)` begins after 1,000 updates, when the weight is that of step
      0: 1 for both of these. A cooldown that is replaced begins where the rate would
      begin to fall.

    Put it around the complete optimizer, learning rate included. Put
    `optax.MultiSteps` outside of it, as otherwise it counts microbatches; put
    `skip_nonfinite` outside as well: a NaN would stay in the average for ever.

    Args:
        inner: a complete optimizer.
        weight: of the newest parameters, in [0, 1]: a number, or a schedule of the
            completed updates, such as `exponential(0.999)`.

    Returns:
        A transform with state `AverageParamsState`. It takes one more copy of the
        parameters, and its update needs the parameters.

    Raises:
        TypeError: `inner` is not an optimizer, or `weight` is neither a number nor a
            schedule.
        ValueError: a weight is not in [0, 1].

    Example:
        >>> import jax.numpy as jnp, optax, optax_warmup as ow
        >>> weight = ow.averages.polynomial(0)
        >>> optimizer = ow.averages.average_params(optax.sgd(1.0), weight)
        >>> params = jnp.array(5.0)
        >>> state = optimizer.init(params)
        >>> for gradient in (1.0, 1.0, 2.0):
        ...     updates, state = optimizer.update(jnp.array(gradient), state, params)
        ...     params = optax.apply_updates(params, updates)
        >>> round(ow.averages.averaged_params(state).item(), 4)  # of 4, 3 and 1
        2.6667

    Source: B. T. Polyak and A. B. Juditsky, "Acceleration of Stochastic Approximation
    by Averaging", 1992; P. Izmailov et al., "Averaging Weights Leads to Wider Optima
    and Better Generalization", 2018, arXiv:1803.05407.
    """
    inner = require_optimizer(_OWNER, inner)
    schedule = require_fraction(
        _OWNER,
        "weight",
        weight,
        "A weight is 1 - decay, or a schedule such as averages.exponential(decay).",
    )

    def init_fn(params: optax.Params) -> AverageParamsState:
        inner_state = init_inner(_OWNER, inner, params)
        average = jax.tree.map(widened, params)
        return AverageParamsState(inner_state, jnp.zeros((), jnp.int32), average)

    def update_fn(
        updates: optax.Updates,
        state: AverageParamsState,
        params: optax.Params | None = None,
        **extra: Any,
    ) -> tuple[optax.Updates, AverageParamsState]:
        new = Newest.after(_OWNER, inner, updates, state, params, extra)
        now = schedule(state.count)
        average = jax.tree.map(
            lambda a, p: _moved(a, p, now), state.average, new.params
        )
        return new.updates, AverageParamsState(new.inner_state, new.count, average)

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)


def _moved(average: jax.Array, newest: Any, weight: jax.Array) -> jax.Array:
    newest = jnp.asarray(newest, average.dtype)
    if not jnp.issubdtype(average.dtype, jnp.inexact):
        return jnp.asarray(newest)  # an integer has no average
    real = jnp.finfo(average.dtype).dtype
    return jnp.asarray(average + weight.astype(real) * (newest - average))
