"""Plays schedules at another pace."""

from __future__ import annotations

from dataclasses import KW_ONLY
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np

from optax_warmup import _check
from optax_warmup._numerics import where
from optax_warmup._schedules import clock as clocks
from optax_warmup._schedules.integers import saturating_product, whole
from optax_warmup._schedules.schedule import Schedule, ScheduleLike, as_schedule
from optax_warmup._schedules.transition import ramp
from optax_warmup.shapes._powers import linear
from optax_warmup.values._kinds import Change, Length


class retime(Schedule):
    """Plays a schedule at another pace, as a whole or from a given step on.

    for step <= begin: schedule(step)
    from there on:     schedule(begin + (step - begin) * pace),
                       pace = (steps - begin) / (updates - begin)

    Update `updates` has the schedule's value at step `steps`. The value does not jump
    at `begin`. Between two steps of the schedule it is interpolated linearly.

    To extend a run from 1,000 to 1,500 updates, from update 400 on:
    `retime(schedule, 1000, 1500, begin=400)`. To play three steps in each update, which
    gives lengths that are fractions of an update: `retime(schedule, 3)`. To multiply
    all lengths of a schedule instead, use `stretch`.

    Args:
        schedule: the schedule to play, or a number (>= 0) for a constant.
        steps: a step of the schedule, >= begin; may be traced.
        updates: the update at which that step is reached, >= begin; may be traced. By
            default 1, which plays `steps` whole steps in each update and makes a
            simpler program.
        begin: the step from which on the pace changes, >= 0; may be traced.

    Returns:
        A `Schedule`. For a new decay from the value at a step, see `cooldown`; for
        another schedule from a step on, `switch`.

    Raises:
        TypeError: an argument is not a number, or `begin` is given without `updates`.
        ValueError: a length is negative or not whole, or `begin` is beyond `steps` or
            `updates`.

    Example:
        >>> import optax_warmup as ow
        >>> longer = ow.retime(ow.transition(1.0, 0.0, 4), 4, 6, begin=2)
        >>> [longer(step).item() for step in range(8)]
        [1.0, 0.75, 0.5, 0.375, 0.25, 0.125, 0.0, 0.0]
        >>> twice_as_fast = ow.retime(ow.transition(0.0, 1.0, 4), 2)
        >>> [twice_as_fast(step).item() for step in range(4)]
        [0.0, 0.5, 1.0, 1.0]
    """

    schedule: ScheduleLike
    steps: Length
    updates: Length | None = None
    _: KW_ONLY
    begin: Length = 0

    def __check_init__(self) -> None:
        if self.updates is None:
            if not self._is_from_the_start():
                raise TypeError(
                    "retime: begin needs updates as well; pass the update at which the "
                    f"schedule's step {self.steps!r} is reached."
                )
            return
        _check.difference("retime", "steps", self.steps, "begin", self.begin)
        _check.difference("retime", "updates", self.updates, "begin", self.begin)
        _require_something_left(self.schedule, self.steps, self.updates, self.begin)

    def _is_from_the_start(self) -> bool:
        return isinstance(self.begin, int) and self.begin == 0

    def _stretched(self, length: Change, time: Change) -> Self:
        # Inside a program `begin` is an array: without `updates` it is 0.
        if self.updates is not None and not self._is_from_the_start():
            return super()._stretched(length, time)
        # Then `steps` and `updates` only set a pace, which stays.
        inner = as_schedule(self.schedule)._stretched(length, time)
        return self._replaced(schedule=inner)

    def value_at(self, clock: Any) -> jax.Array:
        if self.updates is None:
            return self._at_whole_steps(clocks.minus(clock, 0))
        begin = clocks.minus(self.begin, 0)
        left = clocks.since(self.steps, begin)
        new_left = clocks.since(self.updates, begin)
        before, elapsed = clocks.until(clock, begin), clocks.since(clock, begin)
        if jnp.issubdtype(elapsed.dtype, jnp.floating):
            pace = clocks.as_value(left) / clocks.as_value(jnp.maximum(new_left, 1))
            played, rest = elapsed * pace.astype(elapsed.dtype), None
        else:
            played, rest = _times_ratio(elapsed, left, jnp.maximum(new_left, 1))
        # With no update left for them, all steps pass at once.
        at_once = (new_left == 0) & (clocks.minus(clock, begin) >= 0)
        played = where(at_once, left.astype(played.dtype), played)
        room = clocks.minus(_check.MAX_STEP, before)
        reached = before + clocks.until(played, room).astype(before.dtype)
        schedule = as_schedule(self.schedule)
        if rest is None:
            return schedule.value_at(reached)
        following = clocks.minus(clocks.until(reached, _check.MAX_STEP - 1), -1)
        # Both at once, so that the schedule is traced once.
        both = jax.vmap(schedule.value_at)(jnp.stack([reached, following]))
        value, next_value = both
        rest = where(at_once, 0, rest)
        return ramp(value, next_value, rest, jnp.maximum(new_left, 1), linear)

    def _at_whole_steps(self, clock: jax.Array) -> jax.Array:
        steps = whole(self.steps)
        if jnp.issubdtype(clock.dtype, jnp.integer):
            played = saturating_product(clock, steps)
        else:
            played = clock * steps.astype(clock.dtype)
        return as_schedule(self.schedule).value_at(played)

    def start_value(self) -> jax.Array:
        return as_schedule(self.schedule).start_value()


