"""One training, from seed to validation accuracy, as a function that JAX can trace.

So it can be jitted as a whole, and vmapped over learning rates, warmups and seeds:
`optax_warmup.sweeps.sweep` does both. Nothing in it looks at a number on the host.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from .data import Digits, shifted
from .model import VisionTransformer


class Size(NamedTuple):
    """What decides the shapes of a training, and so its program."""

    width: int = 32
    layers: int = 2
    heads: int = 2
    batch_size: int = 64
    total_steps: int = 400
    eval_every: int = 20


class Curves(NamedTuple):
    """What a training leaves. Under a sweep each has a leading axis more.

    An evaluation at step n is that of the parameters after n updates.
    """

    loss: jax.Array  # of each update's batch, float32, shape (total_steps,)
    steps: jax.Array  # at which it was evaluated, int32, shape (evaluations,)
    validation_loss: jax.Array  # float32, shape (evaluations,)
    accuracy: jax.Array  # of the validation, in [0, 1], shape (evaluations,)


def init(size: Size, seed: jax.Array | int) -> tuple[Callable, Any]:
    """(params, images) -> logits, and the first parameters."""
    rngs = nnx.Rngs(jax.random.key(seed))
    model = VisionTransformer(size.width, size.layers, size.heads, rngs=rngs)
    graphdef, params = nnx.split(model)

    def logits(params, images):
        return nnx.merge(graphdef, params)(images)

    return logits, nnx.as_pure(params)


def make_step(
    digits: Digits,
    logits: Callable,
    optimizer: optax.GradientTransformation,
    batch_size: int,
    seed: jax.Array | int,
) -> Callable:
    """(carry, step) -> (carry, loss): draws a batch, shifts its images, updates."""

    def update(carry, step):
        params, opt_state = carry
        drawing, shifting = jax.random.split(batch_key(seed, step))
        chosen = jax.random.randint(drawing, (batch_size,), 0, len(digits.train_N))
        images = shifted(shifting, digits.train_NxSxS[chosen])
        labels = digits.train_N[chosen]
        loss, grads = jax.value_and_grad(
            lambda params: cross_entropy(logits(params, images), labels)
        )(params)
        updates, opt_state = optimizer.update(grads, opt_state, params)
        return (optax.apply_updates(params, updates), opt_state), loss

    return update


def batch_key(seed: jax.Array | int, step: jax.Array) -> jax.Array:
    """Not the key of the first parameters, and another at each step."""
    return jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), 1), step)


def cross_entropy(logits_NxC: jax.Array, labels_N: jax.Array) -> jax.Array:
    return optax.softmax_cross_entropy_with_integer_labels(logits_NxC, labels_N).mean()


def train(
    digits: Digits,
    optimizer: optax.GradientTransformation,
    size: Size,
    *,
    seed: jax.Array | int,
) -> Curves:
    """Trains a model, and evaluates it after every `eval_every` updates.

    What `eval_every` does not divide is left out of the total.
    """
    digits = jax.tree.map(jnp.asarray, digits)
    logits, params = init(size, seed)
    update = make_step(digits, logits, optimizer, size.batch_size, seed)

    def evaluate(params):
        out = logits(params, digits.validation_NxSxS)
        right = jnp.argmax(out, axis=-1) == digits.validation_N
        # Of a model that is lost, argmax still names a digit: that is no accuracy.
        accuracy = jnp.where(jnp.all(jnp.isfinite(out)), right.mean(), jnp.nan)
        return cross_entropy(out, digits.validation_N), accuracy

    def stretch(carry, begin):
        steps = begin + jnp.arange(size.eval_every)
        carry, losses = jax.lax.scan(update, carry, steps)
        return carry, (losses, *evaluate(carry[0]))

    count = size.total_steps // size.eval_every
    begins = size.eval_every * jnp.arange(count)
    carry = params, optimizer.init(params)
    _, (losses, *evaluations) = jax.lax.scan(stretch, carry, begins)
    return Curves(losses.reshape(-1), begins + size.eval_every, *evaluations)
