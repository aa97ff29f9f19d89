"""Chains transitions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np

from optax_warmup._numerics import where
from optax_warmup._schedules import clock as clocks
from optax_warmup._schedules.schedule import Schedule
from optax_warmup._schedules.transition import ramp
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
        begins = _sums_before(_stack(lengths))
        clock = clocks.minus(clock, 0)
        index = jnp.sum(_reached(clock, begins[1:]), axis=0)
        result: jax.Array | None = None
        for members in _by_structure(shapes):
            segment = _Segment(index, members)
            value = ramp(
                segment.pick(starts),
                segment.pick(ends),
                clocks.since(clock, segment.pick(begins)),
                segment.pick(lengths),
                segment.shape(shapes),
            )
            result = value if result is None else where(segment.here, value, result)
        assert result is not None  # there is a segment
        return result

    def start_value(self) -> jax.Array:
        """The start of the first segment whose length is not 0, or of the last one.

        As in `transition`: if nothing is left of a run, not its end value.
        """
        lengths, ends, _ = zip(*self.segments, strict=True)
        starts = (self.init_value, *ends[:-1])
        result = clocks.as_value(starts[-1])
        for steps, start in [*zip(lengths, starts, strict=True)][-2::-1]:
            if clocks.is_above_zero(steps):
                result = clocks.as_value(start)
            elif not clocks.is_zero(steps):
                there = clocks.minus(steps, 0) > 0
                result = where(there, clocks.as_value(start), result)
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


def _reached(clock: jax.Array, begins: Any) -> jax.Array:
    """Whether the clock has reached each begin, on a new first axis."""
    ndim = max(clock.ndim, begins.ndim - 1)
    clock, begins = _aligned(clock[None], ndim), _aligned(begins, ndim)
    begins = jnp.asarray(begins)
    floating = any(jnp.issubdtype(x.dtype, jnp.floating) for x in (clock, begins))
    left = clocks.minus(clock, begins) if floating else clock.astype(jnp.uint32)
    return left >= (0 if floating else begins)


class _Segment:
    """The segment that the clock is in, if it is one of `members`.

    A number is picked by a sum with one nonzero term, which, unlike indexing, works for
    a clock of any sharding. If the clock is in no member, the first one is picked, so
    that the numbers are valid ones.

    Attributes:
        here: whether the clock is in one of the members.
    """

    def __init__(self, index: jax.Array, members: list[int]) -> None:
        numbers = _aligned(np.asarray(members), index.ndim)
        marked = index[None] == numbers
        self.here = jnp.any(marked, axis=0)
        self._marked = marked | (~self.here[None] & (numbers == members[0]))
        self._members = members

    def pick(self, numbers: Any) -> jax.Array:
        """The entry of this segment, from one for each of all segments."""
        return self._pick([numbers[member] for member in self._members])

    def shape(self, shapes: Sequence[Any]) -> Any:
        """The shape of this segment; the members' shapes have the same structure."""
        own = [shapes[member] for member in self._members]
        return jax.tree.map(lambda *numbers: self._pick(numbers), *own)

    def _pick(self, numbers: Sequence[Any]) -> jax.Array:
        stacked = _stack(numbers)
        ndim = max(self._marked.ndim, stacked.ndim) - 1
        aligned = jnp.asarray(_aligned(stacked, ndim))
        terms = where(_aligned(self._marked, ndim), aligned, jnp.zeros_like(aligned))
        return jnp.sum(terms, axis=0, dtype=aligned.dtype)


def _aligned(stacked: Any, ndim: int) -> Any:
    """Pads the items of a stack to `ndim` axes, so that they broadcast."""
    padding = (1,) * (ndim - stacked.ndim + 1)
    return stacked.reshape(stacked.shape[0], *padding, *stacked.shape[1:])
