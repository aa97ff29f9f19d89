"""Shared helpers: argument checks, zero counters, a tree-wise `where`."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.typing import ArrayLike

from optax_warmup import _check
from optax_warmup._schedules import clock as clocks
from optax_warmup._schedules.schedule import Schedule, ScheduleLike, as_schedule

# Squares of what lies within fit float32 with room to spare.
LARGEST_VALUE = 1e18


def require_optimizer(owner: str, inner: Any) -> optax.GradientTransformationExtraArgs:
    """`inner` as a transform that takes any extra argument and passes it on."""
    if isinstance(inner, optax.MultiSteps):
        # Its gradient_transformation() does not say that it takes extra arguments.
        return optax.GradientTransformationExtraArgs(inner.init, inner.update)
    if not isinstance(inner, optax.GradientTransformation):
        raise TypeError(
            f"{owner}: inner must be an optax optimizer such as optax.adam(1e-3), got "
            f"{inner!r}."
        )
    return optax.with_extra_args_support(inner)


def require_state(owner: str, state: Any, kind: Any) -> Any:
    """Refuses the state of another optimizer, such as that without this wrapper."""
    if getattr(type(state), "_fields", ()) != kind._fields:
        found = type(state).__name__
        restored = isinstance(state, dict | list)
        raise TypeError(
            f"{owner}: update was given a {found} in place of its own "
            f"{kind.__name__}. "
            + (
                "It was restored as plain dicts and lists: "
                if restored
                else "If it is the state of this run under another optimizer, "
            )
            + "optax_warmup.adopt(optimizer, state, params) makes that of this one "
            "from it."
        )
    return state


def clock(owner: str, count: jax.Array, step: ArrayLike | None) -> jax.Array:
    """The step of an update: an outer clock's if it is given, else the own count."""
    if step is None:
        return count
    whole = jnp.issubdtype(jnp.result_type(step), jnp.integer)
    if jnp.ndim(step) or not whole:
        raise TypeError(
            f"{owner}: step must be one whole number, the updates done before this "
            f"one, got {step!r}."
        )
    return jnp.asarray(clocks.as_clock(step))


def require_params(owner: str, params: Any) -> None:
    """Refuses an update without the parameters."""
    if params is None:
        raise ValueError(
            f"{owner}: update needs params, as in optimizer.update(grads, state, "
            "params)."
        )


def require_fraction(
    owner: str, name: str, value: ScheduleLike, way_out: str
) -> Schedule:
    """A number or a schedule with values in [0, 1] as a schedule."""
    if not callable(value):
        _check.one(owner, name, value, "a number or a schedule")
        value = _check.number(owner, name, value, minimum=0, maximum=1)
    schedule = as_schedule(value, owner, name)
    steps = np.unique(np.concatenate([[0], 2 ** np.arange(31), [_check.MAX_STEP]]))
    try:
        with jax.ensure_compile_time_eval():  # also when this is called inside jit
            values = [np.ravel(np.asarray(schedule(int(k)))) for k in steps]
    except jax.errors.TracerArrayConversionError:
        return schedule  # a traced number has no value yet
    outside = np.array([np.max(np.abs(x - 0.5), initial=0) for x in values])
    if not np.all(outside <= 0.5 + 1e-6):
        worst = int(np.argmax(outside))  # NaN is the largest
        value = values[worst][np.argmax(np.abs(values[worst] - 0.5))]
        raise ValueError(
            f"{owner}: {name} must have values in [0, 1], got {schedule!r}, which is "
            f"{value:g} at step {steps[worst]:,}. {way_out}"
        )
    return schedule


def one_loss(owner: str, value: ArrayLike) -> jax.Array:
    """A loss as float32, shape ()."""
    loss = jnp.asarray(value, jnp.float32)
    if loss.shape != ():
        raise ValueError(
            f"{owner}: value must be one number, the loss of the whole batch, got "
            f"shape {loss.shape}; take its mean."
        )
    return loss


def require_value(owner: str, value: ArrayLike | None) -> tuple[jax.Array, jax.Array]:
    """A loss as a finite float32, and whether it was finite as given."""
    if value is None:
        raise ValueError(
            f"{owner}: update needs the loss, as in optimizer.update(grads, state, "
            "params, value=loss)."
        )
    value = one_loss(owner, value)
    finite = jnp.isfinite(value)
    value = jnp.clip(jnp.where(finite, value, 0.0), -LARGEST_VALUE, LARGEST_VALUE)
    return value, finite


def zeros(count: int, dtype: Any = jnp.int32) -> list[jax.Array]:
    """Scalar zeros for a new state, each in a buffer of its own so that all can be
    donated."""
    return [jnp.zeros((), dtype) for _ in range(count)]


def chosen(condition: jax.Array, yes: Any, no: Any) -> Any:
    """One tree or the other, without a branch.

    It costs nothing where one of them is a constant: XLA fuses the choice into what
    uses the leaves, which it cannot do with a conditional.
    """
    return jax.tree.map(lambda y, n: jnp.where(condition, y, n), yes, no)
