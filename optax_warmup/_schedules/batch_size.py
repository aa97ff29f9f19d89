"""Growing batch sizes, and schedules that follow the data seen so far."""

from __future__ import annotations

from dataclasses import KW_ONLY
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from optax_warmup import _check
from optax_warmup._numerics import where
from optax_warmup._schedules import clock as clocks
from optax_warmup._schedules.combine import join
from optax_warmup._schedules.round_to import round_to
from optax_warmup._schedules.schedule import (
    Schedule,
    ScheduleLike,
    as_schedule,
    constant,
)
from optax_warmup.values._checked import checked
from optax_warmup.values._kinds import Count

_LARGEST = 2**24  # a schedule's float32 values are exact integers up to here


class growing_batch(Schedule):
    """Makes a schedule follow the data seen so far, while the batch size grows.

    value(step) = schedule((examples in the updates before `step`) / base)

    Write the schedule as if every update used `base` examples, with its lengths in such
    updates; `steps_from(tokens=..., sequence_length=..., batch_size=base)` converts
    tokens to them. An update with a larger batch then moves the clock further in
    proportion, so that the value depends on the tokens seen and not on the number of
    updates. The clock is an exact integer, as `base` divides every size. It stops at
    2**31 - 1 updates of size `base` (9e15 tokens, for 1024 sequences of 4096).

    Args:
        schedule: a schedule in updates of size `base`, or a number for a constant.
        batch_size: examples per update, a whole number up to 2**24 or a `join` of such,
            each divisible by `base`. The lengths in the `join` may be traced.
        base: the batch size that the schedule is written for, a whole number >= 1.

    Returns:
        A `Schedule` of the step, the number of completed updates.

    Raises:
        TypeError: an argument has the wrong type, or `batch_size` is not a `join` of
            numbers.
        ValueError: a size is not a whole number from 1 to 2**24, or `base` does not
            divide it.

    Example:
        >>> import optax_warmup as ow
        >>> batch_size = ow.join([(2, 256), (2, 512)], last=1024)
        >>> schedule = ow.transition(0.0, 1.0, 10)  # 10 updates of 256 examples
        >>> schedule = ow.growing_batch(schedule, batch_size, base=256)
        >>> [round(schedule(step).item(), 1) for step in range(6)]
        [0.0, 0.1, 0.2, 0.4, 0.6, 1.0]

    Source: T. Brown et al., "Language Models are Few-Shot Learners", 2020,
    arXiv:2005.14165, appendix B (lengths in tokens while the batch size grows).
    """

    schedule: ScheduleLike
    batch_size: ScheduleLike
    _: KW_ONLY
    base: Count

    def __check_init__(self) -> None:
        phases, last = sizes_of("growing_batch", self.batch_size)
        _require_divisor("growing_batch", "base", self.base, phases, last)

    def value_at(self, clock: Any) -> jax.Array:
        clock = clocks.minus(clock, 0)
        ticks = jnp.zeros_like(clock)
        phases, last = _phases(self.batch_size)
        for steps, size in phases:
            ticks = self._advanced(ticks, clocks.until(clock, steps), size)
            clock = clocks.since(clock, steps)
        return as_schedule(self.schedule).value_at(self._advanced(ticks, clock, last))

    def _advanced(self, ticks: jax.Array, steps: jax.Array, size: Any) -> jax.Array:
        """ticks + steps * size / base, saturated at 2**31 - 1."""
        each = jnp.asarray(size).astype(jnp.int32) // clocks.minus(self.base, 0)
        each = jnp.maximum(each, 1).astype(ticks.dtype)
        end = jnp.asarray(_check.MAX_STEP, ticks.dtype)
        room = (end - ticks) // each
        return where(steps > room, end, ticks + jnp.minimum(steps, room) * each)

    def start_value(self) -> jax.Array:
        return as_schedule(self.schedule).start_value()


