"""Chains transitions."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np

from optax_warmup._numerics import where
from optax_warmup._schedules import clock as clocks
from optax_warmup._schedules.schedule import Schedule
from optax_warmup._schedules.transition import ramp, ramp_after
from optax_warmup.shapes._powers import linear
from optax_warmup.shapes._shape import ShapeLike
from optax_warmup.values._kinds import Length, Rate, Rows


class piecewise(Schedule):
    """Chains transitions without jumps, then holds the last value.

    In segment i, which starts where the one before it ended,
    value(step) = value[i-1] + (value[i] - value[i-1]) * shape[i](progress in segment i)

    Args:
        init_value: the value at step 0, >= 0; may be traced.
        segments: (steps, value) or (steps, value, shape) tuples in order: the length of
            the segment in updates, the value at its end, and its shape, by default
            linear.

    Returns:
        A `Schedule`.

    Raises:
        TypeError: a segment is not such a tuple, or an argument is not a number.
        ValueError: `segments` is empty; a value is negative, NaN or infinite; a length
            is negative or not whole.

    Example:
        >>> import optax_warmup as ow
        >>> trapezoid = ow.piecewise(0.0, [(2, 1.0), (3, 1.0), (2, 0.0)])
        >>> [trapezoid(step).item() for step in range(8)]
        [0.0, 0.5, 1.0, 1.0, 1.0, 1.0, 0.5, 0.0]
    """

    init_value: Rate
    segments: Annotated[
        Sequence[tuple[Any, ...]],
        Rows((("steps", Length), ("value", Rate), ("shape", ShapeLike)), (linear,)),
    ]

    def value_at(self, clock: Any) -> jax.Array:
        """Finds the segment first: one ramp then serves all shapes of a structure."""
        lengths, ends, shapes = zip(*self.segments, strict=True)
        starts = (self.init_value, *ends[:-1])
        clock = clocks.minus(clock, 0)
        begins = _sums_before(_stack(lengths))
        columns = (begins, _next(begins, clock), lengths, starts, ends, shapes)
        result: jax.Array | None = None
        for members in _by_structure(shapes):
            own = [[column[member] for member in members] for column in columns]
            here, value = _ramp_of(clock, *own, everywhere=len(members) == len(shapes))
            result = value if result is None else where(here, value, result)
        assert result is not None  # there is a segment
        return result

    def start_value(self) -> jax.Array:
        """The start of the first segment whose length is not 0.

        If all are, nothing is left of a run: not its end value, but its highest start,
        so that a warmup as long as the run rises to the peak.
        """
        lengths, ends, _ = zip(*self.segments, strict=True)
        starts = [clocks.as_value(x) for x in (self.init_value, *ends[:-1])]
        result = functools.reduce(jnp.maximum, starts)
        for steps, start in reversed([*zip(lengths, starts, strict=True)]):
            if clocks.is_above_zero(steps):
                result = start
            elif not clocks.is_zero(steps):
                result = where(clocks.minus(steps, 0) > 0, start, result)
        return result


def _by_structure(shapes: Sequence[Any]) -> list[list[int]]:
    """Groups the indices of shapes that differ only in their numbers."""
    groups: dict[Any, list[int]] = {}
    for index, shape in enumerate(shapes):
        groups.setdefault(jax.tree.structure(shape), []).append(index)
    return list(groups.values())


def _stack(numbers: Sequence[Any]) -> Any:
    """Stacks numbers on a new first axis; in NumPy, as a constant, if all are known."""
    xnp: Any = np if all(isinstance(x, np.ndarray) for x in numbers) else jnp
    return xnp.stack(xnp.broadcast_arrays(*map(xnp.asarray, numbers)))


# A begin that no int32 step reaches; the sums are unsigned to have room for it.
_NEVER = np.uint32(2**31)


def _sums_before(lengths: Any) -> Any:
    """The sum of the lengths before each segment, uint32, saturated at 2**31.

    Lengths that are traced as floats keep their dtype, and the sums a derivative.
    """
    if isinstance(lengths, np.ndarray):
        known = np.cumsum(lengths, axis=0, dtype=np.int64)
        known = np.minimum(known, np.int64(_NEVER))
        return np.concatenate([np.zeros_like(known[:1]), known[:-1]]).astype(np.uint32)
    if jnp.issubdtype(lengths.dtype, jnp.floating):
        sums = jnp.cumsum(lengths, axis=0)
    else:
        # Sum two halves of 16 bits, neither of which overflows.
        whole = lengths.astype(jnp.uint32)
        low = jnp.cumsum(whole & 0xFFFF, axis=0)
        high = jnp.cumsum(whole >> 16, axis=0) + (low >> 16)
        sums = jnp.where(high > 0x7FFF, _NEVER, (high << 16) | (low & 0xFFFF))
    return jnp.concatenate([jnp.zeros_like(sums[:1]), sums[:-1]])


def _next(begins: Any, clock: jax.Array) -> Any:
    """Where each segment ends, in the type in which clocks are compared with it."""
    exact = all(jnp.issubdtype(x.dtype, jnp.integer) for x in (clock, begins))
    dtype = np.dtype(np.uint32) if exact else jnp.result_type(float)
    never = np.asarray(_NEVER if exact else np.inf, dtype)
    xnp: Any = np if isinstance(begins, np.ndarray) else jnp
    begins = begins.astype(dtype)
    return xnp.concatenate([begins[1:], xnp.full_like(begins[:1], never)])


def _ramp_of(
    clock: jax.Array,
    begins: Sequence[Any],
    nexts: Sequence[Any],
    lengths: Sequence[Any],
    starts: Sequence[Any],
    ends: Sequence[Any],
    shapes: Sequence[Any],
    *,
    everywhere: bool,
) -> tuple[jax.Array, jax.Array]:
    """Whether the clock is in one of some segments, and the value there.

    The shapes have the same structure. `everywhere` says that these are all segments.
    """
    if len(lengths) == 1:
        elapsed = clocks.since(clock, begins[0])
        value = ramp(starts[0], ends[0], elapsed, lengths[0], shapes[0])
        return _is_within(clock, begins[0], nexts[0]), value
    now, begin, after, size = _aligned(
        clock[None], *map(_stack, (begins, nexts, lengths))
    )
    elapsed = clocks.until(clocks.minus(now, begin), size)
    left = clocks.minus(size, elapsed)
    here = _is_within(now, begin, after)
    times = map(clocks.as_value, (elapsed, left, size))
    numbers = [_stack(x) for x in zip(*map(jax.tree.leaves, shapes), strict=True)]
    marks = [] if everywhere else [clocks.as_value(here)]
    elapsed, left, steps, start, end, *picked = _pick(
        here, [*times, _stack(starts), _stack(ends), *numbers, *marks]
    )
    found = jnp.ones((), bool) if everywhere else picked.pop() > 0
    # Elsewhere those of the first segment are valid numbers.
    picked = [
        where(found, x, first[0]) for x, first in zip(picked, numbers, strict=True)
    ]
    shape = jax.tree.unflatten(jax.tree.structure(shapes[0]), picked)
    return found, ramp_after(start, end, elapsed, left, steps, shape)


def _is_within(clock: jax.Array, begin: Any, after: Any) -> jax.Array:
    clock = clock.astype(after.dtype)
    return jnp.asarray((clock >= begin.astype(after.dtype)) & (clock < after))


def _pick(here: jax.Array, columns: Sequence[Any]) -> list[jax.Array]:
    """The entry of each column for the segment that the clock is in, or else 0.

    It is picked by a sum with one nonzero term, which, unlike indexing, works for a
    clock of any sharding. Numbers without axes take one sum for all columns.
    """
    columns = [jnp.asarray(column) for column in columns]
    if any(column.ndim > 1 for column in (here, *columns)):
        pairs = (_aligned(here, column) for column in columns)
        return [_sum_where(marked, column, 0) for marked, column in pairs]
    picked: dict[int, jax.Array] = {}
    for dtype in dict.fromkeys(column.dtype for column in columns):
        of_it = [k for k, column in enumerate(columns) if column.dtype == dtype]
        table = jnp.stack([columns[k] for k in of_it])
        picked |= zip(of_it, _sum_where(here, table, 1), strict=True)
    return [picked[k] for k in range(len(columns))]


def _sum_where(here: jax.Array, numbers: jax.Array, axis: int) -> jax.Array:
    terms = where(here, numbers, jnp.zeros_like(numbers))
    return jnp.sum(terms, axis=axis, dtype=numbers.dtype)


def _aligned(*stacks: Any) -> list[Any]:
    """Pads the items of stacks to as many axes, so that they broadcast."""
    ndim = max(stack.ndim for stack in stacks)
    return [
        stack.reshape(stack.shape[0], *(1,) * (ndim - stack.ndim), *stack.shape[1:])
        for stack in stacks
    ]
