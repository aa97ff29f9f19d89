"""The ways of training that are compared, and the learning rates for each.

A batch k times as large takes k times fewer updates for the same number of images. The
usual recipe is the linear scaling rule, k times the learning rate, with a gradual
warmup from the small batch's rate: Goyal et al., "Accurate, Large Minibatch SGD:
Training ImageNet in 1 Hour", 2017, arXiv:1706.02677, section 2.2. Vision transformers
use it with AdamW: Touvron et al., "Training data-efficient image transformers &
distillation through attention", 2021, arXiv:2012.12877.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

import optax_warmup as ow

from ..evaluation import Run, Timed, sweep_runs
from ..transformer.core.update import TrainState
from .data import Digits
from .training import Curves, Size, init, make_step, train

# The large batch is also tried at these multiples of the recipe's learning rate.
FACTORS = (0.25, 0.5, 1.0, 2.0)

TIMED = 8  # updates in a call that is timed


class Setting(NamedTuple):
    """The experiment."""

    base_rate: float = 1e-3  # of the small batch
    small_batch: int = 32
    large_batch: int = 512
    images: int = 28_672  # seen in each training: 20 epochs
    warmup_images: int = 7_168  # 5 epochs
    seeds: int = 3
    size: Size = Size()

    @property
    def scale(self) -> int:
        """k: by how much the batch and the learning rate grow."""
        return self.large_batch // self.small_batch

    def of_batch(self, batch_size: int) -> Size:
        """The same number of images in batches of this size; 14 evaluations."""
        steps = self.images // batch_size
        return self.size._replace(
            batch_size=batch_size,
            total_steps=steps,
            eval_every=max(steps // 14, 1),
        )


def make_optimizer(schedule: optax.ScalarOrSchedule) -> optax.GradientTransformation:
    """AdamW. This is the line to edit for another optimizer."""
    return optax.adamw(schedule, b1=0.9, b2=0.95, weight_decay=0.01)


def make_schedule(
    peak_value: Any, warmup_steps: Any, init_value: Any, total_steps: int
) -> ow.Schedule:
    """A warmup from the small batch's learning rate, then a cosine decay to 0."""
    return ow.warmup_cosine(
        peak_value, warmup_steps, total_steps, init_value=init_value
    )


def small_batch(digits: Digits, setting: Setting, **options: Any) -> Run:
    """The baseline."""
    size = setting.of_batch(setting.small_batch)

    def one(digits: Digits, peak_value: Any, seed: Any) -> Curves:
        schedule = make_schedule(peak_value, 0, 0.0, size.total_steps)
        return train(digits, make_optimizer(schedule), size, seed=seed)

    name = f"batch {size.batch_size}, rate x1, no warmup"
    cells = {name: (name, {"peak_value": setting.base_rate})}
    options = {"shared": (digits,), **options}
    return sweep_runs(one, cells, setting.seeds, "accuracy", **options)[name]


def large_batch(
    digits: Digits, setting: Setting, **options: Any
) -> dict[tuple[float, bool], Run]:
    """The runs by (multiple of the small batch's rate, warmup or not)."""
    size = setting.of_batch(setting.large_batch)
    warmup_steps = setting.warmup_images // size.batch_size
    cells = {
        (factor, warmup): (
            f"batch {size.batch_size}, rate x{factor:g}, "
            f"{'warmup' if warmup else 'no warmup'}",
            {"factor": factor, "warmup_steps": warmup_steps if warmup else 0},
        )
        for factor in sorted({1.0, *(setting.scale * each for each in FACTORS)})
        for warmup in (False, True)
    }

    def one(digits: Digits, factor: Any, warmup_steps: Any, seed: Any) -> Curves:
        base = setting.base_rate
        schedule = make_schedule(factor * base, warmup_steps, base, size.total_steps)
        return train(digits, make_optimizer(schedule), size, seed=seed)

    options = {"shared": (digits,), **options}
    return sweep_runs(one, cells, setting.seeds, "accuracy", **options)


def timed_step(
    digits: Digits, size: Size, optimizer: optax.GradientTransformation
) -> Timed:
    """A few updates in one jitted call."""
    logits, params = init(size, 0)
    step = make_step(jax.device_put(digits), logits, optimizer, size.batch_size, 0)

    @jax.jit
    def run(params: Any) -> Any:
        start = TrainState(params, optimizer.init(params))
        return jax.lax.scan(step, start, jnp.arange(TIMED))

    return Timed(lambda: run(params), TIMED)
