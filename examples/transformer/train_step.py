"""The training step: a plain `jax.jit` over `(params, opt_state)`.

The model is a Flax nnx module, but nnx.jit with nnx.Optimizer would walk its modules in
Python at every call, which for a small model takes longer than the step itself.
"""

from collections.abc import Callable
from typing import Any

import jax
import optax
from flax import nnx
from jax.sharding import Mesh

import optax_warmup as ow

from . import sharding
from .config import Config
from .model import Transformer, next_token_loss


def init_params(config: Config, mesh: Mesh) -> tuple[nnx.GraphDef, Any]:
    """The module's structure, and its parameters as a pytree of arrays."""

    def make(key):
        return nnx.split(Transformer(config, rngs=nnx.Rngs(key)))

    graphdef, _ = nnx.eval_shape(make, jax.random.key(0))
    init = jax.jit(lambda key: make(key)[1], out_shardings=sharding.replicated(mesh))
    return graphdef, nnx.as_pure(init(jax.random.key(config.seed)))


def loss_of(graphdef: nnx.GraphDef) -> Callable:
    """(params, tokens_BxL) -> loss, a pure function."""

    def loss_fn(params, tokens_BxL):
        return next_token_loss(nnx.merge(graphdef, params), tokens_BxL)

    return loss_fn


def make_train_step(
    loss_fn: Callable, optimizer: optax.GradientTransformation, mesh: Mesh
) -> Callable:
    """(params, opt_state, tokens_BxL) -> (params, opt_state, metrics), jitted."""

    def train_step(params, opt_state, tokens_BxL):
        loss, grads = jax.value_and_grad(loss_fn)(params, tokens_BxL)
        updates, opt_state = optimizer.update(grads, opt_state, params)
        params = optax.apply_updates(params, updates)
        metrics = {
            "loss": loss,
            "learning_rate": ow.learning_rate(opt_state),
            "gradient_norm": optax.tree.norm(grads),
        }
        return params, opt_state, metrics

    # Donated: the new parameters take the memory of the old ones.
    return jax.jit(
        train_step, donate_argnums=(0, 1), out_shardings=sharding.replicated(mesh)
    )
