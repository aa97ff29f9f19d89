"""A longer run: what is left of a schedule, spread over another number of steps."""

from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from optax_warmup import _check
from optax_warmup._schedules import clock as clocks
from optax_warmup._schedules.ramps import ramp
from optax_warmup._schedules.schedule import Schedule, ScheduleLike, require_schedule
from optax_warmup._value import value
from optax_warmup.shapes._powers import linear


@value
class extend(Schedule):
    """Spreads what is left of a schedule over a longer run, or a shorter one.

    for step <= begin:           schedule(step)
    for step <= new_total_steps: schedule(begin + (step - begin) * (total_steps - begin)
                                          / (new_total_steps - begin))
    and from there on the schedule goes on from `total_steps`.

    The value does not jump at `begin`, and ends where the schedule does. Between two
    steps of the schedule the value is that of the line between them.

    Args:
        schedule: the schedule of the run, or a number (>= 0) for a constant.
        begin: the step from which on it is spread, >= 0; may be traced.
        total_steps: where the schedule ends, >= begin; may be traced.
        new_total_steps: where the longer run ends, >= begin; may be traced.

    Returns:
        A `Schedule`. For a new decay from the value at a step, whatever the schedule,
        see `cooldown`; for another schedule from a step on, `resume`.

    Raises:
        TypeError: an argument is not a number.
        ValueError: a length is negative or not whole, or `begin` is beyond one of the
            totals.

    Example:
        >>> import optax_warmup as ow
        >>> schedule = ow.extend(ow.transition(1.0, 0.0, 4), 2, 4, new_total_steps=6)
        >>> [schedule(step).item() for step in range(8)]
        [1.0, 0.75, 0.5, 0.375, 0.25, 0.125, 0.0, 0.0]
    """

    schedule: ScheduleLike
    begin: ArrayLike
    total_steps: ArrayLike
    new_total_steps: ArrayLike

    def __post_init__(self) -> None:
        owner = "extend"
        begin = _check.length(owner, "begin", self.begin)
        total = _check.length(owner, "total_steps", self.total_steps)
        new = _check.length(owner, "new_total_steps", self.new_total_steps)
        _check.difference(owner, "total_steps", total, "begin", begin)
        _check.difference(owner, "new_total_steps", new, "begin", begin)
        schedule = require_schedule(owner, "schedule", self.schedule)
        self._set(
            schedule=schedule, begin=begin, total_steps=total, new_total_steps=new
        )

    def _at(self, clock: Any) -> jax.Array:
        begin = clocks.minus(self.begin, 0)
        left = clocks.since(self.total_steps, begin)
        new_left = clocks.since(self.new_total_steps, begin)
        before = clocks.until(clock, begin)
        elapsed = clocks.until(clocks.since(clock, begin), new_left)
        after = clocks.since(clock, self.new_total_steps)
        if jnp.issubdtype(elapsed.dtype, jnp.floating):
            ratio = clocks.as_value(left) / clocks.as_value(jnp.maximum(new_left, 1))
            spread, rest = elapsed * ratio.astype(elapsed.dtype), None
        else:
            spread, rest = _times_ratio(elapsed, left, jnp.maximum(new_left, 1))
        # With no length to spread over, the schedule is past its end at once.
        spread = jnp.where(
            (new_left == 0) & (clocks.minus(clock, begin) >= 0),
            left.astype(spread.dtype),
            spread,
        )
        # before + spread <= total_steps; only what comes after could overflow.
        reached = before + spread.astype(before.dtype)
        room = clocks.minus(_check.MAX_STEP, reached)
        reached = reached + clocks.until(after, room).astype(reached.dtype)
        value = self.schedule._at(reached)
        if rest is None:
            return value
        next_value = self.schedule._at(
            clocks.minus(clocks.until(reached, _check.MAX_STEP - 1), -1)
        )
        return ramp(value, next_value, rest, jnp.maximum(new_left, 1), linear)


def _times_ratio(
    n: jax.Array, numerator: jax.Array, denominator: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """n * numerator / denominator as a whole part and what remains, exactly.

    All are int32, 0 <= n <= denominator. The product has up to 62 bits, which int32 and
    float32 do not hold: it is formed bit by bit, as a quotient and a remainder.
    """
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
    return whole.astype(jnp.int32), rest.astype(jnp.int32)
