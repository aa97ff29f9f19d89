"""Times trainings that take turns, so that other processes slow all of them alike."""

import random
import sys
import time
from collections.abc import Callable
from typing import NamedTuple, Protocol

import numpy as np


class Spent(NamedTuple):
    """Seconds of some updates."""

    cpu: float  # of the process, all threads
    wall: float


class Training(Protocol):
    """A training that can be advanced."""

    def advance(self, updates: int) -> Spent:
        """Makes so many more updates, and waits until they are done."""


class Ratio(NamedTuple):
    """A median over rounds, and its standard error, from the quartiles."""

    median: float
    error: float


class Times:
    """Seconds of each training in each round."""

    def __init__(self, spent: dict[str, list[Spent]], updates: int):
        self.updates = updates  # of each training in a round
        self.seconds = {name: np.array(rows) for name, rows in spent.items()}

    def per_update(self, name: str, clock: str) -> float:
        """Median seconds of one update."""
        return float(np.median(self.of(name, clock))) / self.updates

    def ratio(self, name: str, base: str, clock: str) -> Ratio:
        """Its time divided by that of `base`, round by round."""
        ratios = self.of(name, clock) / self.of(base, clock)
        low, median, high = np.quantile(ratios, (0.25, 0.5, 0.75))
        error = 0.93 * (high - low) / len(ratios) ** 0.5
        return Ratio(float(median), float(error))

    def of(self, name: str, clock: str) -> np.ndarray:
        return self.seconds[name][:, Spent._fields.index(clock)]


def clocked(advance: Callable[[], None]) -> Spent:
    began = time.process_time(), time.perf_counter()
    advance()
    return Spent(time.process_time() - began[0], time.perf_counter() - began[1])


def take_turns(trainings: dict[str, Training], rounds: int, updates: int) -> Times:
    """In each round advances each training by so many updates, in a shuffled order."""
    spent: dict[str, list[Spent]] = {name: [] for name in trainings}
    order = list(trainings)
    for done in range(rounds):
        random.Random(done).shuffle(order)
        for name in order:
            spent[name].append(trainings[name].advance(updates))
        progress(f"round {done + 1}/{rounds}")
    return Times(spent, updates)


def progress(text: str) -> None:
    print(f"\r{text:<60}", end="", file=sys.stderr, flush=True)