@checked()
def accumulation_steps(batch_size: ScheduleLike, *, microbatch_size: Count) -> Schedule:
    """Number of gradients to accumulate per update, as the batch size grows.

    value(step) = batch_size(step) / microbatch_size

    Pass it to `optax.MultiSteps(optimizer, every_k_schedule=...)`. Its step counts the
    updates, as that of a learning rate does, and not the gradients. The value is never
    0, at which MultiSteps silently stops updating. For a learning rate that follows the
    data, use `growing_batch` with the same `batch_size`.

    Args:
        batch_size: examples per update, a whole number up to 2**24 or a `join` of such,
            each divisible by `microbatch_size`.
        microbatch_size: examples per gradient, a whole number >= 1.

    Returns:
        A `Schedule` with int32 values >= 1.

    Raises:
        TypeError: an argument has the wrong type, or `batch_size` is not a `join` of
            numbers.
        ValueError: a size is not a whole number from 1 to 2**24, or `microbatch_size`
            does not divide it.

    Example:
        >>> import optax, optax_warmup as ow
        >>> batch_size = ow.join([(2, 256), (2, 512)], last=1024)
        >>> every_k = ow.accumulation_steps(batch_size, microbatch_size=256)
        >>> [every_k(step).item() for step in range(6)]
        [1, 1, 2, 2, 4, 4]
        >>> optimizer = optax.MultiSteps(optax.adam(1e-3), every_k)
    """
    owner, name = "accumulation_steps", "microbatch_size"
    phases, last = sizes_of(owner, batch_size)
    _require_divisor(owner, name, microbatch_size, phases, last)
    counts = [(steps, size // microbatch_size) for steps, size in phases]
    smallest = last // microbatch_size
    return round_to(join(counts, smallest) if counts else smallest)


def _require_divisor(
    owner: str, name: str, divisor: Any, phases: list[tuple[Any, Any]], last: Any
) -> None:
    for size in (*(size for _, size in phases), last):
        if _check.is_traced(size) or _check.is_traced(divisor):
            continue
        if np.any(np.asarray(size) % np.asarray(divisor)):
            raise ValueError(
                f"{owner}: {name} must divide every batch size, got {name}={divisor!r} "
                f"and a batch size of {size}; their greatest common divisor is "
                f"{np.gcd(size, divisor)}."
            )


def sizes_of(owner: str, batch_size: Any) -> tuple[list[tuple[Any, Any]], Any]:
    """Checks a batch size; returns its (steps, size) phases and its last size."""
    if not isinstance(batch_size, Schedule):
        return [], _size(owner, "batch_size", batch_size)
    parts = [part for _, part in getattr(batch_size, "phases", ())]
    parts.append(getattr(batch_size, "last", batch_size))
    if not all(isinstance(part, constant) for part in parts):
        raise TypeError(
            f"{owner}: batch_size must be a number or a join of numbers such as "
            f"join([(1000, 256)], last=512), got {batch_size!r}."
        )
    phases, last = _phases(batch_size)
    checked = [
        (steps, _size(owner, f"batch_size, phase {index},", size))
        for index, (steps, size) in enumerate(phases)
    ]
    return checked, _size(owner, "batch_size, last,", last)


def _phases(batch_size: Any) -> tuple[list[tuple[Any, Any]], Any]:
    phases = getattr(batch_size, "phases", ())
    last = getattr(batch_size, "last", batch_size)
    return [(steps, size.value) for steps, size in phases], last.value


def _size(owner: str, name: str, size: Any) -> Any:
    hint = "it is the number of examples per update"
    size = _check.length(owner, name, size, minimum=1, hint=hint)
    if not _check.is_traced(size) and np.any(np.asarray(size) > _LARGEST):
        raise ValueError(
            f"{owner}: {name} must be <= 2**24, got {size!r}; count examples, and pass "
            "the tokens per example as sequence_length."
        )
    return size
