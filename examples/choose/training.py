"""The model that is trained: the byte-level transformer, small. Put yours here.

`step` is for the rate finder: it takes the learning rate. `make_train` is for sweeps: a
whole training whose schedule is an argument.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

import optax_warmup as ow

from ..transformer.core.config import ModelConfig
from ..transformer.core.data import load_corpus
from ..transformer.core.model import Transformer, next_token_loss

CONFIG = ModelConfig(width=48, mlp_width=192, length=48)
BATCH, HELD_OUT = 12, 192  # sequences
EVAL_EVERY = 20
SEED = 0
WINDOW = np.arange(CONFIG.length + 1)


class Text(NamedTuple):
    """Bytes to train on, and held-out sequences."""

    train: jax.Array  # uint8 [N]
    heldout: jax.Array  # int32 [HELD_OUT, length + 1]


def load_text() -> Text:
    corpus = load_corpus()
    last = len(corpus.heldout) - CONFIG.length - 1
    starts = np.linspace(0, last, HELD_OUT).astype(int)
    heldout = corpus.heldout[starts[:, None] + WINDOW].astype(np.int32)
    return Text(jnp.asarray(corpus.train), jnp.asarray(heldout))


def make_optimizer(rate: Any) -> optax.GradientTransformation:
    """AdamW at a learning rate, which may be a number or a schedule."""
    return optax.chain(
        optax.clip_by_global_norm(1.0), optax.adamw(rate, b2=0.95, weight_decay=0.1)
    )


GRAPH = nnx.graphdef(Transformer(CONFIG, rngs=nnx.Rngs(0)))


def init(seed: int, rate: Any) -> tuple[Any, Any]:
    params = nnx.as_pure(nnx.state(Transformer(CONFIG, rngs=nnx.Rngs(seed)), nnx.Param))
    return params, make_optimizer(rate).init(params)


def loss_of(params: Any, tokens_BxL: jax.Array) -> jax.Array:
    return next_token_loss(nnx.merge(GRAPH, params), tokens_BxL)


def batch(text: jax.Array, step: Any) -> jax.Array:
    """A pure function of the step, so that all trainings see the same batches."""
    key = jax.random.fold_in(jax.random.key(SEED), step)
    starts = jax.random.randint(key, (BATCH,), 0, len(text) - CONFIG.length)
    return text[starts[:, None] + WINDOW].astype(jnp.int32)


def step(state: tuple, tokens_BxL: jax.Array, rate: Any) -> tuple[tuple, jax.Array]:
    params, opt_state = state
    loss, grads = jax.value_and_grad(loss_of)(params, tokens_BxL)
    updates, opt_state = make_optimizer(rate).update(grads, opt_state, params)
    return (optax.apply_updates(params, updates), opt_state), loss


def find_rate(text: Text, steps: int) -> ow.finder.RateCurve:
    """A range test through the step above."""
    batches = (batch(text.train, index) for index in range(steps))
    return ow.finder.find_rate(
        jax.jit(step), init(SEED, 0.0), batches, max_value=10.0, steps=steps
    )


def make_train(total_steps: int) -> Callable[..., dict[str, jax.Array]]:
    """(train, heldout, schedule) -> the held-out loss every `EVAL_EVERY` updates."""
    evaluations = total_steps // EVAL_EVERY

    def train(
        train_text: jax.Array, heldout: jax.Array, schedule: Any
    ) -> dict[str, jax.Array]:
        def update(state: tuple, index: jax.Array) -> tuple[tuple, None]:
            return step(state, batch(train_text, index), schedule)[0], None

        def some(state: tuple, steps: jax.Array) -> tuple[tuple, jax.Array]:
            state, _ = jax.lax.scan(update, state, steps)
            return state, loss_of(state[0], heldout)

        steps = jnp.arange(evaluations * EVAL_EVERY).reshape(evaluations, EVAL_EVERY)
        _, losses = jax.lax.scan(some, init(SEED, schedule), steps)
        return {"step": steps[:, -1] + 1, "loss": losses}

    return train
