"""A small vision transformer in Flax nnx.

Shapes are in the names: N images, T patches (tokens), F pixels of a patch, D width,
H heads, K head size (D / H), C classes.
"""

import jax
import jax.numpy as jnp
from flax import nnx

SIDE, PATCH, CLASSES = 8, 2, 10
TOKENS, PIXELS = (SIDE // PATCH) ** 2, PATCH**2


class Block(nnx.Module):
    """Pre-norm attention and MLP with residual connections."""

    def __init__(self, width: int, heads: int, *, rngs: nnx.Rngs):
        self.heads = heads
        self.attention_norm = nnx.LayerNorm(width, rngs=rngs)
        self.qkv = nnx.Linear(width, 3 * width, rngs=rngs)
        self.out = nnx.Linear(width, width, rngs=rngs)
        self.mlp_norm = nnx.LayerNorm(width, rngs=rngs)
        self.up = nnx.Linear(width, 2 * width, rngs=rngs)
        self.down = nnx.Linear(2 * width, width, rngs=rngs)

    def __call__(self, x_NxTxD: jax.Array) -> jax.Array:
        x_NxTxD = x_NxTxD + self.attention(self.attention_norm(x_NxTxD))
        return x_NxTxD + self.down(jax.nn.gelu(self.up(self.mlp_norm(x_NxTxD))))

    def attention(self, x_NxTxD: jax.Array) -> jax.Array:
        N, T, D = x_NxTxD.shape
        qkv = self.qkv(x_NxTxD).reshape(N, T, 3, self.heads, D // self.heads)
        y_NxTxHxK = jax.nn.dot_product_attention(*jnp.unstack(qkv, axis=2))
        return self.out(y_NxTxHxK.reshape(N, T, D))


class VisionTransformer(nnx.Module):
    """Maps images to the logits of the ten digits."""

    def __init__(self, width: int, layers: int, heads: int, *, rngs: nnx.Rngs):
        self.patches = nnx.Linear(PIXELS, width, rngs=rngs)
        self.positions = nnx.Param(jax.random.normal(rngs(), (TOKENS, width)))
        self.blocks = nnx.List([Block(width, heads, rngs=rngs) for _ in range(layers)])
        self.norm = nnx.LayerNorm(width, rngs=rngs)
        self.head = nnx.Linear(width, CLASSES, rngs=rngs)

    def __call__(self, images_NxSxS: jax.Array) -> jax.Array:
        x_NxTxD = self.patches(patches(images_NxSxS)) + self.positions
        for block in self.blocks:
            x_NxTxD = block(x_NxTxD)
        return self.head(self.norm(x_NxTxD).mean(axis=1))  # logits_NxC


def patches(images_NxSxS: jax.Array) -> jax.Array:
    """Splits each image into patches, shape (N, T, F)."""
    N, rows = len(images_NxSxS), SIDE // PATCH
    x = images_NxSxS.reshape(N, rows, PATCH, rows, PATCH)
    return x.transpose(0, 1, 3, 2, 4).reshape(N, TOKENS, PIXELS)
