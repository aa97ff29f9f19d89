"""On how many tasks a method loses no more than it may."""

from collections.abc import Callable, Sequence

from .arms import BY_NAME
from .cells import table
from .plan import Comparison, score
from .protocol import Number, Regret, regret

METHODS = "automatic", "with feedback", "none", "10 %", "first version"
# Mean regret and its largest at usable peaks, and what too high a peak costs.
GOALS: tuple[tuple[str, Callable[[Regret], Number], float], ...] = (
    ("up to 3x", lambda r: r.usable, 0.01),
    ("up to 3x", lambda r: r.usable, 0.03),
    ("largest", lambda r: r.largest, 0.03),
    ("10x", lambda r: r.tenfold, 0.05),
)
EXPLANATION = """\
Tasks on which a regret is at most the limit: by its mean, and in brackets by its mean
minus two standard errors.
"""


def section(comparisons: Sequence[Comparison]) -> str:
    head = ["method", *(f"{name} ≤ {limit:g}" for name, _, limit in GOALS)]
    rows, above = [], ""
    for method in METHODS:
        found = regrets(comparisons, method)
        cells = [method]
        for name, column, limit in GOALS:
            numbers = {task: column(each) for task, each in found.items()}
            cells.append(counted(numbers, limit))
            beyond = [task for task, x in numbers.items() if not near(x, limit)]
            if method in METHODS[:2] and beyond:
                above += f"- {method}, {name} > {limit:g}: {', '.join(beyond)}\n"
        rows.append(cells)
    more = f"\nAbove it by more than two standard errors:\n\n{above}" if above else ""
    return f"{EXPLANATION}\n{table(head, rows)}{more}"


def regrets(comparisons: Sequence[Comparison], method: str) -> dict[str, Regret]:
    """By task, where the method has run."""
    arm = BY_NAME[method]
    return {
        each.task.name: regret(
            score(each.scored(arm)), score(each.scored(BY_NAME["linear"]))
        )
        for each in comparisons
        if each.has(arm)
    }


def counted(numbers: dict[str, Number], limit: float) -> str:
    by_mean = sum(x.mean <= limit for x in numbers.values())
    by_error = sum(near(x, limit) for x in numbers.values())
    return f"{by_mean} ({by_error}) of {len(numbers)}"


def near(number: Number, limit: float) -> bool:
    return number.mean - 2 * number.error <= limit