def _require_something_left(
    schedule: ScheduleLike, steps: Any, updates: Any, begin: Any
) -> None:
    """Refuses to spread nothing over more updates: a run that is already finished."""
    if any(_check.is_traced(x) for x in jax.tree.leaves((schedule, steps, updates))):
        return
    if _check.is_traced(begin) or np.any(np.asarray(updates) <= np.asarray(begin)):
        return
    problem = ""
    if np.any(np.asarray(steps) == np.asarray(begin)):
        problem = f"nothing of the schedule is left to play after step {begin}"
    elif np.any(np.asarray(begin) > 0):
        played = np.linspace(begin, steps, 9).astype(np.int64)
        with jax.ensure_compile_time_eval():  # also inside jit
            values = [np.asarray(as_schedule(schedule)(step)) for step in played]
        if not np.any(np.asarray(values)):
            problem = f"the schedule has ended: it is 0 from step {begin} to {steps}"
    if problem:
        raise ValueError(
            f"retime: {problem}, got steps={steps!r}, updates={updates!r}, "
            f"begin={begin!r}. To train a finished run for longer, go over to another "
            f"schedule: switch(schedule, new, {begin}, steps=...), or a new warmup, "
            f"switch(schedule, delay(warmup_cosine(...), {begin}), {begin})."
        )


def _times_ratio(
    n: jax.Array, numerator: jax.Array, denominator: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """n * numerator / denominator, exactly, as a quotient and a remainder.

    All are int32 >= 0; the quotient saturates at 2**31 - 1. The product has up to 62
    bits, more than int32 and float32 hold. So whole multiples of the denominator are
    taken out of n first, and the rest is multiplied and divided bit by bit.
    """
    times, n = n // denominator, n % denominator
    multiples = saturating_product(times, numerator)
    n, numerator, denominator = (
        x.astype(jnp.uint32) for x in (n, numerator, denominator)
    )
    whole, rest = jnp.zeros_like(n), jnp.zeros_like(n)
    for bit in range(30, -1, -1):
        # Doubling and adding n keeps rest < denominator < 2**31: no sum overflows.
        twice = rest + rest
        carry = (twice >= denominator).astype(jnp.uint32)
        whole, rest = whole + whole + carry, twice - carry * denominator
        more = rest + n * ((numerator >> bit) & 1)
        carry = (more >= denominator).astype(jnp.uint32)
        whole, rest = whole + carry, more - carry * denominator
    room = _check.MAX_STEP - multiples
    total = multiples + jnp.minimum(whole.astype(jnp.int32), room)
    return total, rest.astype(jnp.int32)
