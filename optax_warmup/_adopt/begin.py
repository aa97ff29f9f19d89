"""States that begin at a step of a run."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from optax_warmup import _check, states
from optax_warmup._adopt.parts import Part, States
from optax_warmup._state.start import starting_at
from optax_warmup._state.step import is_rate_clock
from optax_warmup._transforms.arguments import require_optimizer

_CLOCKS = (
    states.ScaleByWarmupState,
    states.DecayWeightsState,
    optax.MultiStepsState,
)
CLOCK_FIELDS = ("count", "gradient_step")


def begin_at(
    optimizer: optax.GradientTransformation, params: optax.Params, step: ArrayLike
) -> optax.OptState:
    """Makes an optimizer's state at a step of a run whose own state was lost.

    The clocks of all schedules are at `step`, whatever holds them. The moments are
    fresh, and so are their counts, by which their bias is corrected. Since Adam's first
    updates after that are as rough as at the start, warm up again:
    rewarm(schedule, begin=step, steps=n).

    Args:
        optimizer: the optimizer, with the run's schedule.
        params: the parameters as they are now.
        step: updates done so far, >= 0; may be traced.

    Returns:
        A state as `optimizer.init` returns it.

    Raises:
        TypeError: `optimizer` is not a gradient transformation, or `step` not a number.
        ValueError: `step` is negative or not whole.

    Example:
        >>> import jax.numpy as jnp, optax, optax_warmup as ow
        >>> schedule = ow.rewarm(ow.warmup_cosine(1.0, 10, 100), begin=50, steps=5)
        >>> optimizer = optax.chain(
        ...     optax.scale_by_adam(), ow.scale_by_learning_rate(schedule)
        ... )
        >>> params, rates = jnp.ones(3), []
        >>> state = ow.runs.begin_at(optimizer, params, 50)
        >>> for _ in range(8):
        ...     _, state = optimizer.update(params, state, params)
        ...     rates.append(round(ow.learning_rate(state), 3))
        >>> rates
        [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.483, 0.465]
    """
    owner = "begin_at"
    inner = require_optimizer(owner, optimizer)
    step = _check.length(owner, "step", step)
    return made_at(inner, params, step, step, States(params))


def made_at(
    inner: Any, params: Any, step: ArrayLike, shown: ArrayLike, among: States
) -> Any:
    """A new state whose schedules are at a step."""
    with starting_at(step, shown):
        fresh = inner.init(params)

    def at_step(part: Part) -> dict[str, Any]:
        if not is_schedule_clock(part):
            return part.leaves
        # Each in a buffer of its own, so that all can be donated.
        clock = {
            name: jnp.array(step, dtype=part.leaves[name].dtype)
            for name in CLOCK_FIELDS
            if name in part.leaves
        }
        return part.leaves | clock

    return among.rebuilt(fresh, at_step)


def is_schedule_clock(part: Part) -> bool:
    """Whether it counts the run's updates, and not those that moments have seen."""
    return (
        is_rate_clock(part.node)
        or isinstance(part.node, _CLOCKS)
        or getattr(part.node, "_fields", ()) == ("count",)
    )
