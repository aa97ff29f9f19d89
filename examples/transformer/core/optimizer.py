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
    """AdamW with clipped gradients, and a record of Adam's moments.

    The record is outermost, where it costs least. It shows the gradients that Adam
    gets, after the clipping.
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
