"""Generates text with a cache of keys and values."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from .config import ModelConfig


def make_generate(
    config: ModelConfig, graphdef: nnx.GraphDef, vocab_size: int = 256
) -> jax.stages.Wrapped:
    """(params, tokens_L, start, stop, temperature, seed) -> tokens_L, jitted.

    tokens[:start] is the prompt; tokens[start:stop] are sampled one after the other.
    One compiled program serves prompts of any length. `vocab_size` is the tokenizer's:
    further rows of the embedding table are never trained.
    """
    shape = (config.layers, 1, config.length, config.heads, config.head_size)

    def generate(
        params: Any,
        tokens_L: jax.Array,
        start: jax.Array,
        stop: jax.Array,
        temperature: jax.Array,
        seed: jax.Array,
    ) -> jax.Array:
        model, key = nnx.merge(graphdef, params), jax.random.key(seed)
        empty = jnp.zeros(shape, config.compute_dtype)
        # The whole prompt at once. Cache entries after `start` are overwritten later.
        logits_1xLxV, cache = model.extend(tokens_L[None], (empty, empty), 0)

        def sample_next(n: jax.Array, carry: tuple) -> tuple:
            tokens_L, cache, logits_V = carry
            scaled_V = logits_V[:vocab_size] / jnp.maximum(temperature, 1e-6)
            sampled = jax.random.categorical(jax.random.fold_in(key, n), scaled_V)
            token = jnp.where(temperature > 0, sampled, jnp.argmax(scaled_V))
            tokens_L = tokens_L.at[n].set(token.astype(tokens_L.dtype))
            logits_1x1xV, cache = model.extend(tokens_L[n][None, None], cache, n)
            return tokens_L, cache, logits_1x1xV[0, 0]

        carry = tokens_L, cache, logits_1xLxV[0, start - 1]
        return jax.lax.fori_loop(start, stop, sample_next, carry)[0]

    return jax.jit(generate)
