"""Where a method loses against no warmup, at peaks at which no warmup trains."""

from collections.abc import Sequence

from .arms import BY_NAME
from .cells import signed, table
from .plan import Comparison, score
from .protocol import (
    NEAR,
    Excess,
    excess,
    half_of_the_way,
    near_the_best,
)

LIMIT = 0.1  # nats; a loss above it is a failure
METHODS = "automatic", "with feedback", "10 %"
EXPLANATION = f"""\
A method's loss minus that of no warmup with the same seed, at the peak at which it is
the largest of those at which no warmup trains. First: those at which no warmup ends
within {NEAR} nats of the task's best loss. Then, with "half": also those at which it
came half of the way from the loss before training to the best one. The number in
brackets is the peak.
"""


def section(comparisons: Sequence[Comparison]) -> str:
    """The table, and in words where the loss is above the limit."""
    head = ["task", "peaks", *METHODS, "half: peaks", *(f"half: {m}" for m in METHODS)]
    rows: list[list[str]] = []
    failed: dict[tuple[bool, str], list[str]] = {
        (half, name): [] for half in (False, True) for name in METHODS
    }
    complete = [each for each in comparisons if has_runs(each)]
    for each in complete:
        cells = [each.task.name]
        for half in (False, True):
            found = {name: against(each, name, half) for name in METHODS}
            first = found[METHODS[0]]
            cells.append(f"{first.peaks if first else 0} of {len(each.task.peaks)}")
            for name, one in found.items():
                cells.append(said(each, one))
                if one and one.number.mean > LIMIT:
                    failed[half, name].append(each.task.name)
        rows.append(cells)
    verdicts = "".join(
        f"- {name}{', half' if half else ''}: {verdict(tasks, len(rows))}\n"
        for (half, name), tasks in failed.items()
    )
    return f"{EXPLANATION}\n{table(head, rows)}\n{verdicts}"


def has_runs(each: Comparison) -> bool:
    names = "linear", "none", *METHODS
    return all(each.has(BY_NAME[name]) for name in names)


def against(each: Comparison, method: str, half: bool) -> Excess | None:
    plain = each.scored(BY_NAME["none"])
    none, linear = score(plain), score(each.scored(BY_NAME["linear"]))
    trains = near_the_best(none, linear)
    if half:
        trains |= half_of_the_way(none, linear, plain.initial)
    return excess(score(each.scored(BY_NAME[method])), none, trains)


def said(each: Comparison, one: Excess | None) -> str:
    if one is None:
        return "-"
    return f"{signed(one.number)} ({each.task.peaks[one.row]:g})"


def verdict(tasks: Sequence[str], count: int) -> str:
    """In words; docs/automatic.md says the same."""
    where = f" ({', '.join(tasks)})" if tasks else ""
    return f"more than {LIMIT} worse on {len(tasks)} of {count} tasks{where}"
