"""A small network on digits, trained on all examples at once, so without noise."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from benchmarks.warmup_quality.data import digits

EXAMPLES, WIDTHS = 500, (64, 32, 32, 10)
Loss = Callable[[Any], jax.Array]


def network(key: jax.Array, gain: float = 1.0) -> list[tuple[jax.Array, jax.Array]]:
    pairs = list(zip(WIDTHS[:-1], WIDTHS[1:], strict=True))
    return [
        (gain / pair[0] ** 0.5 * jax.random.normal(k, pair), jnp.zeros(pair[1]))
        for k, pair in zip(jax.random.split(key, len(pairs)), pairs, strict=True)
    ]


def losses(activation: Callable[[jax.Array], jax.Array] = jnp.tanh) -> dict[str, Loss]:
    """Losses of parameters."""
    (pixels, labels), _ = digits()
    x, labels = pixels[:EXAMPLES], labels[:EXAMPLES]
    y = jax.nn.one_hot(labels, 10)

    def output(params: Any) -> jax.Array:
        values = x
        for w, b in params[:-1]:
            values = activation(values @ w + b)
        w, b = params[-1]
        return values @ w + b

    def squared(params: Any) -> jax.Array:
        return 0.5 * jnp.mean(jnp.sum((output(params) - y) ** 2, axis=1))

    def cross_entropy(params: Any) -> jax.Array:
        each = optax.softmax_cross_entropy_with_integer_labels(output(params), labels)
        return each.mean()

    return {"squared": squared, "cross-entropy": cross_entropy}
