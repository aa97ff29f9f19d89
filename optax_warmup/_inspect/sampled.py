"""Where a schedule is evaluated: at every step, or where something happens."""

from typing import Any

import numpy as np

from optax_warmup._inspect.simulate import at_steps, sample_steps

# A jump is a change in one update by more than this fraction of the largest value ...
_JUMP_SHARE = 1e-3
# ... and by more than this multiple of the changes in the same direction around it.
_JUMP_RATIO = 4.0
_MOST = 2**22  # steps up to which all are evaluated
_BUSY = 2**16  # intervals in which something happens: beyond that, a grid shows little


def evaluated(
    owner: str,
    schedule: Any,
    steps: int,
    *,
    most: int | None = None,
    busy: int | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Evaluates all steps of a run, or in a long one a grid and where things happen.

    Intervals of the grid in which the value jumps, becomes 0 or has its top are halved
    until the step is known.

    Args:
        owner, schedule, steps: whose error it is, what is evaluated, and how far.
        most: steps up to which all are evaluated; by default four million.
        busy: intervals in which something may happen; by default 65,536.

    Returns:
        The steps in increasing order, int64, and their values, float64.

    Raises:
        ValueError: a value is not finite, or the value changes too often for a grid.
    """
    most, busy = most or _MOST, busy or _BUSY
    seen = _grid(steps, most)
    values = _finite(owner, schedule, seen)
    while len(seen) < steps:
        unclear = _unclear(seen, values)
        if not unclear.size:
            break
        if len(unclear) > busy:
            raise ValueError(
                f"{owner}: steps must be at most {most:,} for a schedule that changes "
                f"as often as {schedule!r}, got {steps:,}."
            )
        between = (seen[unclear] + seen[unclear + 1]) // 2
        more = _finite(owner, schedule, between)
        seen = np.insert(seen, unclear + 1, between)
        values = np.insert(values, unclear + 1, more)
    return seen, values


def warmup_end(values: np.ndarray) -> int:
    """Returns the index at which the first rise reaches its top."""
    falls = np.flatnonzero(np.diff(values) < 0)
    stretch = values[: falls[0] + 1] if len(falls) else values
    return int(np.argmax(stretch))


def jumps(seen: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Returns the indices at which the value jumps, from one step to the next."""
    return np.flatnonzero(_steep(seen, values) & (np.diff(seen) == 1)) + 1


def _grid(steps: int, most: int) -> np.ndarray:
    """Returns at most `most` steps, the first and the last included."""
    grid = sample_steps(steps, most).astype(np.int64)
    # Moved at random within their intervals: a grid of equal distances would show
    # nothing of a cycle whose period they are a multiple of.
    room = np.diff(grid[:-1], prepend=0)
    random = np.random.default_rng(0).random(len(room))
    grid[:-1] -= (random * room).astype(np.int64)
    return grid


def _finite(owner: str, schedule: Any, seen: np.ndarray) -> np.ndarray:
    values = at_steps(owner, schedule, seen.astype(np.int32)).astype(np.float64)
    bad = ~np.isfinite(values)
    if bad.any():
        first = int(np.argmax(bad))
        raise ValueError(
            f"{owner}: schedule must be finite at every step, got {values[first]} at "
            f"step {seen[first]:,} from {schedule!r}."
        )
    return values


def _unclear(seen: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Returns the intervals that hold a step of interest which is not known yet."""
    unclear = _steep(seen, values) | (np.diff((values == 0).astype(int)) != 0)
    for top in (int(np.argmax(values)), warmup_end(values)):
        unclear[max(top - 1, 0) : top + 1] = True
    return np.flatnonzero(unclear & (np.diff(seen) > 1))


def _steep(seen: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Returns in which intervals the value changes much faster than beside them."""
    change = np.diff(values)
    if len(change) < 2:
        return np.zeros(len(change), bool)  # nothing to compare a change with
    slope = change / np.diff(seen)
    # Only neighbouring changes in the same direction count: where a cycle falls at once
    # and rises again, the rise does not explain the fall.
    before, after = np.zeros_like(slope), np.zeros_like(slope)
    before[1:], after[:-1] = slope[:-1], slope[1:]
    around = np.maximum(before * np.sign(slope), after * np.sign(slope)).clip(min=0)
    large = np.abs(change) > _JUMP_SHARE * np.abs(values).max()
    steep: np.ndarray = large & (np.abs(slope) > _JUMP_RATIO * around)
    return steep
