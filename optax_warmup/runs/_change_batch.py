"""A schedule for the rest of a run whose batch size changes."""

from __future__ import annotations

import math
from typing import Literal

from optax_warmup import _check
from optax_warmup._schedules.combine import multiply
from optax_warmup._schedules.delay import advance, delay
from optax_warmup._schedules.retime import retime
from optax_warmup._schedules.schedule import Schedule, ScheduleLike, as_schedule
from optax_warmup._schedules.switch import switch

_OWNER = "change_batch_size"
_RULES = {"linear": 1.0, "sqrt": 0.5, "none": 0.0}


def change_batch_size(
    schedule: ScheduleLike,
    begin: int,
    *,
    old: int,
    new: int,
    rule: Literal["linear", "sqrt", "none"],
    steps: int = 0,
) -> Schedule:
    """Returns the schedule of a run that goes on with another global batch size.

    for step < begin: schedule(step)
    from there on:    (new / old)**p * schedule(begin + (step - begin) * new / old)

    with p = 1 for the linear rule, 1/2 for the square root and 0 for none. The clock
    follows the data: an update with twice the batch moves it twice as far, so the
    warmup, the decay and the end come after the same number of examples as before, and
    a warmup that is under way goes on from where it is.

    The linear rule is that of SGD, as long as the batch is below the critical one; the
    square root is Adam's. Do not apply it where the batch per update stays the same, as
    with more devices and less accumulation: nothing changes there.

    Args:
        schedule: the schedule so far, in updates of `old` examples.
        begin: the first step with the new batch size, >= 0.
        old: examples per update so far, a whole number >= 1.
        new: examples per update from then on, a whole number >= 1.
        rule: how the rate follows the batch size.
        steps: length of a linear bridge to the new rate, in updates, >= 0.

    Returns:
        A `Schedule` of the step, which goes on counting all updates of the run.

    Raises:
        TypeError: an argument is not a number.
        ValueError: an argument is out of its range, or `rule` is unknown.

    Example:
        >>> import optax_warmup as ow
        >>> schedule = ow.warmup_linear(1.0, 100, 1000)
        >>> bigger = ow.runs.change_batch_size(
        ...     schedule, 50, old=256, new=512, rule="none"
        ... )
        >>> [round(bigger(step).item(), 3) for step in (49, 50, 60, 75, 525)]
        [0.49, 0.5, 0.7, 1.0, 0.0]

    Source: P. Goyal et al., "Accurate, Large Minibatch SGD", 2017, arXiv:1706.02677
    (linear); S. Malladi et al., "On the SDEs and Scaling Rules for Adaptive Gradient
    Algorithms", 2022, arXiv:2205.10287 (square root).
    """
    base = as_schedule(schedule, _OWNER, "schedule")
    begin = _check.count(_OWNER, "begin", begin)
    old = _check.count(_OWNER, "old", old, minimum=1)
    new = _check.count(_OWNER, "new", new, minimum=1)
    steps = _check.count(_OWNER, "steps", steps)
    if rule not in _RULES:
        raise ValueError(
            f"{_OWNER}: rule must be one of {', '.join(map(repr, _RULES))}, got "
            f"{rule!r}."
        )
    if new == old:
        return base
    common = math.gcd(old, new)
    updates = old // common if old > common else None
    rest = delay(retime(advance(base, begin), new // common, updates), begin)
    factor = (new / old) ** _RULES[rule]
    return switch(
        base,
        rest if factor == 1 else multiply(factor, rest),
        begin,
        steps=steps,
        allow_jump=True,
    )
