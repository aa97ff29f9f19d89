"""A learning rate that falls when the loss stops falling."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from optax_warmup import _check
from optax_warmup._transforms.arguments import LARGEST_VALUE, require_value, zeros
from optax_warmup._transforms.scale_by_learning_rate import scaled


class ReduceOnPlateauState(NamedTuple):
    """The state of `reduce_on_plateau`.

    Attributes:
        count: updates done, int32, shape ().
        scale: what the last update was multiplied by, float32, shape ().
        best_value: the lowest mean loss so far, float32, shape (); 1e18 before one.
        mean_value: of the losses since the last mean was taken, float32, shape ().
        samples: how many these are, int32, shape ().
        stagnant: means in a row that did not improve, int32, shape ().
        cooldown_left: means that will not be judged, int32, shape ().

    Example:
        >>> import jax.numpy as jnp, optax_warmup as ow
        >>> ow.reduce_on_plateau().init(jnp.ones(3)).scale.item()
        1.0
    """

    count: jax.Array  # type: ignore[assignment]  # tuple.count, as optax has it
    scale: jax.Array
    best_value: jax.Array
    mean_value: jax.Array
    samples: jax.Array
    stagnant: jax.Array
    cooldown_left: jax.Array


def reduce_on_plateau(
    factor: float = 0.1,
    patience: int = 10,
    *,
    rtol: float = 1e-4,
    atol: float = 0.0,
    warmup_steps: int = 0,
    cooldown: int = 0,
    accumulation_size: int = 1,
    min_scale: float = 0.0,
) -> optax.GradientTransformationExtraArgs:
    """Multiplies updates by a scale that falls each time the loss stops improving.

    scale = max(min_scale, factor * scale) after `patience` means in a row without
    mean < best - rtol * |best| - atol

    It is `optax.contrib.reduce_on_plateau` with these differences: the relative
    tolerance asks for a lower loss where losses are negative too (there best * (1 -
    rtol) lies above best, and every small rise is an improvement); losses of the
    warmup are not judged; NaN and infinite losses are passed over; and the scale is
    kept in float32 whatever the parameters' type.

    Put it last: optax.chain(optax.adamw(warmup_constant(1e-3, 500)),
    reduce_on_plateau(warmup_steps=500)). For something to maximize, pass its negative.

    Args:
        factor: in (0, 1).
        patience: means, >= 1.
        rtol: relative tolerance, in [0, 1).
        atol: absolute tolerance, >= 0.
        warmup_steps: updates whose losses are not looked at, >= 0.
        cooldown: means after a reduction that are not held against it, >= 0; they may
            still set a new best.
        accumulation_size: losses in a mean, >= 1; 1 for a validation loss, many for the
            losses of batches.
        min_scale: the lowest scale, in [0, 1].

    Returns:
        A transform with state `ReduceOnPlateauState`, whose update takes `value=loss`.

    Raises:
        TypeError: a number is none.
        ValueError: a number is out of its range; at `update`, `value` is missing or not
            one number.

    Example:
        >>> import jax.numpy as jnp, optax, optax_warmup as ow
        >>> optimizer = ow.reduce_on_plateau(0.5, patience=2)
        >>> state = optimizer.init(jnp.ones(2))
        >>> for loss in [-1.0, -2.0, -1.9999, -1.9999]:
        ...     updates, state = optimizer.update(jnp.ones(2), state, value=loss)
        >>> state.scale.item(), updates.tolist()
        (0.5, [0.5, 0.5])
    """
    owner = "reduce_on_plateau"
    factor = float(_check.number(owner, "factor", factor, above=0, below=1))
    patience = int(_check.length(owner, "patience", patience, minimum=1))
    rtol = float(_check.number(owner, "rtol", rtol, minimum=0, below=1))
    atol = float(_check.number(owner, "atol", atol, minimum=0))
    warmup_steps = int(_check.length(owner, "warmup_steps", warmup_steps))
    cooldown = int(_check.length(owner, "cooldown", cooldown))
    size = int(_check.length(owner, "accumulation_size", accumulation_size, minimum=1))
    min_scale = float(
        _check.number(owner, "min_scale", min_scale, minimum=0, maximum=1)
    )

    def init_fn(params: Any) -> ReduceOnPlateauState:
        del params
        count, samples, stagnant, cooldown_left = zeros(4)
        return ReduceOnPlateauState(
            count=count,
            scale=jnp.ones((), jnp.float32),
            best_value=jnp.full((), LARGEST_VALUE, jnp.float32),
            mean_value=jnp.zeros((), jnp.float32),
            samples=samples,
            stagnant=stagnant,
            cooldown_left=cooldown_left,
        )

    def update_fn(
        updates: optax.Updates,
        state: ReduceOnPlateauState,
        params: optax.Params | None = None,
        *,
        value: ArrayLike | None = None,
        **extra: Any,
    ) -> tuple[optax.Updates, ReduceOnPlateauState]:
        del params, extra
        loss, finite = require_value(owner, value)
        seen = finite & (state.count >= warmup_steps)
        samples = state.samples + seen
        step = (loss - state.mean_value) / jnp.maximum(samples, 1)
        average = state.mean_value + jnp.where(seen, step, 0)
        full = samples == size

        best = state.best_value
        improved = average < best - rtol * jnp.abs(best) - atol
        cooling = state.cooldown_left > 0
        stagnant = jnp.where(improved | cooling, 0, state.stagnant + 1)
        reduce = full & (stagnant >= patience)
        left = jnp.where(reduce, cooldown, jnp.maximum(state.cooldown_left - 1, 0))
        lower = jnp.maximum(state.scale * factor, min_scale)
        new = ReduceOnPlateauState(
            count=optax.safe_increment(state.count),
            scale=jnp.where(reduce, lower, state.scale),
            best_value=jnp.where(full & improved, average, best),
            mean_value=jnp.where(full, 0, average),
            samples=jnp.where(full, 0, samples),
            stagnant=jnp.where(full, jnp.where(reduce, 0, stagnant), state.stagnant),
            cooldown_left=jnp.where(full, left, state.cooldown_left),
        )
        return scaled(updates, new.scale), new

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)
