"""A decay turned into a growing batch."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from optax_warmup import _check
from optax_warmup._schedules.batch_size import growing_batch
from optax_warmup._schedules.combine import join, multiply
from optax_warmup._schedules.schedule import (
    Schedule,
    ScheduleLike,
    as_schedule,
    constant,
    known_values,
)

_OWNER = "seesaw"
_MOST = 2**24  # updates of the schedule that are looked at


class Seesaw(NamedTuple):
    """What `seesaw` returns.

    Attributes:
        learning_rate: the learning rate of each update.
        batch_size: the examples of each update.
        total_steps: the updates of the run.

    Example:
        >>> import optax_warmup as ow
        >>> ow.seesaw(ow.constant(0.1), 100, batch_size=32, largest=256)
        Seesaw(learning_rate=constant(0.1), batch_size=constant(32.0), total_steps=100)
    """

    learning_rate: Schedule
    batch_size: Schedule
    total_steps: int


def seesaw(
    schedule: ScheduleLike,
    total_steps: int,
    *,
    batch_size: int,
    largest: int,
    factor: int = 2,
    power: float = 0.5,
) -> Seesaw:
    """Turns a decay into a growing batch: the same data in fewer updates.

    Whenever the schedule has fallen by another `factor` since its peak, the batch
    becomes `factor` times as large, and the learning rate is multiplied by
    factor**power. The schedule's clock follows the data: after k such steps,

    batch = batch_size * factor**k
    rate = schedule(examples so far / batch_size) * factor**(k * power)

    To first order the noise of the updates falls as under the decay. The power is 1/2
    for Adam and other normalized updates, and 1 for SGD, whose rate then goes up and
    down like a seesaw. It holds as long as the batch is below the critical one. Beyond
    `largest` the rate falls alone.

    Args:
        schedule: the learning rate for a constant batch, with a decay; what comes
            before its last peak, such as a warmup, stays as it is.
        total_steps: updates of the run with the constant batch, >= 1.
        batch_size: examples per update at the start, a whole number >= 1.
        largest: the batch size that it may not exceed, such as the critical one or
            what the machine can hold.
        factor: of the batch, a whole number >= 2.
        power: of the batch's factor, by which the rate is raised, in [0, 1].

    Returns:
        A `Seesaw`: the learning rate and the batch size as schedules of the new
        updates, and how many these are. Phases are rounded to whole updates, by which
        the examples of the run change by less than its largest batch.

    Raises:
        TypeError: an argument is not a number, or `schedule` not a schedule.
        ValueError: a number is out of its range, or `largest` is below `batch_size`.

    Example:
        >>> import optax_warmup as ow
        >>> decay = ow.warmup_cosine(1e-3, 1000, 16_000)
        >>> run = ow.seesaw(decay, 16_000, batch_size=256, largest=2048)
        >>> run.total_steps
        10569
        >>> [run.batch_size(step).item() for step in (0, 8_499, 8_500, 10_568)]
        [256.0, 256.0, 512.0, 2048.0]

    Source: A. Meterez et al., "Seesaw: Accelerating Training by Balancing Learning Rate
    and Batch Size Scheduling", 2025, arXiv:2510.14717, algorithm 1 and theorem 1.
    """
    rate = as_schedule(schedule, _OWNER, "schedule")
    total = _check.count(_OWNER, "total_steps", total_steps, minimum=1)
    size = _check.count(_OWNER, "batch_size", batch_size, minimum=1)
    factor = _check.count(_OWNER, "factor", factor, minimum=2)
    power = _check.scalar(_OWNER, "power", power, minimum=0, maximum=1)
    if total > _MOST:
        raise ValueError(
            f"{_OWNER}: total_steps must be at most {_MOST:,}, got {total:,}."
        )
    largest = _check.count(_OWNER, "largest", largest, minimum=1)
    _check.ordered(_OWNER, "batch_size", size, "largest", largest)
    lengths = _lengths(rate, total, size, factor, largest)
    if len(lengths) == 1:
        return Seesaw(rate, constant(float(size)), total)
    sizes = _in_phases(lengths, [float(size * factor**k) for k in range(len(lengths))])
    raises = _in_phases(lengths, [factor ** (k * power) for k in range(len(lengths))])
    followed = growing_batch(rate, sizes, base=size)
    return Seesaw(multiply(followed, raises), sizes, sum(lengths))


def _lengths(
    rate: Schedule, total: int, size: int, factor: int, largest: int
) -> list[int]:
    """The updates of each phase; phase k has the batch size * factor**k."""
    values = known_values(_OWNER, "schedule", rate, np.arange(total, dtype=np.int32))
    peak = total - 1 - int(np.argmax(values[::-1]))
    lengths: list[int] = []
    begin = examples = 0
    while size * factor ** (len(lengths) + 1) <= largest:
        grown = factor ** (len(lengths) + 1)
        low = np.flatnonzero(values[peak:] <= values[peak] / grown)
        # A phase that would not see one batch is no phase.
        if not len(low) or total - (peak + low[0]) < grown:
            break
        begin = peak + int(low[0])
        current = size * factor ** len(lengths)
        # Rounded up: the batch does not grow before the schedule has fallen.
        lengths.append(math.ceil((begin * size - examples) / current))
        examples += lengths[-1] * current
    current = size * factor ** len(lengths)
    return [*lengths, round((total * size - examples) / current)]


def _in_phases(lengths: list[int], values: list[float]) -> Schedule:
    """A schedule with a constant value in each phase."""
    return join(list(zip(lengths, values[:-1], strict=False)), values[-1])
