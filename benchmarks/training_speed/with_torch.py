"""A training in PyTorch, in a process that this one drives."""

import dataclasses
import importlib.util
import json
import subprocess
import sys
import tempfile
import threading

import jax

from examples.transformer.run.config import Config

from .measure import Spent

READY_SECONDS = 150  # to import, compile and train the first updates
ADVANCE_SECONDS = 60


def missing() -> str | None:
    """The reason why PyTorch cannot be compared here, if any."""
    if jax.default_backend() != "gpu":
        return f"it is compared on a GPU, and this is a {jax.default_backend()}"
    if importlib.util.find_spec("torch") is None:
        return "PyTorch is not installed"
    return None


class TorchLoop:
    """Starts at once, so that both sides compile at the same time; then `wait`."""

    def __init__(self, config: Config, *, device: str = "cuda", compile: bool = True):
        settings = dataclasses.asdict(config) | {"device": device, "compile": compile}
        self.errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 (see close)
        command = [sys.executable, "-m", "benchmarks.training_speed.torch_gpt"]
        self.process = subprocess.Popen(
            [*command, json.dumps(settings)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
        )

    def wait(self) -> None:
        self.answer(READY_SECONDS)

    def ready(self) -> "TorchLoop":
        """Itself, once it has compiled."""
        self.wait()
        return self

    def advance(self, updates: int) -> Spent:
        assert self.process.stdin is not None
        print(updates, file=self.process.stdin, flush=True)
        return Spent(*map(float, self.answer(ADVANCE_SECONDS).split()))

    def answer(self, seconds: float) -> str:
        """The next line of output; stops the process if it takes too long."""
        assert self.process.stdout is not None
        late = threading.Event()

        def stop() -> None:
            late.set()
            self.process.kill()

        timer = threading.Timer(seconds, stop)
        timer.start()
        line = self.process.stdout.readline()
        timer.cancel()
        if line:
            return line
        self.process.wait()
        self.errors.seek(0)
        said = self.errors.read().strip().splitlines() or ["it said nothing"]
        why = f"it took more than {seconds} s" if late.is_set() else said[-1]
        raise RuntimeError(f"PyTorch's training ended: {why}")

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()
        self.errors.close()
