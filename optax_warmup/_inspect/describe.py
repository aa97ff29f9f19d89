"""A schedule described: its peak, the end of its warmup, its jumps."""

from dataclasses import dataclass

import numpy as np

from optax_warmup._drawing import numbers
from optax_warmup._inspect.simulate import at_steps, length
from optax_warmup._schedules.schedule import ScheduleLike

# A jump is a change in one update by more than this fraction of the largest value ...
_JUMP_SHARE = 1e-3
# ... and by more than this multiple of the changes in the same direction around it.
_JUMP_RATIO = 4.0
_SHOWN = 3  # jumps that are listed in words; the others are counted


def number(x: float) -> str:
    return numbers.number(x, 4)


@dataclass(frozen=True)
class Description:
    """What `describe` found. Print it to see it in words.

    Attributes:
        steps: the number of updates that were evaluated, from step 0 on.
        first_value, last_value: the values of the first and of the last update.
        peak_value, peak_step: the largest value, and the first step that has it.
        warmup_end: the step at which the first rise reaches its top; 0 if the value
            does not rise before it falls.
        area: the sum of all values.
        zero_updates: the number of updates with value 0, which change no parameter.
        first_zero: the first step with value 0, or None.
        discontinuities: (step, value before, value at the step) for each jump.

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
    """Describes the first `steps` updates of a schedule.

    Every update is evaluated. A jump is a change between two updates by more than 0.1%
    of the largest value, and by more than four times the changes in the same direction
    right before and right after it. So a warmup of one step is a jump.

    Args:
        schedule: a schedule, any function of the step, or a number for a constant.
        steps: the number of updates, >= 1.

    Returns:
        A `Description`; print it.

    Raises:
        TypeError: the schedule is neither callable nor a number, or `steps` is not an
            integer.
        ValueError: `steps` is below 1 or not whole, or the schedule does not return one
            finite number per step.

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
    """Returns the index at which the first rise reaches its top."""
    falls = np.flatnonzero(np.diff(values) < 0)
    stretch = values[: falls[0] + 1] if len(falls) else values
    return int(np.argmax(stretch))


def _jumps(values: np.ndarray) -> np.ndarray:
    """Returns the indices at which the value jumps."""
    change = np.diff(values)
    if len(change) < 2:
        return np.zeros(0, int)  # nothing to compare a change with
    # Only neighbouring changes in the same direction count: where a cycle falls at once
    # and rises again, the rise does not explain the fall.
    before, after = np.zeros_like(change), np.zeros_like(change)
    before[1:], after[:-1] = change[:-1], change[1:]
    around = np.maximum(before * np.sign(change), after * np.sign(change)).clip(min=0)
    large = np.abs(change) > _JUMP_SHARE * np.abs(values).max()
    return np.flatnonzero(large & (np.abs(change) > _JUMP_RATIO * around)) + 1
