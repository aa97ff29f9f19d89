"""Decays that never end (exponential) and decays in steps."""

from collections.abc import Sequence
from dataclasses import KW_ONLY
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from optax_warmup import _check
from optax_warmup._numerics import expm1, plus_product, quotient
from optax_warmup._schedules import clock as clocks
from optax_warmup._schedules.compose import join
from optax_warmup._schedules.modify import staircase
from optax_warmup._schedules.schedule import Schedule, constant
from optax_warmup.values._value import value


@value
class exponential_decay(Schedule):
    """The distance to a limit changes by the same factor every `steps` updates.

    value(step) = limit + (init_value - limit) * rate**(step / steps)

    It never ends; for an exponential curve from one value to another over a given
    length, use `transition` with `shapes.exponential`. To decay in stairs, wrap it in
    `staircase`; to begin later, in `delay`; to stop at a value, in `clip`.

    Args:
        init_value: the value at step 0, >= 0; may be traced.
        steps: updates over which the distance changes by `rate`, >= 1; may be traced.
            A rate close to 1 has few digits in float32: rather than rate=0.9999 with
            steps=1 say rate=0.5 with steps=6931.
        rate: the factor, > 0; above 1 the distance grows; may be traced.
        limit: what the value tends to, >= 0; may be traced. Above `init_value` it is
            approached from below, and then `rate` must not be above 1.

    Returns:
        A `Schedule`.

    Raises:
        TypeError: an argument is not a number.
        ValueError: a value is negative, NaN or infinite; `steps` is below 1 or not
            whole; `rate` is not above 0, or it drives the value below 0.

    Example:
        >>> import optax_warmup as ow
        >>> decay = ow.exponential_decay(1.0, steps=2, rate=0.25)
        >>> [decay(step).item() for step in range(5)]
        [1.0, 0.5, 0.25, 0.125, 0.0625]
    """

    init_value: ArrayLike
    _: KW_ONLY
    steps: ArrayLike
    rate: ArrayLike
    limit: ArrayLike = 0.0

    def __post_init__(self) -> None:
        owner = "exponential_decay"
        self._set(
            init_value=_check.rate(owner, "init_value", self.init_value),
            steps=_check.length(owner, "steps", self.steps, minimum=1),
            rate=_check.number(owner, "rate", self.rate, above=0),
            limit=_check.rate(owner, "limit", self.limit),
        )
        known = not any(map(_check.is_traced, (self.rate, self.init_value, self.limit)))
        if known and np.any(
            (np.asarray(self.rate) > 1)
            & (np.asarray(self.limit) > np.asarray(self.init_value))
        ):
            raise ValueError(
                f"{owner}: rate must be <= 1 where limit > init_value, got "
                f"rate={self.rate!r}; the value would fall below 0. For a value that "
                "grows leave the limit at 0."
            )

    def _at(self, clock: Any) -> jax.Array:
        steps = jnp.maximum(clocks.minus(self.steps, 0), 1)
        rate = clocks.as_value(self.rate)
        start, limit = clocks.as_value(self.init_value), clocks.as_value(self.limit)
        # A whole power is right to the last digit where exp(n log(rate)) is not.
        clock = clocks.minus(clock, 0)
        whole, part = jnp.divmod(clock, steps.astype(jnp.int32).astype(clock.dtype))
        whole, part = clocks.as_value(whole), clocks.as_value(part)
        part = quotient(part, clocks.as_value(steps))
        remaining = jnp.minimum(rate**whole * rate**part, _largest(rate))
        # Near its start the rise to a limit is the small difference from 1.
        gone = -expm1((whole + part) * jnp.log(rate))
        gone = jnp.where(remaining > 0.5, gone, 1 - remaining)
        rising = plus_product(start, limit - start, jnp.maximum(gone, 0))
        falling = plus_product(limit, start - limit, remaining)
        falling = jnp.where(remaining < 1, jnp.minimum(falling, start), falling)
        falling = jnp.where(remaining == 1, start, falling)
        falling = jnp.clip(falling, 0, _largest(rate))
        return jnp.where(limit > start, jnp.clip(rising, start, limit), falling)


