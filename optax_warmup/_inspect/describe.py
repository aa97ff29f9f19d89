"""A schedule described: its peak, the end of its warmup, its jumps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from optax_warmup._drawing import notebook, numbers
from optax_warmup._inspect.sampled import evaluated, jumps, warmup_end
from optax_warmup._inspect.simulate import length_of
from optax_warmup._schedules.schedule import ScheduleLike
from optax_warmup.values._checked import names_arguments

_SHOWN = 3  # jumps that are listed in words; the others are counted


def number(x: float) -> str:
    return numbers.number(x, 4)


@dataclass(frozen=True)
class Description:
    """What `describe` found. Print it to see it in words; a notebook shows a table.

    Attributes:
        steps: the number of updates that are described, from step 0 on.
        first_value, last_value: the values of the first and of the last update.
        peak_value, peak_step: the largest value, and the first step that has it.
        warmup_end: the step at which the first rise reaches its top; 0 if the value
            does not rise before it falls.
        area: the sum of all values.
        zero_updates: the number of updates with value 0, which change no parameter.
        first_zero: the first step with value 0, or None.
        discontinuities: (step, value before, value at the step) for each jump.
        evaluated: how many steps were evaluated: all, or fewer in a run of more than
            four million updates, as `describe` explains.

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
    evaluated: int

    def __str__(self) -> str:
        lines = self._facts()
        width = max(map(len, lines))
        return "\n".join(f"{name:<{width}}  {text}" for name, text in lines.items())

    def as_table(self) -> str:
        """Returns the lines of `str` as an HTML table."""
        return notebook.table([], list(self._facts().items()), text=[1])

    @notebook.never_raises
    def _repr_html_(self) -> str:
        return notebook.output(self.as_table())

    def _facts(self) -> dict[str, str]:
        return {
            "updates": self._updates(),
            "peak": f"{number(self.peak_value)} at step {self.peak_step:,}",
            "warmup": self._warmup(),
            "last value": f"{number(self.last_value)} at step {self.steps - 1:,}",
            "area": self._area(),
            "zero updates": self._zeros(),
            "jumps": self._jumps(),
        }

    def _updates(self) -> str:
        if self.evaluated == self.steps:
            return f"{self.steps:,}"
        return f"{self.steps:,}, of which {self.evaluated:,} were evaluated"

    def _warmup(self) -> str:
        if self.warmup_end == 0:
            return "none"
        return f"from {number(self.first_value)}, ends at step {self.warmup_end:,}"

    def _area(self) -> str:
        if self.peak_value == 0:
            return "0"
        share = self.area / (self.peak_value * self.steps)
        about = "" if self.evaluated == self.steps else "about "
        return f"{about}{number(self.area)}, {share:.1%} of a constant peak"

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


@names_arguments
def describe(schedule: ScheduleLike, steps: int | None = None) -> Description:
    """Describes the first `steps` updates of a schedule.

    A jump is a change between two updates by more than 0.1% of the largest value, and
    by more than four times the changes in the same direction right before and right
    after it. So a warmup of one step is a jump.

    Every update is evaluated if there are at most 2**22 (four million). Of a longer run
    that many are evaluated, spread over the run, and further ones around the peak, the
    end of the warmup, the jumps and the zeros, whose steps are exact. What begins and
    ends between two evaluated steps is missed, and the area is an estimate.

    Args:
        schedule: a schedule, any function of the step, or a number for a constant.
        steps: the number of updates, >= 1. By default those of the whole schedule, if
            it is one of this library.

    Returns:
        A `Description`; print it.

    Raises:
        TypeError: the schedule is neither callable nor a number, or `steps` is not an
            integer, or is missing for what is not a schedule of this library.
        ValueError: `steps` is below 1 or not whole, the schedule does not return one
            finite number per step, or it changes too often for a run of more than 2**22
            updates.

    Example:
        >>> import optax_warmup as ow
        >>> print(ow.describe(ow.warmup_cosine(3e-4, 2000, 100_000)))
        updates       100,000
        peak          3e-4 at step 2,000
        warmup        from 0, ends at step 2,000
        last value    7.707e-14 at step 99,999
        area          15, 50.0% of a constant peak
        zero updates  1, the first at step 0
        jumps         none
    """
    steps = length_of("describe", schedule, steps, minimum=1)
    return described(steps, *evaluated("describe", schedule, steps))


def described(steps: int, seen: np.ndarray, values: np.ndarray) -> Description:
    """Describes `steps` updates by the values at those that were evaluated."""
    # The steps that an evaluated one stands for: itself, and those up to the next.
    stands_for = np.diff(seen, append=steps)
    zeros = np.flatnonzero(values == 0)
    peak = int(np.argmax(values))
    # The sum over all steps: linear between those that were evaluated.
    skipped = (np.diff(seen) - 1) * (values[1:] + values[:-1]) / 2
    return Description(
        steps=steps,
        first_value=float(values[0]),
        last_value=float(values[-1]),
        peak_value=float(values[peak]),
        peak_step=int(seen[peak]),
        warmup_end=int(seen[warmup_end(values)]),
        area=float(values.sum() + skipped.sum()),
        zero_updates=int(stands_for[zeros].sum()),
        first_zero=int(seen[zeros[0]]) if len(zeros) else None,
        discontinuities=tuple(
            (int(seen[i]), float(values[i - 1]), float(values[i]))
            for i in jumps(seen, values)
        ),
        evaluated=len(seen),
    )
