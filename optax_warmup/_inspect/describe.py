"""A schedule in words: where it peaks, where its warmup ends, where it jumps."""

from dataclasses import dataclass

import numpy as np

from optax_warmup._drawing import numbers
from optax_warmup._inspect.simulate import at_steps, length
from optax_warmup._schedules.schedule import ScheduleLike

# A jump is a change in one update of more than this share of the greatest value ...
_JUMP_SHARE = 1e-3
# ... and more than this many times the like changes right before and right after it.
_JUMP_RATIO = 4.0
_SHOWN = 3  # jumps that are listed in words; the others are counted


def number(x: float) -> str:
    return numbers.number(x, 4)


@dataclass(frozen=True)
class Description:
    """What `describe` found; `str` says it in words.

    Attributes:
        steps: the updates looked at: 0, 1, ..., steps - 1.
        first_value, last_value: the values of the first and of the last update.
        peak_value, peak_step: the greatest value, and the first update that has it.
        warmup_end: the update at which the first rise reaches its top; 0 where the
            value does not rise before it falls.
        area: the sum of all the values.
        zero_updates: how many updates have the value 0, and so change nothing.
        first_zero: the first of them, or None.
        discontinuities: (step, value before, value at the step) where the value jumps.

    Example:
        >>> import optax_warmup as ow
        >>> found = ow.describe(ow.warmup_constant(1.0, 4), 10)
        >>> found.peak_step, found.area, found.first_zero
        (4, 7.5, 0)
    """

    steps: int
    first_value: float
    last_value: float
    peak_value: float
    peak_step: int
    warmup_end: int
    area: float
    zero_updates: int
    first_zero: int | None
    discontinuities: tuple[tuple[int, float, float], ...]

    def __str__(self) -> str:
        lines = {
            "updates": f"{self.steps:,}",
            "peak": f"{number(self.peak_value)} at step {self.peak_step:,}",
            "warmup": self._warmup(),
            "last value": f"{number(self.last_value)} at step {self.steps - 1:,}",
            "area": self._area(),
            "zero updates": self._zeros(),
            "jumps": self._jumps(),
        }
        width = max(map(len, lines))
        return "\n".join(f"{name:<{width}}  {text}" for name, text in lines.items())

    def _warmup(self) -> str:
        if self.warmup_end == 0:
            return "none"
        return f"from {number(self.first_value)}, ends at step {self.warmup_end:,}"

    def _area(self) -> str:
        if self.peak_value == 0:
            return "0"
        share = self.area / (self.peak_value * self.steps)
        return f"{number(self.area)}, {share:.1%} of a constant peak"

    def _zeros(self) -> str:
        if self.first_zero is None:
            return "none"
        return f"{self.zero_updates:,}, the first at step {self.first_zero:,}"

    def _jumps(self) -> str:
        if not self.discontinuities:
            return "none"
        shown = "; ".join(
            f"{number(before)} to {number(after)} at step {step:,}"
            for step, before, after in self.discontinuities[:_SHOWN]
        )
        more = len(self.discontinuities) - _SHOWN
        return f"{shown}; and {more:,} more" if more > 0 else shown


def describe(schedule: ScheduleLike, steps: int) -> Description:
    """What a schedule does in its first `steps` updates.

    Every update is looked at. The value is said to jump at a step where it changes from
    one update to the next by more than 0.1 % of its greatest value, and by more than
    four times what it moves the same way right before and right after; so a warmup of
    one step is a jump.

    Args:
        schedule: a schedule, any function of the step, or a number for a constant.
        steps: how many updates, >= 1.

    Returns:
        A `Description`; print it.

    Raises:
        TypeError: the schedule is neither callable nor a number, or `steps` no integer.
        ValueError: `steps` is below 1 or not whole; the schedule does not give one
            number a step, or gives NaN or infinity somewhere.

    Example:
        >>> import optax_warmup as ow
        >>> print(ow.describe(ow.warmup_cosine(3e-4, 2000, 100_000), 100_000))
        updates       100,000
        peak          3e-4 at step 2,000
        warmup        from 0, ends at step 2,000
        last value    7.707e-14 at step 99,999
        area          15, 50.0% of a constant peak
        zero updates  1, the first at step 0
        jumps         none
    """
    steps = length("describe", steps)
    values = at_steps("describe", schedule, np.arange(steps, dtype=np.int32))
    values = values.astype(np.float64)
    bad = ~np.isfinite(values)
    if bad.any():
        step = int(np.argmax(bad))
        raise ValueError(
            f"describe: schedule must be finite at every step, got {values[step]} at "
            f"step {step:,} from {schedule!r}."
        )
    zeros = np.flatnonzero(values == 0)
    peak = int(np.argmax(values))
    return Description(
        steps=steps,
        first_value=float(values[0]),
        last_value=float(values[-1]),
        peak_value=float(values[peak]),
        peak_step=peak,
        warmup_end=warmup_end(values),
        area=float(values.sum()),
        zero_updates=len(zeros),
        first_zero=int(zeros[0]) if len(zeros) else None,
        discontinuities=tuple(
            (int(step), float(values[step - 1]), float(values[step]))
            for step in _jumps(values)
        ),
    )


def warmup_end(values: np.ndarray) -> int:
    """The index at which the first stretch that never falls reaches its top."""
    falls = np.flatnonzero(np.diff(values) < 0)
    stretch = values[: falls[0] + 1] if len(falls) else values
    return int(np.argmax(stretch))


def _jumps(values: np.ndarray) -> np.ndarray:
    """The indices of the values that the value before does not lead to."""
    change = np.diff(values)
    if len(change) < 2:
        return np.zeros(0, int)  # nothing to compare a change with
    # Only a neighbour that moves the same way leads to the value: where a cycle falls
    # at once and rises again, the rise explains nothing.
    before, after = np.zeros_like(change), np.zeros_like(change)
    before[1:], after[:-1] = change[:-1], change[1:]
    led = np.maximum(before * np.sign(change), after * np.sign(change)).clip(min=0)
    large = np.abs(change) > _JUMP_SHARE * np.abs(values).max()
    return np.flatnonzero(large & (np.abs(change) > _JUMP_RATIO * led)) + 1
