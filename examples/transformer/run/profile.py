"""A trace of chosen updates: `--profile-steps 10 12`, into RUN_DIR/profile.

It opens in TensorBoard with its profile plugin, `tensorboard --logdir RUN_DIR/profile`
(pip install tensorboard xprof), and its .trace.json.gz in ui.perfetto.dev.
"""

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax


class Profile:
    """A context manager that traces the first to the last of some updates."""

    def __init__(self, folder: Path, steps: tuple[int, ...]):
        self.folder, self.steps = folder, steps
        self.running = False

    def __enter__(self) -> "Profile":
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()  # a run that ends early leaves what it has

    def around(self, train_step: Callable, start: int) -> Callable:
        """The same function, whose first call makes the update of step `start`."""
        if not self.steps or start > self.steps[1]:
            return train_step
        first, last = self.steps
        steps = itertools.count(start)

        def profiled(state: Any, batch: Any) -> Any:
            step = next(steps)
            if not first <= step <= last:
                return train_step(state, batch)
            if not self.running:
                jax.block_until_ready(state)
                jax.profiler.start_trace(self.folder)
                self.running = True
            with jax.profiler.StepTraceAnnotation("train", step_num=step):
                result = train_step(state, batch)
            if step == last:
                jax.block_until_ready(result)
                self.stop()
            return result

        return profiled

    def stop(self) -> None:
        if self.running:
            self.running = False
            jax.profiler.stop_trace()
