"""The state of a training, and the step that moves it: a plain `jax.jit`.

The model is a Flax nnx module, but nnx.jit with nnx.Optimizer would walk its modules in
Python at every call, which for a small model takes longer than the step itself.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import optax
from flax import nnx
from jax.sharding import Mesh

import optax_warmup as ow

from . import sharding
from .config import Config
from .model import Transformer, next_token_loss


class TrainState(NamedTuple):
    """All that an update changes; the record of Adam's moments is in `opt_state`."""

    params: Any
    opt_state: optax.OptState


def abstract_model(config: Config) -> tuple[nnx.GraphDef, Any]:
    """The module's structure, and shape and dtype of each parameter."""
    graphdef, params = nnx.eval_shape(lambda: nnx.split(make_model(config)))
    return graphdef, nnx.as_pure(params)


def abstract_params(config: Config, mesh: Mesh) -> tuple[nnx.GraphDef, Any]:
    """The same, and the place of each parameter on the mesh."""
    graphdef, params = abstract_model(config)
    return graphdef, placed(params, sharding.of_params(params, mesh))


def abstract_state(
    config: Config, optimizer: optax.GradientTransformation, mesh: Mesh
) -> tuple[nnx.GraphDef, TrainState]:
    """The same of the whole state. Nothing is computed, and no memory taken."""
    graphdef, params = abstract_params(config, mesh)
    opt_state = jax.eval_shape(optimizer.init, params)
    places = jax.tree.map(lambda x: x.sharding, params)
    places = sharding.of_opt_state(optimizer, opt_state, places, mesh)
    return graphdef, TrainState(params, placed(opt_state, places))


def placed(shapes: Any, places: Any) -> Any:
    return jax.tree.map(
        lambda x, place: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=place),
        shapes,
        places,
    )


def places_of(abstract: Any) -> Any:
    return jax.tree.map(lambda x: x.sharding, abstract)


def make_model(config: Config, key: jax.Array | int = 0) -> Transformer:
    return Transformer(config, rngs=nnx.Rngs(key))


def init_params(config: Config, mesh: Mesh) -> tuple[nnx.GraphDef, Any]:
    """The module's structure, and its parameters as a pytree of arrays.

    Each device makes its part: no device ever holds all of a model that is shared.
    """
    graphdef, abstract = abstract_params(config, mesh)
    init = jax.jit(
        lambda key: nnx.as_pure(nnx.state(make_model(config, key))),
        out_shardings=places_of(abstract),
    )
    return graphdef, init(jax.random.key(config.seed))


def init_state(
    config: Config,
    optimizer: optax.GradientTransformation,
    abstract: TrainState,
    mesh: Mesh,
) -> TrainState:
    """The state before the first update."""
    _, params = init_params(config, mesh)
    init = jax.jit(optimizer.init, out_shardings=places_of(abstract.opt_state))
    return TrainState(params, init(params))


def loss_of(graphdef: nnx.GraphDef, compute_dtype: str = "float32") -> Callable:
    """(params, tokens_BxL) -> loss, a pure function."""

    def loss_fn(params, tokens_BxL):
        # The blocks gather theirs one by one.
        outside = {name: x for name, x in params.items() if name != "blocks"}
        params = params | sharding.gather(outside, compute_dtype)
        return next_token_loss(nnx.merge(graphdef, params), tokens_BxL)

    return loss_fn


def make_train_step(
    loss_fn: Callable,
    optimizer: optax.GradientTransformation,
    abstract: TrainState,
    mesh: Mesh,
) -> Callable:
    """(state, tokens_BxL) -> (state, metrics), jitted."""

    def train_step(state: TrainState, tokens_BxL: jax.Array):
        params, opt_state = state
        loss, grads = jax.value_and_grad(loss_fn)(params, tokens_BxL)
        updates, opt_state = optimizer.update(grads, opt_state, params)
        params = optax.apply_updates(params, updates)
        metrics = {
            "loss": loss,
            "learning_rate": ow.learning_rate(opt_state),
            "gradient_norm": optax.tree.norm(grads),
        }
        return TrainState(params, opt_state), metrics

    # Donated: the new parameters take the memory of the old ones.
    return jax.jit(
        train_step,
        donate_argnums=0,
        out_shardings=(places_of(abstract), sharding.replicated(mesh)),
    )


def make_eval_loss(loss_fn: Callable, mesh: Mesh) -> Callable:
    """(params, tokens_BxL) -> loss, jitted, the same number on every process."""
    return jax.jit(loss_fn, out_shardings=sharding.replicated(mesh))
