"""The schedule and the optimizer: the file to edit for other ones."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import optax

import optax_warmup as ow

from .settings import InputError, Settings, option

training_option = partial(option, "training")


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig(Settings):
    """AdamW with clipped gradients, and a schedule of warmup, plateau and decay."""

    total_steps: int = training_option(1200, "number of updates", at_least=1)
    peak_value: float = training_option(1e-2, "highest learning rate", above=0)
    warmup_steps: int = training_option(
        300, "updates in which the learning rate rises from 0 to its peak", at_least=0
    )
    automatic_warmup: bool = training_option(
        False, "let the optimizer choose the warmup; warmup_steps is then unused"
    )
    decay_fraction: float = training_option(
        0.5,
        "share of the updates, at the end, in which the learning rate falls",
        at_least=0,
        at_most=1,
    )
    end_value: float = training_option(
        0.0, "learning rate at the end of the decay", at_least=0
    )
    b1: float = training_option(
        0.9, "decay rate of Adam's first moment", at_least=0, below=1
    )
    b2: float = training_option(
        0.95, "decay rate of Adam's second moment", at_least=0, below=1
    )
    eps: float = training_option(
        1e-8, "added to the square root of the second moment", at_least=0
    )
    weight_decay: float = training_option(
        0.1, "weight decay of the matrices", at_least=0
    )
    clip_norm: float = training_option(
        1.0, "largest global norm of the gradient", above=0
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.warmup_steps + self.decay_steps > self.total_steps:
            raise InputError(
                f"warmup_steps={self.warmup_steps} and a decay of {self.decay_steps} "
                f"steps (decay_fraction={self.decay_fraction}) do not fit into "
                f"total_steps={self.total_steps}. Shorten one of the two, or train "
                f"longer."
            )

    @property
    def decay_steps(self) -> int:
        """Number of updates in which the learning rate falls."""
        return round(self.decay_fraction * self.total_steps)


def make_schedule(config: OptimizerConfig) -> ow.Schedule:
    """Warmup, plateau, decay.

    The decay starts at a fixed step. So two runs that differ only in `warmup_steps`
    have the same learning rate after the longer warmup, and compare fairly.
    """
    return ow.wsd(
        config.peak_value,
        0 if config.automatic_warmup else config.warmup_steps,
        config.total_steps,
        config.decay_steps,
        end_value=config.end_value,
    )


def make_optimizer(
    config: OptimizerConfig, rate: ow.ScheduleLike | None = None
) -> optax.GradientTransformation:
    """AdamW with clipped gradients, and a record of Adam's moments.

    The record is outermost, where it costs least. It shows the gradients that Adam
    gets, after the clipping. With `rate`, that learning rate instead of the schedule's.
    """
    schedule = make_schedule(config) if rate is None else rate
    adamw = optax.chain(
        optax.scale_by_adam(b1=config.b1, b2=config.b2, eps=config.eps),
        optax.add_decayed_weights(config.weight_decay, mask=matrices),
        ow.scale_by_learning_rate(schedule),
    )
    if config.automatic_warmup:
        adamw = ow.automatic_warmup(adamw)
    clipped = optax.chain(optax.clip_by_global_norm(config.clip_norm), adamw)
    return ow.record_moments(clipped, eps=config.eps)


def learning_rate(opt_state: optax.OptState) -> jax.Array | float:
    """The learning rate that the last update used."""
    return ow.learning_rate(opt_state)


def matrices(params: Any) -> Any:
    """Mask for weight decay: True for matrices, False for the scales of the norms.

    It goes by name, since the stacked scales of all layers have the shape of a matrix.
    """
    return jax.tree_util.tree_map_with_path(
        lambda path, _: path[-1].key != "scale", params
    )
