"""One training, from the seed to the validation accuracy, as a traceable function.

It can be jitted as a whole, and vmapped over learning rates, warmups and seeds:
`optax_warmup.sweeps.sweep` does both.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from ..transformer.core.update import TrainState, make_update
from .data import Digits, shifted
from .model import VisionTransformer

Batch = tuple[jax.Array, jax.Array]  # images, labels


class Size(NamedTuple):
    """The sizes of a training. Each size is a program of its own."""

    width: int = 32
    layers: int = 2
    heads: int = 2
    batch_size: int = 64
    total_steps: int = 400
    eval_every: int = 20


class Curves(NamedTuple):
    """The curves of a training. A sweep adds a leading axis.

    An evaluation at step n is that of the parameters after n updates.
    """

    loss: jax.Array  # of each update's batch, float32, shape (total_steps,)
    steps: jax.Array  # of the evaluations, int32, shape (evaluations,)
    validation_loss: jax.Array  # float32, shape (evaluations,)
    accuracy: jax.Array  # on held-out images, in [0, 1], shape (evaluations,)


def init(size: Size, seed: jax.Array | int) -> tuple[Callable, Any]:
    """Returns the function (params, images) -> logits, and initial parameters."""
    rngs = nnx.Rngs(jax.random.key(seed))
    model = VisionTransformer(size.width, size.layers, size.heads, rngs=rngs)
    graphdef, params = nnx.split(model)

    def logits(params: Any, images: jax.Array) -> jax.Array:
        return nnx.merge(graphdef, params)(images)

    return logits, nnx.as_pure(params)


def make_step(
    digits: Digits,
    logits: Callable,
    optimizer: optax.GradientTransformation,
    batch_size: int,
    seed: jax.Array | int,
) -> Callable:
    """(state, step) -> (state, loss): samples a batch, augments it, and updates.

    The update is that of the transformer example, which knows no model.
    """

    def loss_fn(params: Any, batch: Batch) -> jax.Array:
        images, labels = batch
        return cross_entropy(logits(params, images), labels)

    update = make_update(loss_fn, optimizer, rates_of=None)  # of any optimizer

    def step(state: TrainState, index: jax.Array) -> tuple[TrainState, jax.Array]:
        sampling, shifting = jax.random.split(batch_key(seed, index))
        chosen = jax.random.randint(sampling, (batch_size,), 0, len(digits.train_N))
        images = shifted(shifting, digits.train_NxSxS[chosen])
        state, metrics = update(state, (images, digits.train_N[chosen]))
        return state, metrics["loss"]

    return step


def batch_key(seed: jax.Array | int, step: jax.Array) -> jax.Array:
    """A key for each step, different from the key of the initial parameters."""
    return jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), 1), step)


def cross_entropy(logits_NxC: jax.Array, labels_N: jax.typing.ArrayLike) -> jax.Array:
    return optax.softmax_cross_entropy_with_integer_labels(logits_NxC, labels_N).mean()


def train(
    digits: Digits,
    optimizer: optax.GradientTransformation,
    size: Size,
    *,
    seed: jax.Array | int,
) -> Curves:
    """Trains a model, and evaluates it after every `eval_every` updates.

    `total_steps` is rounded down to a multiple of `eval_every`.
    """
    digits = jax.tree.map(jnp.asarray, digits)
    logits, params = init(size, seed)
    step = make_step(digits, logits, optimizer, size.batch_size, seed)

    def evaluate(params: Any) -> tuple[jax.Array, jax.Array]:
        out = logits(params, digits.validation_NxSxS)
        right = jnp.argmax(out, axis=-1) == digits.validation_N
        # argmax names a digit even if the logits are NaN: that is no accuracy.
        accuracy = jnp.where(jnp.all(jnp.isfinite(out)), right.mean(), jnp.nan)
        return cross_entropy(out, digits.validation_N), accuracy

    def train_and_evaluate(
        state: TrainState, begin: jax.Array
    ) -> tuple[TrainState, Any]:
        steps = begin + jnp.arange(size.eval_every)
        state, losses = jax.lax.scan(step, state, steps)
        return state, (losses, *evaluate(state.params))

    count = size.total_steps // size.eval_every
    begins = size.eval_every * jnp.arange(count)
    state = TrainState(params, optimizer.init(params))
    _, (losses, *evaluations) = jax.lax.scan(train_and_evaluate, state, begins)
    return Curves(losses.reshape(-1), begins + size.eval_every, *evaluations)
