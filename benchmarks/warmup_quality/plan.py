"""Which runs a comparison needs, and making those that are missing."""

import ast
import dataclasses
import functools
import hashlib
import inspect
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .arms import BY_NAME, Arm
from .store import Key, Store
from .tasks import Task
from .train import Outcome, train

# Lengths are chosen on some seeds, and everything is scored on others.
SELECTION, SCORING = (0, 1), (2, 3, 4)
MORE = (2, 3, 4, 5, 6)


def score(outcome: Outcome) -> np.ndarray:
    """min(loss, loss before training); after NaN the loss before training."""
    scores: np.ndarray = np.fmin(outcome.loss, outcome.initial)
    return scores


class Comparison:
    """The runs of one task. What is not in the store is made when it is asked for."""

    def __init__(self, task: Task, store: Store, seeds: Sequence[int] = SCORING):
        self.task, self.store, self.seeds = task, store, tuple(seeds)

    def outcome(
        self, arm: Arm, seeds: Sequence[int], lengths: Sequence[float]
    ) -> Outcome:
        key = self.key(arm, seeds, lengths)
        if key not in self.store.kept:
            peaks = (1.0,) if arm.one_peak else self.task.peaks
            self.store.add(key, train(self.task, arm, peaks, seeds, lengths))
        return self.store.kept[key]

    def key(self, arm: Arm, seeds: Sequence[int], lengths: Sequence[float]) -> Key:
        mark = fingerprint(self.task, arm)
        return self.task.name, arm.name, tuple(lengths), tuple(seeds), mark

    def has(self, arm: Arm) -> bool:
        """Whether the runs for `scored` are all in the store."""
        return not missing(self.task, arm, self.store, self.seeds)

    def scored(self, arm: Arm) -> Outcome:
        """A method with its best length at each peak, on the seeds for scoring."""
        return self.outcome(arm, self.seeds, self.chosen(arm))

    def chosen(self, arm: Arm) -> tuple[float, ...]:
        rows = 1 if arm.one_peak else len(self.task.peaks)
        if len(arm.lengths) == 1:
            return arm.lengths * rows
        losses = [
            score(self.outcome(arm, SELECTION, [length] * rows)).mean(axis=1)
            for length in arm.lengths
        ]
        return tuple(arm.lengths[k] for k in np.argmin(losses, axis=0))


def missing(task: Task, arm: Arm, store: Store, seeds: Sequence[int]) -> bool:
    """Whether a method's runs on a task are not all in the store."""

    class Unmade(Exception):
        pass

    class Kept(Comparison):
        def outcome(self, *arguments: Any) -> Outcome:
            if self.key(*arguments) not in self.store.kept:
                raise Unmade
            return super().outcome(*arguments)

    try:
        Kept(task, store, seeds).scored(arm)
    except Unmade:
        return True
    return False


def fingerprint(task: Task, arm: Arm) -> str:
    """A hash of the task's constants, and of the code that the method uses."""
    constants = json.dumps(dataclasses.asdict(task), sort_keys=True)
    return f"{digest(constants)}-{digest(*map(code, arm.uses))}"


def digest(*texts: str) -> str:
    return hashlib.sha256("".join(texts).encode()).hexdigest()[:8]


@functools.cache
def code(function: Callable[..., Any]) -> str:
    """The code of a function's module and of those that its name's first word begins,
    without comments and docstrings."""
    path = Path(inspect.getfile(function))
    parts = path.parent.glob(f"{path.stem.split('_')[0]}*.py")
    return "".join(bare(part.read_text("utf-8")) for part in sorted(parts))


def bare(text: str) -> str:
    tree = ast.parse(text)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and is_text(body[0]):
            body.pop(0)
    return ast.dump(tree)


def is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def arms_for(task: Task, names: Sequence[str]) -> list[Arm]:
    return [BY_NAME[name] for name in names if BY_NAME[name].suits(task)]
