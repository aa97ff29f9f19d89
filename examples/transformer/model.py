"""The model: a pre-norm decoder-only transformer in Flax nnx.

Shapes are in the names: B batch, L length, V vocabulary, D width, H heads,
K head size (D / H), F hidden size of the MLP.
"""

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from .config import Config


def linear(inputs: int, outputs: int, config: Config, rngs: nnx.Rngs, gain=1.0):
    """A matrix without bias, started so that its output has variance gain**2."""
    return nnx.Linear(
        inputs,
        outputs,
        use_bias=False,
        kernel_init=nnx.initializers.variance_scaling(gain**2, "fan_in", "normal"),
        dtype=config.compute_dtype,
        rngs=rngs,
    )


def norm(config: Config, rngs: nnx.Rngs) -> nnx.RMSNorm:
    return nnx.RMSNorm(config.width, dtype=config.compute_dtype, rngs=rngs)


def residual_gain(config: Config) -> float:
    """Each block adds twice to the residual stream, which must not grow with depth."""
    return (2 * config.layers) ** -0.5


class Attention(nnx.Module):
    """Causal multi-head self-attention."""

    def __init__(self, config: Config, *, rngs: nnx.Rngs):
        self.heads = config.heads
        self.qkv = linear(config.width, 3 * config.width, config, rngs)
        self.out = linear(
            config.width, config.width, config, rngs, residual_gain(config)
        )

    def __call__(self, x_BxLxD: jax.Array) -> jax.Array:
        B, L, D = x_BxLxD.shape
        qkv_BxLx3xHxK = self.qkv(x_BxLxD).reshape(B, L, 3, self.heads, D // self.heads)
        q_BxLxHxK, k_BxLxHxK, v_BxLxHxK = jnp.unstack(qkv_BxLx3xHxK, axis=2)
        y_BxLxHxK = jax.nn.dot_product_attention(
            q_BxLxHxK, k_BxLxHxK, v_BxLxHxK, is_causal=True
        )
        return self.out(y_BxLxHxK.reshape(B, L, D))


class MLP(nnx.Module):
    """Position-wise feed-forward layer."""

    def __init__(self, config: Config, *, rngs: nnx.Rngs):
        self.up = linear(config.width, config.mlp_width, config, rngs)
        self.down = linear(
            config.mlp_width, config.width, config, rngs, residual_gain(config)
        )

    def __call__(self, x_BxLxD: jax.Array) -> jax.Array:
        h_BxLxF = jax.nn.gelu(self.up(x_BxLxD))
        return self.down(h_BxLxF)


class Block(nnx.Module):
    """Attention, then MLP, each on a normalised copy of the residual stream."""

    def __init__(self, config: Config, *, rngs: nnx.Rngs):
        self.attention_norm = norm(config, rngs)
        self.attention = Attention(config, rngs=rngs)
        self.mlp_norm = norm(config, rngs)
        self.mlp = MLP(config, rngs=rngs)

    def __call__(self, x_BxLxD: jax.Array) -> jax.Array:
        x_BxLxD = x_BxLxD + self.attention(self.attention_norm(x_BxLxD))
        return x_BxLxD + self.mlp(self.mlp_norm(x_BxLxD))


class Transformer(nnx.Module):
    """Bytes in, logits of the next byte out."""

    def __init__(self, config: Config, *, rngs: nnx.Rngs):
        def table(rows: int) -> nnx.Embed:
            return nnx.Embed(
                rows,
                config.width,
                embedding_init=nnx.initializers.normal(0.02),
                dtype=config.compute_dtype,
                rngs=rngs,
            )

        self.tokens = table(config.vocab_size)
        self.positions = table(config.length)
        self.blocks = nnx.List(Block(config, rngs=rngs) for _ in range(config.layers))
        self.final_norm = norm(config, rngs)
        self.unembed = (
            None
            if config.tied_embedding
            else linear(config.width, config.vocab_size, config, rngs)
        )

    def __call__(self, tokens_BxL: jax.Array) -> jax.Array:
        return self.decode(self.embed(tokens_BxL))

    def embed(self, tokens_BxL: jax.Array) -> jax.Array:
        x_BxLxD = self.tokens(tokens_BxL)
        return x_BxLxD + self.positions(jnp.arange(tokens_BxL.shape[1]))[None]

    def decode(self, x_BxLxD: jax.Array) -> jax.Array:
        for block in self.blocks:
            x_BxLxD = block(x_BxLxD)
        x_BxLxD = self.final_norm(x_BxLxD)
        unembed = self.tokens.attend if self.unembed is None else self.unembed
        return unembed(x_BxLxD).astype(jnp.float32)  # logits_BxLxV


def next_token_loss(model: Transformer, tokens_BxL: jax.Array) -> jax.Array:
    """Mean cross-entropy of every token given those before it, in nats; shape ()."""
    logits_BxLxV = model(tokens_BxL[:, :-1])
    return optax.softmax_cross_entropy_with_integer_labels(
        logits_BxLxV, tokens_BxL[:, 1:]
    ).mean()
