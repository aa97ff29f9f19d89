"""A learning rate that falls when the loss stops falling."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from optax_warmup import _check
from optax_warmup._state import start
from optax_warmup._transforms.arguments import (
    LARGEST_VALUE,
    chosen,
    require_state,
    require_value,
    zeros,
)
from optax_warmup._transforms.scale_by_learning_rate import scaled

_OWNER = "reduce_on_plateau"


class ReduceOnPlateauState(NamedTuple):
    """The state of `reduce_on_plateau`.

    Attributes:
        count: updates done, int32, shape ().
        scale: what the last update was multiplied by, float32, shape ().
        best_value: the lowest mean loss so far, float32, shape (); 1e18 before one.
        mean_value: running mean of the losses since the last full mean, float32, shape
            ().
        samples: the number of these losses, int32, shape ().
        stagnant: means in a row without an improvement, int32, shape ().
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

    @property
    def update_scale(self) -> jax.Array:
        """What the last update was multiplied by."""
        return self.scale

    @property
    def recorded(self) -> dict[str, jax.Array]:
        """Scalars for a diagnostic record."""
        return {"plateau_scale": self.scale}


class Settings(NamedTuple):
    """The checked arguments of `reduce_on_plateau`."""

    factor: float
    patience: int
    rtol: float
    atol: float
    warmup_steps: int
    cooldown: int
    accumulation_size: int
    min_scale: float


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
    """Scales updates by a factor that falls each time the loss stops improving.

    scale = max(min_scale, factor * scale) after `patience` means in a row without
    mean < best - rtol * |best| - atol

    It differs from `optax.contrib.reduce_on_plateau` in four ways. The relative
    tolerance asks for a lower loss where losses are negative too (there best *
    (1 - rtol) is above best, so that every small rise counts as an improvement). Losses
    during the warmup are ignored. NaN and infinite losses are ignored. The scale is
    float32, whatever the dtype of the parameters.

    Put it last: optax.chain(optax.adamw(warmup_constant(1e-3, 500)),
    reduce_on_plateau(warmup_steps=500)). For a value to maximize, pass its negative.

    Args:
        factor: in (0, 1).
        patience: means, >= 1.
        rtol: relative tolerance, in [0, 1).
        atol: absolute tolerance, >= 0.
        warmup_steps: updates at the start whose losses are ignored, >= 0.
        cooldown: means after a reduction that do not count as stagnant, >= 0; they may
            still set a new best.
        accumulation_size: losses in a mean, >= 1; 1 for a validation loss, many for the
            losses of batches.
        min_scale: the lowest scale, in [0, 1].

    Returns:
        A transform with state `ReduceOnPlateauState`, whose update takes `value=loss`.

    Raises:
        TypeError: an argument is not a number.
        ValueError: an argument is out of its range; at `update`, `value` is missing or
            not one number.

    Example:
        >>> import jax.numpy as jnp, optax, optax_warmup as ow
        >>> optimizer = ow.reduce_on_plateau(0.5, patience=2)
        >>> state = optimizer.init(jnp.ones(2))
        >>> for loss in [-1.0, -2.0, -1.9999, -1.9999]:
        ...     updates, state = optimizer.update(jnp.ones(2), state, value=loss)
        >>> state.scale.item(), updates.tolist()
        (0.5, [0.5, 0.5])
    """
    settings = Settings(
        factor=_check.scalar(_OWNER, "factor", factor, above=0, below=1),
        patience=_length("patience", patience, minimum=1),
        rtol=_check.scalar(_OWNER, "rtol", rtol, minimum=0, below=1),
        atol=_check.scalar(_OWNER, "atol", atol, minimum=0),
        warmup_steps=_length("warmup_steps", warmup_steps),
        cooldown=_length("cooldown", cooldown),
        accumulation_size=_length("accumulation_size", accumulation_size, minimum=1),
        min_scale=(_check.scalar(_OWNER, "min_scale", min_scale, minimum=0, maximum=1)),
    )

    def init_fn(params: Any) -> ReduceOnPlateauState:
        del params
        count, _ = start.counts()
        samples, stagnant, cooldown_left = zeros(3)
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
        require_state(_OWNER, state, ReduceOnPlateauState)
        loss, finite = require_value(_OWNER, value)
        counts = finite & (state.count >= settings.warmup_steps)
        gathered = with_loss(state, loss, counts)
        full = gathered.samples == settings.accumulation_size
        new = chosen(full, judged(settings, gathered), gathered)
        new = new._replace(count=optax.safe_increment(state.count))
        return scaled(updates, new.scale), new

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)


def with_loss(
    state: ReduceOnPlateauState, loss: jax.Array, counts: jax.Array
) -> ReduceOnPlateauState:
    """The state with a loss in the running mean, unless it does not count."""
    samples = state.samples + counts
    step = (loss - state.mean_value) / jnp.maximum(samples, 1)
    mean_value = state.mean_value + jnp.where(counts, step, 0)
    return state._replace(samples=samples, mean_value=mean_value)


def judged(settings: Settings, state: ReduceOnPlateauState) -> ReduceOnPlateauState:
    """The state after its full mean was compared with the best one so far."""
    best = state.best_value
    improved = state.mean_value < best - settings.rtol * jnp.abs(best) - settings.atol
    cooling = state.cooldown_left > 0
    stagnant = jnp.where(improved | cooling, 0, state.stagnant + 1)
    reduce = stagnant >= settings.patience
    lower = jnp.maximum(state.scale * settings.factor, settings.min_scale)
    left = jnp.maximum(state.cooldown_left - 1, 0)
    return state._replace(
        scale=jnp.where(reduce, lower, state.scale),
        best_value=jnp.where(improved, state.mean_value, best),
        mean_value=jnp.zeros_like(state.mean_value),
        samples=jnp.zeros_like(state.samples),
        stagnant=jnp.where(reduce, 0, stagnant),
        cooldown_left=jnp.where(reduce, settings.cooldown, left),
    )


def _length(name: str, value: int, minimum: int = 0) -> int:
    return _check.count(_OWNER, name, value, minimum=minimum)
