"""The runs that the claims are judged by: those of the benchmark, and some more."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import optax

import optax_warmup as ow
from benchmarks.warmup_quality.arms import BY_NAME as ARMS, LENGTHS, Arm, decayed
from benchmarks.warmup_quality.optimizers import OPTIMIZERS
from benchmarks.warmup_quality.plan import Comparison, score
from benchmarks.warmup_quality.store import Key, Store
from benchmarks.warmup_quality.tasks import (
    BY_NAME as TASKS,
    HELD_OUT,
    SGD,
    Task,
    half_decades,
)
from benchmarks.warmup_quality.train import Outcome

RESULTS = Path(__file__).parents[1] / "results"
B2 = 0.99  # of Adam in the tasks
COLLECTED = round(2 / (1 - B2))  # updates
SEEDS = (2, 3, 4)  # as everything in the benchmark is scored on
SWEPT = ((0, 1), (2,))  # every length has been run on the first two


def delayed(task: Task, peak: Any, length: Any) -> optax.GradientTransformation:
    """Moments are collected from the first batches, and nothing moves ("Adam-2k")."""
    short = dataclasses.replace(task, steps=task.steps - COLLECTED)
    then = decayed(short, peak)
    return OPTIMIZERS[task.optimizer](
        lambda step: jnp.where(step < COLLECTED, 0, then(step - COLLECTED))
    )


def from_gradient(task: Task, peak: Any, length: Any) -> optax.GradientTransformation:
    return ow.init_second_moment_from_gradient(
        OPTIMIZERS[task.optimizer](decayed(task, peak))
    )


def rectified(task: Task, peak: Any, length: Any) -> optax.GradientTransformation:
    return optax.radam(decayed(task, peak), b2=B2)


def scaled(name: str, factor: Any, length: float = 0.0) -> Arm:
    """The task's optimizer with a warmup factor, built from a length in updates."""

    def build(task: Task, peak: Any, length: Any) -> optax.GradientTransformation:
        rate = decayed(task, peak)
        return optax.chain(
            OPTIMIZERS[task.optimizer](rate), ow.scale_by_warmup(factor(length))
        )

    return Arm(name, build, (length,))


def ramp(shape: Any) -> Any:
    return lambda length: ow.warmup(1.0, length, shape=shape, offset=1)


LONG = 0.3  # of the run
UNTUNED = scaled("untuned linear", lambda _: ow.factors.untuned_linear(B2))
RADAM = Arm("radam", rectified, only_adam=True)
GI_ADAM = Arm("GI-Adam", from_gradient, only_adam=True)
ADAM_2K = Arm("Adam-2k", delayed, only_adam=True)
# Each holds back as many updates as a linear warmup over 30 % of the run: half of it.
SHAPES = {
    "linear": Arm("linear", ARMS["linear"].build, (LONG,)),
    "exponential": scaled(
        "exponential", lambda n: ow.factors.exponential(jnp.round(n / 2)), LONG
    ),
    "cosine": scaled("cosine", ramp(ow.shapes.cosine), LONG),
    "constant": scaled(
        "constant",  # a tenth of the rate, over 1 / (2 * 0.9) of that length
        lambda n: ow.join([(jnp.round(n / 1.8), 0.1)], 1.0),
        LONG,
    ),
}

# Adam without a warmup is worse on these.
ADAM = ("gru", "post-norm", "deep-plain", "fine-tuning", "noisy-batch2", "conv-adam")
# Cheaper ones, for the experiments of many runs.
SHAPED = ("gru", "deep-plain", "fine-tuning", "noisy-batch2", "zero-head")
MIXED = (
    *SHAPED, "conv-adam", "linear-zero", "residual", "plain-sgd", "autoencoder",
)  # fmt: skip
HIGH = half_decades(-2, 5)
PLAIN_SGD = (
    TASKS["plain-sgd"],
    Task("sgd-conv", HELD_OUT, "conv", HIGH, "sgd", steps=300, batch=32),
    Task("sgd-residual", HELD_OUT, "residual", SGD, "sgd", batch=32),
    Task("sgd-deep", HELD_OUT, "deep_plain", SGD, "sgd", batch=64),
    Task("sgd-autoencoder", HELD_OUT, "autoencoder", HIGH, "sgd", batch=16),
    Task("sgd-gru", HELD_OUT, "gru", HIGH, "sgd"),
)
BATCHES = ("plain-sgd", "conv-m90", "residual", "deep-plain", "conv-adam", "gru")


