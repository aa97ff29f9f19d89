"""Problems of the tasks: parameters, a batch for a key, and a loss, in plain JAX.

The data are on the device, and a batch is a pure function of a key. So a whole run is
one program, and all arms see the same batches.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax

from . import data, models
from .models import LENGTH, Params


@dataclass(frozen=True)
class Problem:
    init: Callable[[jax.Array], Params]  # key -> parameters
    batch: Callable[[jax.Array, int], Any]  # key, size -> batch
    loss: Callable[[Params, Any], jax.Array]  # parameters, batch -> nats, shape ()
    held_out: Any  # a batch


def cross_entropy(apply: Callable[[Params, Any], jax.Array]) -> Callable[..., Any]:
    def loss(params: Params, batch: tuple[jax.Array, jax.Array]) -> jax.Array:
        logits = apply(params, batch[0])
        return optax.softmax_cross_entropy_with_integer_labels(logits, batch[1]).mean()

    return loss


def digits(
    init: Callable[[jax.Array], Params], apply: Any, noise: float = 0.0
) -> Problem:
    """Handwritten digits, 64 pixels; with `noise`, a share of the labels is random."""
    (pixels, labels), held_out = data.digits()

    def batch(key: jax.Array, size: int) -> tuple[jax.Array, jax.Array]:
        which, wrong, label = jax.random.split(key, 3)
        chosen = jax.random.randint(which, (size,), 0, len(labels))
        other = jax.random.randint(label, (size,), 0, 10)
        noisy = jax.random.bernoulli(wrong, noise, (size,))
        return pixels[chosen], jnp.where(noisy, other, labels[chosen])

    return Problem(init, batch, cross_entropy(apply), held_out)


def text(
    init: Callable[[jax.Array], Params], apply: Any, length: int, *, prose: bool = False
) -> Problem:
    """Next byte in the standard library's source code, or in its manual."""
    tokens, held_out = data.text(length, prose=prose)
    window = jnp.arange(length + 1)

    def batch(key: jax.Array, size: int) -> tuple[jax.Array, jax.Array]:
        begin = jax.random.randint(key, (size,), 0, len(tokens) - length)
        chosen = tokens[begin[:, None] + window].astype(jnp.int32)
        return chosen[:, :-1], chosen[:, 1:]

    return Problem(init, batch, cross_entropy(apply), held_out)


def softmax_zero() -> Problem:
    return digits(partial(models.softmax, gain=0.0), models.apply_softmax)


def softmax_random() -> Problem:
    return digits(partial(models.softmax, gain=1.0), models.apply_softmax)


def mlp() -> Problem:
    return digits(partial(models.mlp, widths=(64, 64, 64, 10)), models.apply_mlp)


def noisy_digits() -> Problem:
    return digits(partial(models.mlp, widths=(64, 32, 10)), models.apply_mlp, noise=0.2)


def zero_head() -> Problem:
    return digits(
        partial(models.mlp, widths=(64, 64, 64, 10), head=0.0), models.apply_mlp
    )


def frozen() -> Problem:
    """A linear probe on a wide random trunk that the optimizer does not move."""
    return digits(
        partial(models.mlp, widths=(64, 512, 128, 10), head=0.0), models.apply_mlp
    )


def deep_plain() -> Problem:
    """Twelve layers without normalization or skip connections."""
    return digits(partial(models.mlp, widths=(64, *[48] * 11, 10)), models.apply_mlp)


def conv() -> Problem:
    return digits(models.conv, models.apply_conv)


def gru() -> Problem:
    return text(models.gru, models.apply_gru, LENGTH)


def gru_tuned() -> Problem:
    """The recurrent net of `gru`, trained on code, now on prose."""
    target = text(models.gru, models.apply_gru, LENGTH, prose=True)
    params = pretrained(gru())
    return Problem(lambda key: params, target.batch, target.loss, target.held_out)


def pretrained(source: Problem, steps: int = 1500) -> Params:
    optimizer = optax.adam(optax.cosine_decay_schedule(1e-2, steps))

    def update(carry: Any, step: jax.Array) -> tuple[Any, None]:
        params, state = carry
        batch = source.batch(jax.random.fold_in(jax.random.key(99), step), 16)
        updates, state = optimizer.update(jax.grad(source.loss)(params, batch), state)
        return (optax.apply_updates(params, updates), state), None

    params = source.init(jax.random.key(99))
    begin = params, optimizer.init(params)
    (params, _), _ = jax.jit(
        lambda begin: jax.lax.scan(update, begin, jnp.arange(steps))
    )(begin)
    return params


def post_norm() -> Problem:
    return text(
        models.transformer, partial(models.apply_transformer, pre=False), LENGTH
    )


def pre_norm() -> Problem:
    return text(models.transformer, partial(models.apply_transformer, pre=True), LENGTH)


def sparse_embedding() -> Problem:
    """A post-norm transformer on pairs of bytes: most rows are never touched."""
    init = partial(models.transformer, vocabulary=data.PAIRS)
    apply = partial(models.apply_transformer, pre=False, pairs=True)
    return text(init, apply, LENGTH)


def regression() -> Problem:
    """Linear regression with eigenvalues from 1 down to 0.01, and noise."""
    scales = jnp.logspace(0, -1, 32)
    truth = jax.random.normal(jax.random.key(7), (32,))

    def batch(key: jax.Array, size: int) -> tuple[jax.Array, jax.Array]:
        inputs, noise = jax.random.split(key)
        x = scales * jax.random.normal(inputs, (size, 32))
        return x, x @ truth + 0.5 * jax.random.normal(noise, (size,))

    def loss(params: Params, batch: tuple[jax.Array, jax.Array]) -> jax.Array:
        return jnp.mean(jnp.square(batch[0] @ params["w"] + params["b"] - batch[1]))

    def init(key: jax.Array) -> Params:
        return {"w": jax.random.normal(key, (32,)), "b": jnp.zeros(())}

    return Problem(init, batch, loss, batch(jax.random.key(8), 2000))
