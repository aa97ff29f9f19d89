"""The ways of training that are compared: two warmups, each on and off.

One is the usual warmup of the learning rate. The other is a warmup of exploration: the
weight of the policy's entropy starts high, which keeps the policy undecided, and falls
to its final value while the critic learns. Both are schedules of this library, and all
four ways at all learning rates are one program.
"""

from typing import Any, NamedTuple

import jax
import optax

import optax_warmup as ow

from ..evaluation import Run, Timed, sweep_runs
from .ppo import Curves, Size, train

PEAKS = (1e-3, 3e-3, 1e-2, 3e-2, 1e-1)


class Way(NamedTuple):
    name: str
    warmup: bool  # of the learning rate
    exploration: bool  # a high entropy weight at first


WAYS = (
    Way("neither", warmup=False, exploration=False),
    Way("rate warmup", warmup=True, exploration=False),
    Way("exploration warmup", warmup=False, exploration=True),
    Way("both", warmup=True, exploration=True),
)


class Setting(NamedTuple):
    """The experiment."""

    peaks: tuple[float, ...] = PEAKS
    warmup_fraction: float = 0.1
    exploration_fraction: float = 0.2
    first_entropy: float = 0.1  # initial weight with an exploration warmup
    entropy: float = 0.01  # weight otherwise
    seeds: int = 3
    size: Size = Size()


def make_optimizer(learning_rate: optax.ScalarOrSchedule) -> Any:
    """Adam with clipped gradients. This is the line to edit for another optimizer."""
    return optax.chain(
        optax.clip_by_global_norm(0.5), optax.adam(learning_rate, eps=1e-5)
    )


def make_schedules(
    peak_value: Any, warmup_steps: Any, first_entropy: Any, setting: Setting
) -> tuple[ow.Schedule, ow.Schedule]:
    """The learning rate, and the weight of the entropy."""
    total_steps = setting.size.total_steps
    rate = ow.warmup_linear(peak_value, warmup_steps, total_steps, offset=1)
    falling = round(setting.exploration_fraction * total_steps)
    return rate, ow.transition(first_entropy, setting.entropy, falling)


def compare(setting: Setting, **options: Any) -> dict[tuple[float, Way], Run]:
    """The runs by (peak learning rate, way of training)."""
    warmup_steps = round(setting.warmup_fraction * setting.size.total_steps)
    cells = {
        (peak, way): (
            way.name,
            {
                "peak_value": peak,
                "warmup_steps": warmup_steps if way.warmup else 0,
                "first_entropy": (
                    setting.first_entropy if way.exploration else setting.entropy
                ),
            },
        )
        for peak in setting.peaks
        for way in WAYS
    }

    def one(
        peak_value: Any, warmup_steps: Any, first_entropy: Any, seed: Any
    ) -> Curves:
        rate, entropy = make_schedules(peak_value, warmup_steps, first_entropy, setting)
        return train(make_optimizer(rate), entropy, setting.size, seed=seed)

    return sweep_runs(one, cells, setting.seeds, "episode_return", **options)


def timed_step(
    setting: Setting,
    optimizer: optax.GradientTransformation,
    entropy: optax.Schedule,
) -> Timed:
    """Two iterations in one jitted call."""
    few = setting.size._replace(iterations=2)

    @jax.jit
    def run(seed: int) -> jax.Array:
        return train(optimizer, entropy, few, seed=seed).loss

    return Timed(lambda: run(0), few.total_steps)
