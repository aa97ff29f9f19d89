"""Metrics on their way from the device to the run folder and the screen."""

import time
from collections import deque
from collections.abc import Callable, Sequence

import jax

from . import throughput
from .config import Config

Row = dict[str, float]
Sink = Callable[[Row], None]  # a file, the screen, TensorBoard, W&B


class Recorder:
    """Fetches metrics one step late, so that the device never waits.

    While the host reads the metrics of one update, the next one is already running.
    """

    def __init__(self, config: Config, sinks: Sequence[Sink]):
        self.config, self.sinks = config, sinks
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
        last = step == self.config.total_steps - 1
        if step % self.config.log_every == 0 or last:
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
            tokens = (last - first) * self.config.batch_size * self.config.length
            row["tokens_per_second"] = round(tokens / (now - began))
            share = throughput.utilisation(self.config, tokens / (now - began))
            row |= {} if share is None else {"model_flops_utilisation": share}
        self.record(row)

    def record(self, row: Row) -> None:
        for sink in self.sinks:
            sink(row)
