"""The optimizer: a schedule and AdamW, composed by `optax.chain`.

This is the file to edit for another optimizer or another schedule.
"""

from typing import Any

import jax
import optax

import optax_warmup as ow

from .config import Config


def make_schedule(config: Config) -> ow.Schedule:
    """Warmup, plateau, decay.

    The decay has its own clock: two runs that differ in `warmup_steps` alone have the
    same rate at every step after the longer warmup, so they compare fairly.
    """
    return ow.wsd(
        config.peak_value,
        0 if config.automatic_warmup else config.warmup_steps,
        config.total_steps,
        config.decay_steps,
        end_value=config.end_value,
    )


def make_optimizer(config: Config) -> optax.GradientTransformation:
    """AdamW with clipped gradients, and a record of Adam's moments as they warm up.

    Clipping comes before the record, which then compares nu with the gradients that
    Adam sees.
    """
    adamw = optax.chain(
        optax.scale_by_adam(b1=config.b1, b2=config.b2, eps=config.eps),
        optax.add_decayed_weights(config.weight_decay, mask=matrices),
        ow.scale_by_learning_rate(make_schedule(config)),
    )
    if config.automatic_warmup:
        adamw = ow.automatic_warmup(adamw, config.total_steps)
    return optax.chain(
        optax.clip_by_global_norm(config.clip_norm),
        ow.record_moments(
            adamw,
            b1=config.b1,
            b2=config.b2,
            eps=config.eps,
            gradients=True,
            parameters=True,
        ),
    )


def matrices(params: Any) -> Any:
    """Which parameters decay: matrices do, the scales of the norms do not.

    By name, not by shape: the stacked scales of all layers look like a matrix.
    """
    return jax.tree_util.tree_map_with_path(
        lambda path, _: path[-1].key != "scale", params
    )
