"""Stops a run at a signal: after the update, with a checkpoint.

    with StopSignal() as stop:
        for step in range(start, total):
            if stop():
                save(step)
                raise Stopped(stop.name, step)
            update()

Clusters send SIGTERM some seconds or minutes before they take a machine away, or
SIGUSR1 where they are asked to (SLURM's `--signal`).
"""

import os
import signal
import threading
from types import FrameType
from typing import Any

import jax
from jax.experimental import multihost_utils

from . import processes

# BSD's EX_TEMPFAIL: "temporary failure; the user is invited to try again".
RESUME_ME = 75
INTERRUPTED = 130  # as shells report a process that Ctrl-C ended
NAMES = ("SIGINT", "SIGTERM", "SIGUSR1", "SIGHUP", "SIGBREAK")  # those that exist
SIGNALS = [getattr(signal, name) for name in NAMES if hasattr(signal, name)]


class Stopped(Exception):
    """A run ended early at a signal, and can be resumed.

    Args:
        name: of the signal.
        step: the updates done; there is a checkpoint of it, except of step 0.
    """

    def __init__(self, name: str, step: int):
        super().__init__(f"stopped by {name} after {step} updates")
        self.name, self.step = name, step

    @property
    def exit_code(self) -> int:
        return INTERRUPTED if self.name == "SIGINT" else RESUME_ME


class StopSignal:
    """A context manager; call it before each update to know whether to stop.

    With several processes, one signal to one of them is enough: all stop before the
    same update. JAX's preemption service, which `jax.distributed.initialize` starts,
    agrees on it, so every process must call this equally often.

    A second Ctrl-C ends the process at once, without saving.
    """

    def __init__(self) -> None:
        self.name = ""  # of the signal, once it has arrived
        self.calls = 0
        self.before: dict[int, Any] = {}

    def __enter__(self) -> "StopSignal":
        # Python runs handlers in the main thread only; elsewhere nothing is changed.
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                ignored = signal.getsignal(number) is signal.SIG_IGN  # as by nohup
                jax_listens = number == signal.SIGTERM and jax.process_count() > 1
                if not (ignored or jax_listens):
                    self.before[number] = signal.signal(number, self._receive)
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def __call__(self) -> bool:
        """Whether to stop now: the same on all processes."""
        if jax.process_count() == 1:
            return bool(self.name)
        self.calls += 1
        if not multihost_utils.reached_preemption_sync_point(self.calls):
            return False
        self.name = next(filter(None, processes.gather(self.name)), "SIGTERM")
        return True

    def _receive(self, number: int, frame: FrameType | None) -> None:
        text = "stopping before the next update, and saving"
        if number == signal.SIGINT:
            text += " (Ctrl-C again: end at once, without saving)"
            signal.signal(signal.SIGINT, signal.SIG_DFL)
        if not self.name:
            self.name = signal.Signals(number).name
            # Not print: the signal may have come in the middle of one.
            os.write(2, f"{self.name}: {text}\n".encode())
        if jax.process_count() > 1:
            os.kill(os.getpid(), signal.SIGTERM)  # JAX's service tells the others
