"""Inner optimizers and decays of the tasks, by name."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

Rate = Any  # a schedule, or a number that may be traced
Build = Callable[[Rate], optax.GradientTransformation]


def frozen_trunk(rate: Rate) -> optax.GradientTransformation:
    """Adam on the head; the rest, far larger, does not move."""

    def labels(params: Any) -> Any:
        return {name: "head" if name == "head" else "frozen" for name in params}

    return optax.partition(
        {"head": optax.adam(rate), "frozen": optax.set_to_zero()}, labels
    )


OPTIMIZERS: dict[str, Build] = {
    "adam": lambda rate: optax.adam(rate, b2=0.99),
    "adamw": lambda rate: optax.adamw(rate, b2=0.95, weight_decay=0.1),
    "momentum90": lambda rate: optax.sgd(rate, momentum=0.9),
    "momentum99": lambda rate: optax.sgd(rate, momentum=0.99),
    "lion": lambda rate: optax.lion(rate, b1=0.9, b2=0.99),
    "muon": lambda rate: optax.contrib.muon(rate),
    "frozen_trunk": frozen_trunk,
    "sgd": lambda rate: optax.sgd(rate),
    "nesterov": lambda rate: optax.sgd(rate, momentum=0.9, nesterov=True),
    "rmsprop": lambda rate: optax.rmsprop(rate, 0.99),
    "adafactor": lambda rate: optax.adafactor(
        rate, min_dim_size_to_factor=16, multiply_by_parameter_scale=False
    ),
    "clipped": lambda rate: optax.chain(
        optax.clip_by_global_norm(1.0), optax.adam(rate, b2=0.99)
    ),
}

# The momentum's decay, which the first version reads from the optimizer's state.
MOMENTUM = {"momentum99": 0.99, "lion": 0.99, "muon": 0.95}


def cosine(progress: jax.Array) -> jax.Array:
    return 0.5 * (1 + jnp.cos(jnp.pi * progress))


DECAYS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "cosine": cosine,
    "linear": lambda progress: 1 - progress,
    "constant": jnp.ones_like,
    "wsd": lambda progress: jnp.minimum(1, (1 - progress) / 0.2),
    "inverse_sqrt": lambda progress: 1 / jnp.sqrt(jnp.maximum(1, 20 * progress)),
}
