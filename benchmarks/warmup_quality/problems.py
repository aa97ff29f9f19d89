"""Models, data and losses of the tasks.

The data are on the device, and a batch is a pure function of (seed, step). So a whole
run is one program, and all arms see the same batches.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from examples.transformer.core.config import ModelConfig
from examples.transformer.core.data import Corpus, load_corpus
from examples.transformer.core.model import (
    MLP,
    Transformer,
    linear,
    next_token_loss,
    norm,
    residual_gain,
)

from .tasks import Task

HELD_OUT_SEQUENCES = 192
TRAINING_DIGITS = 1400  # of 1797


@dataclass(frozen=True)
class Problem:
    init: Callable[[int], Any]  # seed -> parameters
    batch: Callable[[jax.Array, jax.Array], Any]  # seed, step -> batch
    loss: Callable[[Any, Any], jax.Array]  # parameters, batch -> nats, shape ()
    evaluate: Callable[[Any], jax.Array]  # parameters -> nats on held-out data
    data: str  # identifies the data


def problem(task: Task) -> Problem:
    return {"text": text, "digits": digits}[task.data](task)


def config(task: Task) -> ModelConfig:
    return ModelConfig(
        width=task.width,
        layers=task.layers,
        heads=task.heads,
        mlp_width=4 * task.width,
        length=task.length,
    )


def split(build: Callable[[int], nnx.Module]) -> tuple[Any, Callable[[int], Any]]:
    """The graph of a model, and a function from a seed to its parameters."""
    return nnx.graphdef(build(0)), lambda seed: nnx.state(build(seed), nnx.Param)


@functools.cache
def corpus() -> Corpus:
    return load_corpus()


def text(task: Task) -> Problem:
    """The example's byte-level transformer, on the standard library's source code."""
    window = jnp.arange(task.length + 1)
    train, heldout = jnp.asarray(corpus().train), corpus().heldout
    graph, init = split(lambda seed: Transformer(config(task), rngs=nnx.Rngs(seed)))
    last = len(heldout) - task.length - 1
    starts = np.linspace(0, last, HELD_OUT_SEQUENCES).astype(int)
    held = jnp.asarray(heldout[starts[:, None] + np.arange(task.length + 1)], jnp.int32)

    def batch(seed: jax.Array, step: jax.Array) -> jax.Array:
        key = jax.random.fold_in(jax.random.key(seed), step)
        begin = jax.random.randint(key, (task.batch,), 0, len(train) - task.length)
        return train[begin[:, None] + window].astype(jnp.int32)

    def loss(params: Any, tokens: jax.Array) -> jax.Array:
        return next_token_loss(nnx.merge(graph, params), tokens)

    def evaluate(params: Any) -> jax.Array:
        parts = held.reshape(4, -1, held.shape[1])
        return jnp.mean(jax.lax.map(lambda part: loss(params, part), parts))

    return Problem(init, batch, loss, evaluate, corpus().sha256)


class Attention(nnx.Module):
    """Multi-head self-attention between all patches."""

    def __init__(self, task: Task, *, rngs: nnx.Rngs):
        settings, width = config(task), task.width
        self.heads = task.heads
        self.qkv = linear(width, 3 * width, settings, rngs)
        self.out = linear(width, width, settings, rngs, residual_gain(settings))

    def __call__(self, x: jax.Array) -> jax.Array:
        qkv = self.qkv(x).reshape(*x.shape[:2], 3, self.heads, -1)
        q, k, v = jnp.unstack(qkv, axis=2)
        return self.out(jax.nn.dot_product_attention(q, k, v).reshape(x.shape))


class VisionTransformer(nnx.Module):
    """Maps 8 x 8 pixels, as 16 patches of 2 x 2, to the logits of the ten digits."""

    def __init__(self, task: Task, *, rngs: nnx.Rngs):
        settings, blocks = config(task), range(task.layers)
        small = nnx.initializers.normal(0.02)
        self.patch = linear(4, task.width, settings, rngs)
        self.position = nnx.Param(small(rngs.params(), (16, task.width)))
        self.attention_norms = nnx.List(norm(settings, rngs) for _ in blocks)
        self.attentions = nnx.List(Attention(task, rngs=rngs) for _ in blocks)
        self.mlp_norms = nnx.List(norm(settings, rngs) for _ in blocks)
        self.mlps = nnx.List(MLP(settings, rngs=rngs) for _ in blocks)
        self.final_norm = norm(settings, rngs)
        self.output = linear(task.width, 10, settings, rngs)

    def __call__(self, pixels: jax.Array) -> jax.Array:
        count = len(pixels)
        patches = pixels.reshape(count, 4, 2, 4, 2).transpose(0, 1, 3, 2, 4)
        x = self.patch(patches.reshape(count, 16, 4)) + self.position[...]
        for norm1, attention, norm2, mlp in zip(
            self.attention_norms, self.attentions, self.mlp_norms, self.mlps,
            strict=True,
        ):  # fmt: skip
            x = x + attention(norm1(x))
            x = x + mlp(norm2(x))
        return self.output(self.final_norm(x).mean(axis=1))


def digits(task: Task) -> Problem:
    """A small vision transformer on scikit-learn's handwritten digits."""
    pixels, labels = load_digits()
    train = jnp.asarray(pixels[:TRAINING_DIGITS]), jnp.asarray(labels[:TRAINING_DIGITS])
    held = jnp.asarray(pixels[TRAINING_DIGITS:]), jnp.asarray(labels[TRAINING_DIGITS:])
    graph, init = split(lambda seed: VisionTransformer(task, rngs=nnx.Rngs(seed)))

    def batch(seed: jax.Array, step: jax.Array) -> tuple[jax.Array, jax.Array]:
        key = jax.random.fold_in(jax.random.key(seed), step)
        chosen = jax.random.randint(key, (task.batch,), 0, TRAINING_DIGITS)
        return train[0][chosen], train[1][chosen]

    def loss(params: Any, batch: tuple[jax.Array, jax.Array]) -> jax.Array:
        logits = nnx.merge(graph, params)(batch[0])
        return optax.softmax_cross_entropy_with_integer_labels(logits, batch[1]).mean()

    return Problem(init, batch, loss, lambda params: loss(params, held), "digits")


@functools.cache
def load_digits() -> tuple[np.ndarray, np.ndarray]:
    """Pixels in [-1, 1] and labels, in one shuffled order."""
    try:
        from sklearn import datasets
    except ImportError:
        raise SystemExit(
            "The task digits needs scikit-learn for its data. Install it with "
            "pip install 'optax_warmup[examples]', or leave the task out with "
            "--tasks."
        ) from None
    pixels, labels = datasets.load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(labels))
    pixels = (pixels / 8 - 1).astype(np.float32).reshape(-1, 8, 8)
    return pixels[order], labels[order].astype(np.int32)