def with_small_batch(task: Task) -> Task:
    """An eighth of the batch, as many updates, and rates from half a decade below."""
    peaks = (float(f"{task.peaks[0] / 10**0.5:.3g}"), *task.peaks[:-1])
    return dataclasses.replace(
        task, name=f"{task.name}, batch / 8", batch=task.batch // 8, peaks=peaks
    )


class Trials(Store):
    """Runs of the claims in a file, beside those of the benchmark.

    What is asked for and is in neither is trained. Scores have a row for each peak and
    a column for each seed, in % of the task's progress: what tuned linear warmup at its
    best peak takes off the loss before training.
    """

    def __init__(self, path: Path = RESULTS / "claims.jsonl"):
        super().__init__(path)
        self.kept = Store().kept | self.kept

    def add(self, key: Key, outcome: Outcome) -> None:
        """Keeps what claims ask for; curves are those of one peak."""
        empty = np.empty(0)
        curve = outcome.curve if len(outcome.loss) == 1 else empty
        super().add(key, dataclasses.replace(outcome, factors=empty, curve=curve))

    def tuned(self, task: Task) -> np.ndarray:
        """Linear warmup; its length was chosen at each peak on two other seeds."""
        return self._percent(task, Comparison(task, self, SEEDS).scored(ARMS["linear"]))

    def of(self, task: Task, arm: Arm | str) -> np.ndarray:
        """A method that has one length."""
        arm = ARMS[arm] if isinstance(arm, str) else arm
        return self._percent(task, Comparison(task, self, SEEDS).scored(arm))

    def collected(self, task: Task) -> np.ndarray:
        """Adam-2k: as many updates that move, after those that do not."""
        longer = dataclasses.replace(
            task, name=f"{task.name}, delayed", steps=task.steps + COLLECTED
        )
        return self._percent(task, Comparison(longer, self, SEEDS).scored(ADAM_2K))

    def by_length(self, task: Task) -> np.ndarray:
        """Linear warmup of each of LENGTHS on seeds 0 to 2; [lengths, peaks, seeds]."""
        each = Comparison(task, self)
        return np.stack([
            np.concatenate([
                self._percent(
                    task,
                    each.outcome(ARMS["linear"], seeds, [length] * len(task.peaks)),
                )
                for seeds in SWEPT
            ], axis=1)
            for length in LENGTHS
        ])  # fmt: skip

    def at_best(self, task: Task, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Of "linear", tuned, or "none" at its own best peak: scores, shape [seeds],
        and training losses, shape [seeds, windows], in the same unit."""
        scores = self.tuned(task) if name == "linear" else self.of(task, name)
        best = int(scores.mean(axis=1).argmin())
        compared = Comparison(task, self, SEEDS)
        length = compared.chosen(ARMS[name])[best]
        alone = dataclasses.replace(task, peaks=(task.peaks[best],))
        found = Comparison(alone, self, SEEDS).outcome(ARMS[name], SEEDS, (length,))
        return scores[best], 100 * found.curve[0] / self._progress(task)

    def _progress(self, task: Task) -> float:
        tuned = Comparison(task, self, SEEDS).scored(ARMS["linear"])
        return float((tuned.initial - score(tuned)).mean(axis=1).max())

    def _percent(self, task: Task, outcome: Outcome) -> np.ndarray:
        percent: np.ndarray = 100 * score(outcome) / self._progress(task)
        return percent


def tasks(names: Sequence[str]) -> list[Task]:
    return [TASKS[name] for name in names]
