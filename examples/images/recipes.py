"""The ways of training that are compared, and the rates at which each is tried.

A batch k times as large sees k times fewer updates in the same number of images. The
recipe for it is the linear scaling rule, k times the rate, behind a gradual warmup
from the small batch's rate: Goyal et al., "Accurate, Large Minibatch SGD: Training
ImageNet in 1 Hour", 2017, arXiv:1706.02677, section 2.2. Vision transformers follow it
with AdamW: Touvron et al., "Training data-efficient image transformers & distillation
through attention", 2021, arXiv:2012.12877.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

import optax_warmup as ow

from ..evaluation import Run
from .data import Digits
from .training import Size, init, make_step, train

# Factors on the base rate at which the large batch is tried, besides the recipe's.
FACTORS = (0.25, 0.5, 1.0, 2.0)

TIMED = 8  # updates in a call that is timed


class Setting(NamedTuple):
    """The experiment."""

    base_rate: float = 1e-3  # for the small batch
    small_batch: int = 32
    large_batch: int = 512
    images: int = 28_672  # seen in each training: 20 times the training set
    warmup_images: int = 7_168  # 5 of those times
    seeds: int = 3
    size: Size = Size()

    @property
    def scale(self) -> int:
        """k, by which the batch and the rate grow."""
        return self.large_batch // self.small_batch

    def of_batch(self, batch_size: int) -> Size:
        """The same number of images in batches of this size, evaluated 14 times."""
        steps = self.images // batch_size
        return self.size._replace(
            batch_size=batch_size,
            total_steps=steps,
            eval_every=max(steps // 14, 1),
        )


def make_optimizer(schedule: optax.ScalarOrSchedule) -> optax.GradientTransformation:
    """AdamW. This is the line to edit for another one."""
    return optax.adamw(schedule, b1=0.9, b2=0.95, weight_decay=0.01)


def make_schedule(
    peak_value: Any, warmup_steps: Any, init_value: Any, total_steps: int
) -> ow.Schedule:
    """A warmup from the small batch's rate, then a cosine to 0 over what is left."""
    return ow.warmup_cosine(
        peak_value, warmup_steps, total_steps, init_value=init_value
    )


def small_batch(digits: Digits, setting: Setting, **options: Any) -> Run:
    """What the large batch is measured against."""
    size = setting.of_batch(setting.small_batch)
    points = ow.sweeps.grid(peak_value=[setting.base_rate], seed=range(setting.seeds))

    def one(digits, peak_value, seed):
        schedule = make_schedule(peak_value, 0, 0.0, size.total_steps)
        return train(digits, make_optimizer(schedule), size, seed=seed)

    curves = ow.sweeps.sweep(one, points, shared=(digits,), **options)
    name = f"batch {size.batch_size}, rate x1, no warmup"
    return Run.swept(name, curves, curves.accuracy)


def large_batch(
    digits: Digits, setting: Setting, **options: Any
) -> dict[tuple[float, bool], Run]:
    """The runs by (factor on the small batch's rate, warmup or not): one sweep."""
    size = setting.of_batch(setting.large_batch)
    warmup_steps = setting.warmup_images // size.batch_size
    factors = sorted({1.0, *(setting.scale * factor for factor in FACTORS)})
    points = ow.sweeps.grid(
        factor=factors, warmup_steps=[0, warmup_steps], seed=range(setting.seeds)
    )

    def one(digits, factor, warmup_steps, seed):
        base = setting.base_rate
        schedule = make_schedule(factor * base, warmup_steps, base, size.total_steps)
        return train(digits, make_optimizer(schedule), size, seed=seed)

    curves = ow.sweeps.sweep(one, points, shared=(digits,), **options)
    runs = {}
    for begin in range(0, len(points), setting.seeds):
        factor, steps = points[begin]["factor"], points[begin]["warmup_steps"]
        warmup = "warmup" if steps else "no warmup"
        name = f"batch {size.batch_size}, rate x{factor:g}, {warmup}"
        rows = slice(begin, begin + setting.seeds)
        runs[factor, steps > 0] = Run.swept(name, curves, curves.accuracy, rows)
    return runs


def step_on(digits: Digits, size: Size, optimizer: optax.GradientTransformation) -> Any:
    """A few updates as one jitted call, to be timed."""
    logits, params = init(size, 0)
    update = make_step(jax.device_put(digits), logits, optimizer, size.batch_size, 0)

    @jax.jit
    def run(params):
        start = params, optimizer.init(params)
        return jax.lax.scan(update, start, jnp.arange(TIMED))

    return lambda: run(params)
