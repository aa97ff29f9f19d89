"""One update of any model: its state, its gradients, and the jitted step.

A model is a pytree of parameters and a function `loss_fn(params, batch)`, where a batch
is an array, or a pytree of arrays with the examples on their first axis. train_step.py
has those of the transformer; examples/images puts its own here.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh

from . import sharding
from .optimizer import learning_rates

Batch = Any
Loss = Callable[[Any, Batch], jax.Array]  # (params, batch) -> scalar


class TrainState(NamedTuple):
    """All that an update changes; `opt_state` holds the record of Adam's moments."""

    params: Any
    opt_state: optax.OptState


Update = Callable[[TrainState, Batch], tuple[TrainState, dict[str, jax.Array]]]


def loss_and_gradient(
    loss_fn: Loss, microbatches: int = 1
) -> Callable[[Any, Batch], tuple[jax.Array, Any]]:
    """(params, batch) -> (loss, gradient): the means over the whole batch.

    With several microbatches, the gradients of one part of the batch after the other
    are computed and added up, so that the activations of only one part are in memory.
    The optimizer sees their mean, once: the clipping, Adam, the schedule, a guard, an
    average and the record all count updates, and their states do not depend on the
    number of microbatches. (`optax.MultiSteps` around the same optimizer gives the same
    updates, but keeps its sum in the state, and a branch in each of its calls.)
    """
    whole = jax.value_and_grad(loss_fn)
    if microbatches == 1:
        return whole

    def accumulated(params: Any, batch: Batch) -> tuple[jax.Array, Any]:
        parts = sharding.split_batch(batch, microbatches)

        def add(total: Any, part: Batch) -> tuple[Any, None]:
            return jax.tree.map(jnp.add, total, whole(params, part)), None

        zero = jax.tree.map(
            lambda x: jnp.zeros(x.shape, jnp.promote_types(x.dtype, jnp.float32)),
            jax.eval_shape(whole, params, jax.tree.map(lambda x: x[0], parts)),
        )
        (loss, grads), _ = jax.lax.scan(add, zero, parts)
        grads = jax.tree.map(
            lambda g, p: (g / microbatches).astype(p.dtype), grads, params
        )
        return loss / microbatches, grads

    return accumulated


def as_it_is(loss: jax.Array, batch: Batch) -> jax.Array:
    return loss


def make_update(
    loss_fn: Loss,
    optimizer: optax.GradientTransformation,
    *,
    microbatches: int = 1,
    reported: Callable[[jax.Array, Batch], jax.Array] = as_it_is,
    rates_of: Callable[[optax.OptState], dict[str, Any]] | None = learning_rates,
) -> Update:
    """(state, batch) -> (state, metrics), to be jitted, scanned or vmapped.

    The loss of the metrics is reported(loss, batch), for example in other units.
    `rates_of` reads the learning rates from the optimizer's state, as metrics; None
    where the state does not hold them, as that of `optax.adamw`.
    """
    gradient_of = loss_and_gradient(loss_fn, microbatches)

    def update(
        state: TrainState, batch: Batch
    ) -> tuple[TrainState, dict[str, jax.Array]]:
        params, opt_state = state
        loss, grads = gradient_of(params, batch)
        updates, opt_state = optimizer.update(grads, opt_state, params)
        params = optax.apply_updates(params, updates)
        metrics = {"loss": reported(loss, batch)}
        if rates_of is not None:
            metrics |= rates_of(opt_state)
        metrics["gradient_norm"] = optax.tree.norm(grads)  # before any clipping
        return TrainState(params, opt_state), metrics

    return update


def make_train_step(
    loss_fn: Loss,
    optimizer: optax.GradientTransformation,
    abstract: TrainState,
    mesh: Mesh,
    *,
    microbatches: int = 1,
    reported: Callable[[jax.Array, Batch], jax.Array] = as_it_is,
) -> jax.stages.Wrapped:
    """(state, batch) -> (state, metrics), jitted. Donates the state to the new one."""
    return jax.jit(
        make_update(loss_fn, optimizer, microbatches=microbatches, reported=reported),
        donate_argnums=0,
        out_shardings=(shardings_of(abstract), sharding.replicated(mesh)),
    )


def make_eval_loss(
    loss_fn: Loss, mesh: Mesh, *, microbatches: int = 1
) -> jax.stages.Wrapped:
    """(params, batch) -> loss, jitted; the same value on every process.

    A batch that is too large for one gradient is too large for one evaluation, too.
    """

    def mean_loss(params: Any, batch: Batch) -> jax.Array:
        if microbatches == 1:
            return loss_fn(params, batch)
        parts = sharding.split_batch(batch, microbatches)
        return jax.lax.map(lambda part: loss_fn(params, part), parts).mean()

    return jax.jit(mean_loss, out_shardings=sharding.replicated(mesh))


# The state before it exists: shapes, dtypes and shardings.


def abstract_state_of(
    params: Any, optimizer: optax.GradientTransformation, mesh: Mesh
) -> TrainState:
    """The state for parameters of these shapes. Computes and allocates nothing.

    Matrices, and what the optimizer keeps of them, are split over "fsdp".
    """
    params = with_shardings(params, sharding.of_params(params, mesh))
    opt_state = jax.eval_shape(optimizer.init, params)
    shardings = sharding.of_opt_state(optimizer, opt_state, shardings_of(params), mesh)
    return TrainState(params, with_shardings(opt_state, shardings))


def init_state_of(
    params: Any, optimizer: optax.GradientTransformation, abstract: TrainState
) -> TrainState:
    """The state before the first update of parameters that are on their devices."""
    init = jax.jit(optimizer.init, out_shardings=shardings_of(abstract.opt_state))
    return TrainState(params, init(params))


def with_shardings(shapes: Any, shardings: Any) -> Any:
    return jax.tree.map(
        lambda x, where: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=where),
        shapes,
        shardings,
    )


def shardings_of(abstract: Any) -> Any:
    return jax.tree.map(lambda x: x.sharding, abstract)
