"""Weight decay by a schedule of its own."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from optax_warmup._schedules.schedule import ScheduleLike
from optax_warmup._state import start
from optax_warmup._transforms.arguments import (
    clock,
    require_fraction,
    require_params,
    require_state,
)
from optax_warmup.values._checked import names_arguments

_OWNER = "decay_weights"


class DecayWeightsState(NamedTuple):
    """The state of `decay_weights`.

    Attributes:
        count: completed updates, int32, shape ().
        decay: by which the last update shrank the parameters, float32, shape (); before
            the first, what that one will use.

    Example:
        >>> import jax.numpy as jnp, optax_warmup as ow
        >>> ow.decay_weights(0.25).init(jnp.ones(3)).decay.item()
        0.25
    """

    count: jax.Array  # type: ignore[assignment]  # tuple.count, as optax has it
    decay: jax.Array

    @property
    def recorded(self) -> dict[str, jax.Array]:
        """Scalars for a diagnostic record."""
        return {"weight_decay": self.decay}


@names_arguments
def decay_weights(decay: ScheduleLike) -> optax.GradientTransformationExtraArgs:
    """Shrinks the parameters by a fraction that a schedule decides.

    updates = updates - decay(count) * params

    Put it behind the learning rate: nothing scales the decay then. With a learning rate
    `rate(step)` of peak `peak`, a coefficient c and a number of updates T,

    - multiply(rate, c) follows the rate, as in `optax.adamw(rate, weight_decay=c)`;
    - c alone is independent of the rate;
    - multiply(rate, rate, c / peak) follows it twice, so that gradients do not grow at
      the end of the decay (AdamC);
    - multiply(rate, 1 / (peak * T)), or 1 / T alone, forgets parameters of T updates
      ago: with T = examples / batch_size it is a time scale in examples.

    Use `optax.masked` to leave out biases and the scales of normalization layers.

    Args:
        decay: the fraction that is taken from the parameters in each update, in [0, 1]:
            a number, or a schedule of the completed updates.

    Returns:
        A transform with state `DecayWeightsState`; updates keep their dtypes, and an
        update needs the parameters. `record_moments` keeps the decay as `weight_decay`.

    Raises:
        TypeError: `decay` is neither a number nor a schedule.
        ValueError: a decay is not in [0, 1].

    Example:
        >>> import jax.numpy as jnp, optax, optax_warmup as ow
        >>> rate = ow.warmup_constant(0.1, 2, offset=1)
        >>> optimizer = optax.chain(
        ...     optax.scale_by_adam(),
        ...     ow.scale_by_learning_rate(rate),
        ...     ow.decay_weights(ow.multiply(rate, 0.5)),
        ... )
        >>> params = jnp.array(2.0)
        >>> updates, state = optimizer.update(params, optimizer.init(params), params)
        >>> round(updates.item(), 4)  # -0.05 of Adam, and -0.05 * 0.5 * 2
        -0.1

    Source: I. Loshchilov and F. Hutter, "Decoupled Weight Decay Regularization", 2019,
    arXiv:1711.05101; A. Defazio, "Why Gradients Rapidly Increase Near the End of
    Training", 2025, arXiv:2506.02285 (AdamC); X. Wang and L. Aitchison, "How to Set
    AdamW's Weight Decay as You Scale Model and Dataset Size", 2024, arXiv:2405.13698
    (the time scale).
    """
    schedule = require_fraction(
        _OWNER,
        "decay",
        decay,
        "It is what one update takes from the parameters: a coefficient such as 0.1 is "
        "multiplied by the learning rate, multiply(rate, 0.1).",
    )

    def init_fn(params: optax.Params) -> DecayWeightsState:
        del params
        count, shown = start.counts()
        return DecayWeightsState(count, schedule(shown))

    def update_fn(
        updates: optax.Updates,
        state: DecayWeightsState,
        params: optax.Params | None = None,
        *,
        step: ArrayLike | None = None,
        **extra: Any,
    ) -> tuple[optax.Updates, DecayWeightsState]:
        del extra
        require_params(_OWNER, params)
        require_state(_OWNER, state, DecayWeightsState)
        count = clock(_OWNER, state.count, step)
        now = schedule(count)

        def shrunk(update: ArrayLike, param: ArrayLike) -> jax.Array:
            update, param = jnp.asarray(update), jnp.asarray(param)
            wide = jnp.promote_types(update.dtype, now.dtype)
            taken = now.astype(wide) * param.astype(wide)
            return (update.astype(wide) - taken).astype(update.dtype)

        updates = jax.tree.map(shrunk, updates, params)
        return updates, DecayWeightsState(optax.safe_increment(count), now)

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)
