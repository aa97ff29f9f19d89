"""The schedule and the optimizer: the file to edit for other ones."""

from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
import optax

import optax_warmup as ow
from optax_warmup.groups import Rule

from .config import ModelConfig
from .settings import InputError, option

training_option = partial(option, "training")


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig(ModelConfig):
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
    layer_decay: float = training_option(
        1.0,
        "what the learning rate is multiplied by from one block to the one below it, "
        "such as 0.9; not with mup_base_width",
        above=0,
        at_most=1,
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
    weight_decay_kind: Literal["adamw", "adamc", "independent"] = training_option(
        "adamw",
        "what an update takes from a matrix: adamw, learning rate * weight_decay; "
        "adamc, that * learning rate / peak_value, so that gradients do not grow at "
        "the end of the decay; independent, weight_decay itself, such as 1e-4",
    )
    clip_norm: float = training_option(
        1.0, "largest global norm of the gradient", above=0
    )
    ema_decay: float = training_option(
        0.0,
        "decay of an exponential moving average of the weights, such as 0.999, which "
        "is evaluated besides them; 0: none",
        at_least=0,
        below=1,
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
        if self.weight_decay_kind == "independent" and self.weight_decay > 1:
            raise InputError(
                f"weight_decay={self.weight_decay} of the kind independent is a share "
                f"of the weights, and must be 1 or less. Choose one such as 1e-4."
            )

        if self.layer_decay < 1 and self.mup_base_width:
            raise InputError(
                f"layer_decay={self.layer_decay} and "
                f"mup_base_width={self.mup_base_width} exclude each other. Set "
                f"layer_decay to 1 or mup_base_width to 0."
            )

    @property
    def scaled_eps(self) -> float:
        """Adam's eps: under muP all gradients scale like this."""
        return self.eps / self.width_ratio

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
    config: OptimizerConfig,
    rate: ow.ScheduleLike | None = None,
    *,
    record: bool = True,
) -> optax.GradientTransformation:
    """AdamW with clipped gradients, and a record of Adam's moments.

    The record is outermost, where it costs least. It shows the gradients that Adam
    gets, after the clipping. With `rate`, that learning rate instead of the schedule's.
    """
    schedule = make_schedule(config) if rate is None else rate
    optimizer = make_adamw(config, schedule)
    if config.layer_decay < 1:  # and of the weight decay, unless it is independent
        optimizer = optax.chain(optimizer, ow.groups.scale_by_rules(by_layer(config)))
    if config.automatic_warmup:
        optimizer = ow.automatic_warmup(optimizer)
    if config.weight_decay_kind == "independent":  # of any warmup, too
        decay = optax.masked(ow.decay_weights(config.weight_decay), matrices)
        optimizer = optax.chain(optimizer, decay)
    clip = optax.clip_by_global_norm(config.clip_norm)
    optimizer = optax.chain(clip, optimizer)
    if config.ema_decay:
        weight = ow.averages.exponential(config.ema_decay)
        optimizer = ow.averages.average_params(optimizer, weight)
    return ow.record_moments(optimizer, eps=config.scaled_eps) if record else optimizer


def make_adamw(
    config: OptimizerConfig, rate: ow.ScheduleLike
) -> optax.GradientTransformation:
    """Adam, learning rate, and a weight decay that follows the learning rate."""
    adam = optax.scale_by_adam(b1=config.b1, b2=config.b2, eps=config.scaled_eps)
    if config.mup_base_width:  # before the weight decay, which does not change
        multiply = ow.groups.scale_by_rules(by_width(config), weight_decay=0.0)
        adam = optax.chain(adam, multiply)
    scale = ow.scale_by_learning_rate(rate)
    if config.weight_decay_kind == "adamw":
        decay = optax.add_decayed_weights(config.weight_decay, mask=matrices)
        return optax.chain(adam, decay, scale)
    if config.weight_decay_kind == "adamc":
        squared = ow.multiply(rate, rate, config.weight_decay / config.peak_value)
        return optax.chain(
            adam, scale, optax.masked(ow.decay_weights(squared), matrices)
        )
    return optax.chain(adam, scale)


def averaged_params(opt_state: optax.OptState) -> Any:
    """The moving average of the weights; needs `ema_decay`."""
    return ow.averages.averaged_params(opt_state)


def learning_rates(opt_state: optax.OptState) -> dict[str, jax.Array | float]:
    """The learning rate that the last update used, and that of each group.

    Multipliers are 1 at most, and 1 for the last norm: the highest rate is the common
    one.
    """
    rates = ow.learning_rates(opt_state)
    if len(rates) == 1:
        return {"learning_rate": next(iter(rates.values()))}
    highest = jnp.stack(list(rates.values())).max()
    return {"learning_rate": highest} | {
        f"learning_rate/{name}": rate for name, rate in rates.items()
    }


# What each array gets, by its path.

# By name, since the stacked scales of all layers have the shape of a matrix.
DECAYED = [
    Rule("scale$", decay_multiplier=0, optional=True, name="norms"),
    Rule(".*", name="matrices"),
]
matrices = ow.groups.decay_mask(DECAYED)  # for weight decay


def by_layer(config: OptimizerConfig) -> ow.groups.layerwise_decay:
    """Lower rates towards the input; a tied embedding is the input."""
    return ow.groups.layerwise_decay(
        config.layer_decay,
        embed="^(tokens|positions)/",
        head="^(final_norm|output)/",
        layers=None if config.scan_layers else r"^blocks/(\d+)/",
        stacked="^blocks/" if config.scan_layers else None,
    )


def by_width(config: OptimizerConfig) -> list[Rule]:
    """muP's rates: what `ow.groups.mup_adam` finds, with the logits divided.

    Heads keep their size and the MLP its proportion, so all hidden matrices are wider
    by the same ratio. What an update takes of the weights does not change.
    """
    ratio = config.width_ratio
    decay = 1 if config.weight_decay_kind == "independent" else ratio
    hidden = Rule(
        "^blocks/.*kernel$", multiplier=1 / ratio, decay_multiplier=decay, name="hidden"
    )
    return [hidden, Rule(".*", name="others")]


def table(config: OptimizerConfig, params: Any) -> ow.groups.Table | None:
    """What each array gets, if rates differ."""
    if config.layer_decay < 1:
        return ow.groups.table(ow.groups.combine(by_layer(config), DECAYED), params)
    if config.mup_base_width:
        return ow.groups.table(ow.groups.combine(by_width(config), DECAYED), params)
    return None
