"""The training state, and the jitted step that updates it.

The model is a Flax nnx module, but the step is a plain `jax.jit` over arrays: nnx.jit
with nnx.Optimizer walks all modules in Python at every call, which for a small model
takes longer than the step itself.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import optax
from flax import nnx
from jax.sharding import Mesh

from . import sharding
from .config import ModelConfig
from .model import Transformer, next_token_loss
from .optimizer import learning_rate
from .packing import BYTES, Targets

Loss = Callable[[Any, jax.Array], jax.Array]  # (params, tokens_BxL) -> scalar


class TrainState(NamedTuple):
    """All that an update changes; `opt_state` holds the record of Adam's moments."""

    params: Any
    opt_state: optax.OptState


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
    graphdef, params = abstract_params(config, mesh)
    opt_state = jax.eval_shape(optimizer.init, params)
    shardings = sharding.of_opt_state(optimizer, opt_state, shardings_of(params), mesh)
    return graphdef, TrainState(params, with_shardings(opt_state, shardings))


def with_shardings(shapes: Any, shardings: Any) -> Any:
    return jax.tree.map(
        lambda x, where: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=where),
        shapes,
        shardings,
    )


def shardings_of(abstract: Any) -> Any:
    return jax.tree.map(lambda x: x.sharding, abstract)


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
    init = jax.jit(optimizer.init, out_shardings=shardings_of(abstract.opt_state))
    return TrainState(params, init(params))


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


def make_train_step(
    loss_fn: Loss,
    optimizer: optax.GradientTransformation,
    abstract: TrainState,
    mesh: Mesh,
    targets: Targets = BYTES,
) -> jax.stages.Wrapped:
    """(state, tokens_BxL) -> (state, metrics), jitted; the loss in nats per byte."""

    def train_step(
        state: TrainState, tokens_BxL: jax.Array
    ) -> tuple[TrainState, dict[str, jax.Array]]:
        params, opt_state = state
        loss, grads = jax.value_and_grad(loss_fn)(params, tokens_BxL)
        updates, opt_state = optimizer.update(grads, opt_state, params)
        params = optax.apply_updates(params, updates)
        metrics = {
            "loss": targets.nats_per_byte(loss, tokens_BxL),
            "learning_rate": learning_rate(opt_state),
            "gradient_norm": optax.tree.norm(grads),
        }
        return TrainState(params, opt_state), metrics

    # Donated, so that the new state reuses the memory of the old one.
    return jax.jit(
        train_step,
        donate_argnums=0,
        out_shardings=(shardings_of(abstract), sharding.replicated(mesh)),
    )


def make_eval_loss(
    loss_fn: Loss, mesh: Mesh, bytes_per_target: float = 1.0
) -> jax.stages.Wrapped:
    """(params, tokens_BxL) -> loss, jitted; the same value on every process.

    With the `bytes_per_target` of all batches, their mean is in nats per byte.
    """
    return jax.jit(
        lambda params, tokens_BxL: loss_fn(params, tokens_BxL) / bytes_per_target,
        out_shardings=sharding.replicated(mesh),
    )
