"""Which workers of a study are alive.

Optuna's own heartbeat works with relational databases and `study.optimize` only. This
one is a number in the study that each worker increases, so it works with every storage,
and the clocks of the machines need not agree: a worker whose number has not changed for
a while, on the clock of the one who looks, is lost.
"""

import contextlib
import threading
import time
import uuid
from typing import Any

_KEY = "search_worker:"


class Heartbeat:
    """Says that this worker is alive, and tells which others are not."""

    def __init__(self, study: Any, grace_period: float) -> None:
        self.worker = uuid.uuid4().hex
        self._study = study
        self._grace_period = grace_period
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)
        self._seen: dict[str, tuple[Any, float]] = {}

    def start(self) -> None:
        self._study.set_user_attr(_KEY + self.worker, 0)
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join(self._grace_period)  # a storage may not answer

    def _beat(self) -> None:
        count = 0
        while not self._stopped.wait(self._grace_period / 5):
            count += 1
            with contextlib.suppress(Exception):  # the next call of search says it
                self._study.set_user_attr(_KEY + self.worker, count)

    def lost(self, running: dict[int, str | None]) -> list[int]:
        """Returns the trials whose workers are lost.

        Args:
            running: the workers of running trials. A trial without one was left between
                two writes, and is watched by itself.
        """
        now = time.monotonic()
        counts = self._study.user_attrs
        found = []
        for number, worker in running.items():
            if worker == self.worker:
                continue
            key = worker or f"trial {number}"
            count = counts.get(_KEY + key)
            if key not in self._seen or self._seen[key][0] != count:
                self._seen[key] = count, now
            if now - self._seen[key][1] > self._grace_period:
                found.append(number)
        return found
