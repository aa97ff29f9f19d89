"""The tasks: model, optimizer, run length and peak rates of each."""

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Task:
    """A training run without its warmup; every field enters the run's fingerprint."""

    name: str
    peaks: tuple[float, ...]  # half decades, from a third of the best one upwards
    data: str = "text"  # or "digits"
    width: int = 48
    layers: int = 2
    heads: int = 4
    length: int = 48  # sequence length in bytes; unused for digits
    batch: int = 12
    steps: int = 400
    optimizer: str = "adamw"  # or "sgd", with momentum b1
    b1: float = 0.9
    b2: float = 0.95
    weight_decay: float = 0.0

    @property
    def cost(self) -> float:
        """Floating-point operations of a run, roughly: to estimate its time."""
        tokens = self.batch * (self.length if self.data == "text" else 16)
        params = 12 * self.layers * self.width**2 + 256 * self.width
        return 6.0 * params * tokens * self.steps


BASE = Task("base", peaks=(3e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0))
DIGITS = Task(
    "digits",
    peaks=(1e-3, 3e-3, 1e-2, 3e-2, 1e-1),
    data="digits",
    width=32,
    batch=32,
    b2=0.999,
    weight_decay=1e-2,
)
CPU = (
    BASE,
    DIGITS,
    replace(BASE, name="sgd", optimizer="sgd", peaks=(0.1, 0.3, 1.0, 3.0, 10.0)),
    replace(BASE, name="batch", batch=48),
    replace(BASE, name="wide", width=96, peaks=BASE.peaks[:-1]),
    replace(BASE, name="long", steps=1600, peaks=BASE.peaks[:-1]),
    # Added after the constants of automatic warmup were frozen, and never tuned on.
    replace(
        BASE,
        name="deep",
        layers=4,
        b2=0.99,
        weight_decay=0.1,
        peaks=BASE.peaks[:-1],
    ),
)
# Larger: 130 times the parameters, 28 times the tokens in an update.
_LARGE = replace(
    BASE,
    width=256,
    layers=6,
    length=256,
    batch=64,
    steps=2000,
    peaks=(3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1),
)
GPU = (
    replace(_LARGE, name="gpu-base"),
    replace(_LARGE, name="gpu-batch", batch=256),
    replace(_LARGE, name="gpu-wide", width=512),
    replace(_LARGE, name="gpu-long", steps=8000),
)
SCALES = {"cpu": CPU, "gpu": GPU}
TASKS = {task.name: task for tasks in SCALES.values() for task in tasks}
