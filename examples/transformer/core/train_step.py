"""The transformer's parameters, state and loss, as pure functions and pytrees.

The model is a Flax nnx module, but the step (update.py) is a plain `jax.jit` over
arrays: nnx.jit with nnx.Optimizer walks all modules in Python at every call, which for
a small model takes longer than the step itself.
"""

from typing import Any

import jax
import optax
from flax import nnx
from jax.sharding import Mesh

from . import sharding
from .config import ModelConfig
from .model import Transformer, next_token_loss
from .update import (
    Loss,
    TrainState as TrainState,
    abstract_state_of,
    init_state_of,
    make_eval_loss as make_eval_loss,
    make_train_step as make_train_step,
    shardings_of,
    with_shardings,
)


def make_model(config: ModelConfig, key: jax.Array | int = 0) -> Transformer:
    return Transformer(config, rngs=nnx.Rngs(key))


def abstract_model(config: ModelConfig) -> tuple[nnx.GraphDef, Any]:
    """The module's structure, and the shape and dtype of each parameter."""
    graphdef, params = nnx.eval_shape(lambda: nnx.split(make_model(config)))
    return graphdef, nnx.as_pure(params)


def abstract_params(config: ModelConfig, mesh: Mesh) -> tuple[nnx.GraphDef, Any]:
    """As `abstract_model`, with the sharding of each parameter."""
    graphdef, params = abstract_model(config)
    return graphdef, with_shardings(params, sharding.of_params(params, mesh))


def abstract_state(
    config: ModelConfig, optimizer: optax.GradientTransformation, mesh: Mesh
) -> tuple[nnx.GraphDef, TrainState]:
    """As `abstract_params`, for the whole state. Computes and allocates nothing."""
    graphdef, params = abstract_model(config)
    return graphdef, abstract_state_of(params, optimizer, mesh)


def init_params(
    config: ModelConfig, mesh: Mesh, seed: int = 0
) -> tuple[nnx.GraphDef, Any]:
    """The module's structure, and its parameters as a pytree of arrays.

    Each device makes its own part, so no device needs room for the whole model.
    """
    graphdef, abstract = abstract_params(config, mesh)
    init = jax.jit(
        lambda key: nnx.as_pure(nnx.state(make_model(config, key))),
        out_shardings=shardings_of(abstract),
    )
    return graphdef, init(jax.random.key(seed))


def init_state(
    config: ModelConfig,
    optimizer: optax.GradientTransformation,
    abstract: TrainState,
    mesh: Mesh,
    seed: int,
) -> TrainState:
    """The state before the first update."""
    _, params = init_params(config, mesh, seed)
    return init_state_of(params, optimizer, abstract)


def loss_of(
    graphdef: nnx.GraphDef,
    compute_dtype: str = "float32",
    document_end: int | None = None,
) -> Loss:
    """The loss as a pure function of parameters and tokens, in nats per token."""

    def loss_fn(params: Any, tokens_BxL: jax.Array) -> jax.Array:
        # The blocks gather their own parameters, one block at a time.
        outside = {name: x for name, x in params.items() if name != "blocks"}
        params = params | sharding.gather(outside, compute_dtype)
        model = nnx.merge(graphdef, params)
        return next_token_loss(model, tokens_BxL, document_end)

    return loss_fn