def _largest(x: jax.Array) -> float:
    return float(jnp.finfo(x.dtype).max)


def step_decay(init_value: ArrayLike, *, steps: ArrayLike, rate: ArrayLike) -> Schedule:
    """Falls by the same factor after every so many updates, and is constant between.

    value(step) = init_value * rate**floor(step / steps)

    The update at step `steps` is the first one with the second value.

    Args:
        init_value: the value at step 0, >= 0; may be traced.
        steps: updates with the same value, >= 1; may be traced.
        rate: the factor, > 0; may be traced.

    Returns:
        A `Schedule`.

    Raises:
        TypeError: an argument is not a number.
        ValueError: a value is negative, NaN or infinite; `steps` is below 1 or not
            whole; `rate` is not above 0.

    Example:
        >>> import optax_warmup as ow
        >>> decay = ow.step_decay(1.0, steps=2, rate=0.5)
        >>> [decay(step).item() for step in range(5)]
        [1.0, 1.0, 0.5, 0.5, 0.25]
    """
    owner = "step_decay"
    init_value = _check.rate(owner, "init_value", init_value)
    steps = _check.length(owner, "steps", steps, minimum=1)
    rate = _check.number(owner, "rate", rate, above=0)
    return staircase(exponential_decay(init_value, steps=steps, rate=rate), steps)


def multistep(
    init_value: ArrayLike, milestones: Sequence[tuple[ArrayLike, ArrayLike]]
) -> Schedule:
    """Takes another constant value at each milestone.

    value(step) = init_value * factor of the last milestone <= step

    A milestone acts at its own step: the update with that number of completed updates
    is the first one with the new value, as in optax and torch. (Keras is one update
    later, timm one earlier.) The factors are absolute: each is of `init_value`, not of
    the value before it.

    Args:
        init_value: the value before the first milestone, >= 0; may be traced.
        milestones: (step, factor) in increasing order: the step at which the value
            becomes init_value * factor, which may be traced, and the factor, >= 0.

    Returns:
        A `Schedule`.

    Raises:
        TypeError: a milestone is not such a pair, or an argument is not a number.
        ValueError: no milestone; they do not increase; a number is negative, NaN or
            infinite, or a step not whole.

    Example:
        >>> import optax_warmup as ow
        >>> decay = ow.multistep(1.0, [(2, 0.5), (3, 0.25)])
        >>> [decay(step).item() for step in range(5)]
        [1.0, 1.0, 0.5, 0.25, 0.25]
    """
    owner = "multistep"
    init_value = _check.rate(owner, "init_value", init_value)
    if not isinstance(milestones, list | tuple) or not milestones:
        raise _bad_milestones("milestones", milestones)
    phases, begin, name, level = [], 0, "0", init_value
    for index, milestone in enumerate(milestones):
        where = f"milestones[{index}]"
        if not isinstance(milestone, list | tuple) or len(milestone) != 2:
            raise _bad_milestones(where, milestone)
        step = _check.length(owner, f"{where} step", milestone[0])
        factor = _check.rate(owner, f"{where} factor", milestone[1])
        steps = _check.difference(owner, f"{where} step", step, name, begin)
        phases.append((steps, constant(level)))
        begin, name, level = step, f"{where} step", _product(init_value, factor)
    return join(phases, constant(level))


def _product(x: ArrayLike, y: ArrayLike) -> ArrayLike:
    if isinstance(x, float) and isinstance(y, float):
        return min(x * y, float(np.finfo(np.float32).max))
    return clocks.as_value(x) * clocks.as_value(y)


def _bad_milestones(name: str, got: Any) -> Exception:
    error = ValueError if isinstance(got, list | tuple) else TypeError
    return error(
        "multistep: milestones must be a list of (step, factor), one at least; "
        f"{name} is {got!r}."
    )
