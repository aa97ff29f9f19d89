"""The report: one table for each half of the tasks, from the kept runs alone."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np

from . import against_none, goals
from .arms import ARMS, BY_NAME, Arm
from .cells import signed, table
from .plan import MORE, SCORING, Comparison, arms_for, missing, score
from .protocol import Number, Regret, over_seeds, regret
from .store import Store
from .tasks import CHOOSING, HELD_OUT, Task

TITLE = "# How good warmup methods are\n\n"
INTRODUCTION = """\
Made by `python -m benchmarks.warmup_quality run --more-seeds`; `... report` writes it
again from `runs.jsonl`. Held-out losses after the last update, in nats, one standard
error over three or five seeds. Peaks are half a decade apart.

- Regret: a method's loss minus that of linear warmup, whose length was chosen at each
  peak on two other seeds, among 1, 3, 10, 30, 100 and 200 % of the run. Below 0 is
  better. A run that fails counts as the loss before training.
- "up to 3x": the mean over peaks up to three times the best one of linear warmup; at
  higher ones whatever limits the rate wins. "largest": of all peaks. "10x": the loss at
  ten times that best peak (at the highest one, if that is lower), minus the best loss
  of linear warmup.
- with feedback: `automatic_warmup(optimizer, feedback=True)`.
- prodigy and D-Adaptation have a learning rate of 1, and one loss for all peaks.
- Constants were chosen on tasks of the half "choosing"; none was changed after the
  others had run, but that linear-random, regression and zero-head ran twice. That
  feedback is off by default was decided after 27 tasks of both halves had run.
- A dash: not run.
"""

COLUMNS: tuple[tuple[str, Callable[[Regret], Number]], ...] = (
    ("up to 3x", lambda r: r.usable),
    ("largest", lambda r: r.largest),
    ("10x", lambda r: r.tenfold),
    ("all peaks", lambda r: r.all),
    ("best", lambda r: r.best),
)
# What the table "In short" shows of each method; docs/automatic.md has it, too.
SHORT = (
    ("automatic", (0, 1, 2)),
    ("with feedback", (0, 1, 2)),
    ("none", (0, 1)),
    ("10 %", (0, 1)),
    ("first version", (0, 1)),
)


def write(store: Store, tasks: Sequence[Task], folder: Path) -> str:
    """Writes report.md; returns its path and what is missing."""
    comparisons = [compared(task, store) for task in tasks]
    made = [x for x in comparisons if x.has(ARMS[0])]
    parts = [TITLE, INTRODUCTION, f"\n## In short\n\n{in_short(made)}"]
    parts.append(f"\n## How many tasks\n\n{goals.section(made)}")
    parts.append(f"\n## Against no warmup\n\n{against_none.section(made)}")
    for half in (CHOOSING, HELD_OUT):
        if chosen := [each for each in made if each.task.half == half]:
            parts.append(f"\n## Tasks: {half}\n\n{baseline(chosen)}")
            for name, column in COLUMNS:
                parts.append(f"\n### Regret: {name}\n\n{regrets(chosen, column)}")
    text = "".join(parts)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "report.md"
    path.write_text(text, encoding="utf-8")
    absent = [
        f"{each.task.name}: {arm.name}"
        for each in comparisons
        for arm in arms_for(each.task, tuple(BY_NAME))
        if not each.has(arm)
    ]
    return f"{path}\nNot run: {'; '.join(absent) or 'nothing'}"


def compared(task: Task, store: Store) -> Comparison:
    """With the most seeds that all methods were run with."""
    arms = arms_for(task, tuple(BY_NAME))
    complete = not any(missing(task, arm, store, MORE) for arm in arms)
    return Comparison(task, store, MORE if complete else SCORING)


def in_short(comparisons: Iterable[Comparison]) -> str:
    """One row a task: the regrets that matter most."""
    head = ["task", "half"]
    head += [f"{arm}: {COLUMNS[k][0]}" for arm, columns in SHORT for k in columns]
    rows = []
    for each in comparisons:
        linear = score(each.scored(ARMS[0]))
        cells = [
            cell(each, BY_NAME[arm], linear, COLUMNS[k][1])
            for arm, columns in SHORT
            for k in columns
        ]
        rows.append([each.task.name, each.task.half, *cells])
    return table(head, rows)


def baseline(comparisons: Iterable[Comparison]) -> str:
    rows = []
    for each in comparisons:
        linear, task = score(each.scored(ARMS[0])), each.task
        best = int(linear.mean(axis=1).argmin())
        length = each.chosen(ARMS[0])[best]
        loss = over_seeds(linear[best])
        rows.append(
            [task.name, task.optimizer, task.decay, str(task.steps)]
            + [signed(loss, ""), f"{task.peaks[best]:g}", f"{length:.0%}"]
            + [str(len(each.seeds))]
        )
    head = ["task", "optimizer", "decay", "updates"]
    return table([*head, "linear warmup, best loss", "peak", "length", "seeds"], rows)


def regrets(
    comparisons: Sequence[Comparison], column: Callable[[Regret], Number]
) -> str:
    rows = []
    for each in comparisons:
        linear = score(each.scored(ARMS[0]))
        cells = [cell(each, arm, linear, column) for arm in ARMS[1:]]
        rows.append([each.task.name, *cells])
    return table(["task", *(arm.name for arm in ARMS[1:])], rows)


def cell(
    each: Comparison,
    arm: Arm,
    linear: np.ndarray,
    column: Callable[[Regret], Number],
) -> str:
    if not arm.suits(each.task) or not each.has(arm):
        return "-"
    return signed(column(regret(score(each.scored(arm)), linear)))
