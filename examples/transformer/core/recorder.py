"""Metrics on their way from the device to files, screen and loggers."""

import time
from collections import deque
from collections.abc import Callable, Sequence

import jax

Row = dict[str, float]
Sink = Callable[[Row], None]  # a file, the screen, TensorBoard, W&B


class Recorder:
    """Fetches metrics one step late, so that the device never waits.

    While the host reads the metrics of one update, the next one is already running.

    Args:
        sinks: each is called with every row, a step and numbers by name.
        total_steps: of the run; its last update is always recorded.
        log_every: updates between two recorded ones.
        speed: updates per second -> numbers for the row.
    """

    def __init__(
        self,
        sinks: Sequence[Sink],
        total_steps: int,
        log_every: int = 1,
        speed: Callable[[float], Row] = lambda updates_per_second: {},
    ):
        self.sinks, self.total_steps, self.log_every = sinks, total_steps, log_every
        self.speed = speed
        self.drop_pending()

    def drop_pending(self) -> None:
        """Forgets metrics that were not fetched: of updates that are undone."""
        self.pending: tuple[int, dict[str, jax.Array]] | None = None
        self.restart_clock()

    def restart_clock(self) -> None:
        """Leaves compilation and evaluation out of the training speed."""
        self.arrivals: deque[tuple[int, float]] = deque(maxlen=20)

    def update(self, step: int, metrics: dict[str, jax.Array]) -> None:
        self.flush()
        if step % self.log_every == 0 or step == self.total_steps - 1:
            self.pending = step, metrics

    def evaluation(self, step: int, row: Row) -> None:
        self.flush()
        self.record({"step": step} | row)
        self.restart_clock()

    def flush(self) -> None:
        """Fetches pending metrics; waits for the device if necessary."""
        if self.pending is None:
            return
        step, metrics = self.pending
        self.pending = None
        fetched = jax.device_get(metrics)  # all at once
        row = {"step": step} | {name: x.item() for name, x in fetched.items()}
        self.arrivals.append((step, time.perf_counter()))
        (first, began), (last, now) = self.arrivals[0], self.arrivals[-1]
        if last > first:
            row |= self.speed((last - first) / (now - began))
        self.record(row)

    def record(self, row: Row) -> None:
        for sink in self.sinks:
            sink(row)
