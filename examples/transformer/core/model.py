"""The model: a pre-norm decoder-only transformer in Flax nnx.

Shapes are in the names: B batch, L length, V vocabulary, D width, H heads,
K head size (D / H), F hidden size of the MLP.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from .attention import implementation
from .config import ModelConfig
from .packing import Packed, counted, pack
from .sharding import all_but_gathered, gather, shares_params, split_over_batch

# Keys and values of the tokens so far, each [B, L, H, K].
Cache = tuple[jax.Array, jax.Array]


def linear(
    inputs: int, outputs: int, config: ModelConfig, rngs: nnx.Rngs, gain: float = 1.0
) -> nnx.Linear:
    """A layer without bias, initialised so that its output has variance gain**2."""
    return nnx.Linear(
        inputs,
        outputs,
        use_bias=False,
        kernel_init=nnx.initializers.variance_scaling(gain**2, "fan_in", "normal"),
        dtype=config.compute_dtype,
        rngs=rngs,
    )


def norm(config: ModelConfig, rngs: nnx.Rngs) -> nnx.RMSNorm:
    return nnx.RMSNorm(config.width, dtype=config.compute_dtype, rngs=rngs)


def residual_gain(config: ModelConfig) -> float:
    """The gain that keeps the residual stream from growing with depth.

    Each block adds to the stream twice.
    """
    return (2 * config.layers) ** -0.5


class Attention(nnx.Module):
    """Causal multi-head self-attention."""

    def __init__(self, config: ModelConfig, *, rngs: nnx.Rngs):
        self.heads = config.heads
        self.implementation = implementation(config)
        self.qkv = linear(config.width, 3 * config.width, config, rngs)
        self.out = linear(
            config.width, config.width, config, rngs, residual_gain(config)
        )

    def __call__(
        self, x_BxLxD: jax.Array, mask_Bx1xLxL: jax.Array | None = None
    ) -> jax.Array:
        q_BxLxHxK, k_BxLxHxK, v_BxLxHxK = self.project(x_BxLxD)
        y_BxLxHxK = jax.nn.dot_product_attention(
            q_BxLxHxK,
            k_BxLxHxK,
            v_BxLxHxK,
            mask=mask_Bx1xLxL,
            is_causal=True,
            implementation=self.implementation,
        )
        return self.out(y_BxLxHxK.reshape(x_BxLxD.shape))

    def project(self, x_BxLxD: jax.Array) -> tuple[jax.Array, ...]:
        """Queries, keys and values, each [B, L, H, K]."""
        B, L, D = x_BxLxD.shape
        qkv_BxLx3xHxK = self.qkv(x_BxLxD).reshape(B, L, 3, self.heads, D // self.heads)
        return jnp.unstack(qkv_BxLx3xHxK, axis=2)

    def extend(
        self, x_BxNxD: jax.Array, cache: Cache, position: jax.Array
    ) -> tuple[jax.Array, Cache]:
        """Attention of N new tokens, which start at `position`, using the cache.

        Cache entries from `position` on are overwritten or masked.
        """
        q_BxNxHxK, *new = self.project(x_BxNxD)
        k_BxLxHxK, v_BxLxHxK = (
            jax.lax.dynamic_update_slice_in_dim(old, x.astype(old.dtype), position, 1)
            for old, x in zip(cache, new, strict=True)
        )
        queries_N = position + jnp.arange(x_BxNxD.shape[1])
        seen_NxL = jnp.arange(k_BxLxHxK.shape[1]) <= queries_N[:, None]
        y_BxNxHxK = jax.nn.dot_product_attention(
            q_BxNxHxK, k_BxLxHxK, v_BxLxHxK, mask=seen_NxL[None, None]
        )
        return self.out(y_BxNxHxK.reshape(x_BxNxD.shape)), (k_BxLxHxK, v_BxLxHxK)


class MLP(nnx.Module):
    """Position-wise feed-forward layer."""

    def __init__(self, config: ModelConfig, *, rngs: nnx.Rngs):
        self.up = linear(config.width, config.mlp_width, config, rngs)
        self.down = linear(
            config.mlp_width, config.width, config, rngs, residual_gain(config)
        )

    def __call__(self, x_BxLxD: jax.Array) -> jax.Array:
        h_BxLxF = jax.nn.gelu(self.up(x_BxLxD))
        return self.down(h_BxLxF)


class Block(nnx.Module):
    """Pre-norm attention and MLP with residual connections."""

    def __init__(self, config: ModelConfig, *, rngs: nnx.Rngs):
        self.attention_norm = norm(config, rngs)
        self.attention = Attention(config, rngs=rngs)
        self.mlp_norm = norm(config, rngs)
        self.mlp = MLP(config, rngs=rngs)

    def __call__(
        self, x_BxLxD: jax.Array, mask_Bx1xLxL: jax.Array | None = None
    ) -> jax.Array:
        y_BxLxD = self.attention(self.attention_norm(x_BxLxD), mask_Bx1xLxL)
        x_BxLxD = x_BxLxD + y_BxLxD
        return x_BxLxD + self.mlp(self.mlp_norm(x_BxLxD))

    def extend(
        self, x_BxNxD: jax.Array, cache: Cache, position: jax.Array
    ) -> tuple[jax.Array, Cache]:
        y_BxNxD, cache = self.attention.extend(
            self.attention_norm(x_BxNxD), cache, position
        )
        x_BxNxD = x_BxNxD + y_BxNxD
        return x_BxNxD + self.mlp(self.mlp_norm(x_BxNxD)), cache


class Transformer(nnx.Module):
    """Maps tokens to the logits of the next token."""

    def __init__(self, config: ModelConfig, *, rngs: nnx.Rngs):
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
        blocks = [Block(config, rngs=rngs) for _ in range(config.layers)]
        self.blocks: Any = stack(blocks) if config.scan_layers else nnx.List(blocks)
        self.scan_layers, self.remat = config.scan_layers, config.remat
        self.layers_at_once = config.layers_at_once()
        self.loss_chunks, self.dtype = config.loss_chunks, config.compute_dtype
        self.final_norm = norm(config, rngs)
        # Of muP: the output begins with the variance of the narrow model's, and the
        # logits are divided. It is 1 without.
        self.width_ratio = ratio = config.width_ratio
        self.output = (
            None
            if config.tied_embedding
            else linear(config.width, config.vocab_size, config, rngs, ratio**0.5)
        )

    def __call__(
        self, tokens_BxL: jax.Array, packed: Packed | None = None
    ) -> jax.Array:
        return self.unembed(self.decode(self.embed(tokens_BxL, packed), packed))

    def embed(self, tokens_BxL: jax.Array, packed: Packed | None = None) -> jax.Array:
        x_BxLxD = self.tokens(tokens_BxL)
        if packed is None:
            x_BxLxD = x_BxLxD + self.positions(jnp.arange(tokens_BxL.shape[1]))[None]
        else:
            x_BxLxD = x_BxLxD + self.positions(packed.positions_BxL)
        return split_over_batch(x_BxLxD)

    def decode(self, x_BxLxD: jax.Array, packed: Packed | None = None) -> jax.Array:
        mask_Bx1xLxL = packed and packed.mask_Bx1xLxL
        apply: Callable = partial(apply_block, self.dtype)
        if self.remat or shares_params():
            apply = jax.checkpoint(
                apply,
                static_argnums=0,
                policy=None if self.remat else all_but_gathered,
                # A loop cannot merge the recomputation with the first computation.
                prevent_cse=not self.scan_layers or self.layers_at_once > 1,
            )
        if self.scan_layers:
            graphdef, stacked = nnx.split(self.blocks)
            x_BxLxD, _ = jax.lax.scan(
                lambda x_BxLxD, layer: (
                    apply(graphdef, layer, x_BxLxD, mask_Bx1xLxL),
                    None,
                ),
                x_BxLxD,
                stacked,
                unroll=self.layers_at_once,
            )
        else:
            for block in self.blocks:
                x_BxLxD = apply(*nnx.split(block), x_BxLxD, mask_Bx1xLxL)
        return self.final_norm(x_BxLxD)

    def extend(
        self, tokens_BxN: jax.Array, cache: Cache, position: jax.Array
    ) -> tuple[jax.Array, Cache]:
        """Logits after each of N new tokens, and the updated cache of all layers."""
        positions_N = position + jnp.arange(tokens_BxN.shape[1])
        x_BxNxD = self.tokens(tokens_BxN) + self.positions(positions_N)[None]
        blocks = self.blocks if self.scan_layers else stack(self.blocks)
        graphdef, stacked = nnx.split(blocks)

        def apply(x_BxNxD: jax.Array, layer: Any) -> tuple[jax.Array, Cache]:
            params, cache = layer
            return nnx.merge(graphdef, params).extend(x_BxNxD, cache, position)

        x_BxNxD, cache = jax.lax.scan(apply, x_BxNxD, (stacked, cache))
        return self.unembed(self.final_norm(x_BxNxD)), cache

    def unembed(self, x_BxLxD: jax.Array) -> jax.Array:
        layer = self.tokens.attend if self.output is None else self.output
        return layer(x_BxLxD).astype(jnp.float32) / self.width_ratio  # logits_BxLxV


def apply_block(
    dtype: str,
    graphdef: nnx.GraphDef,
    params: nnx.State,
    x_BxLxD: jax.Array,
    mask_Bx1xLxL: jax.Array | None,
) -> jax.Array:
    block = nnx.merge(graphdef, gather(params, dtype))
    return split_over_batch(block(x_BxLxD, mask_Bx1xLxL))


def stack(blocks: Sequence[Block]) -> Block:
    """One block whose parameters are those of all blocks, stacked on a leading axis.

    The values stay the same, so a model starts the same with and without scanning.
    """
    graphdef = nnx.graphdef(blocks[0])
    states = [nnx.state(block) for block in blocks]
    return nnx.merge(graphdef, jax.tree.map(lambda *x: jnp.stack(x), *states))


def next_token_loss(
    model: Transformer, tokens_BxL: jax.Array, document_end: int | None = None
) -> jax.Array:
    """Mean cross-entropy of each token given the tokens before it, in nats; shape ().

    With `document_end`, the token that ends a document, each document of a sequence is
    as if it were alone: attention and positions stay within it, and the loss is 0 where
    the token before is of another one. The mean is over all positions, so that the mean
    of the parts of a batch is that of the batch.

    With `loss_chunks` > 1 the sequence is processed in that many parts, so that the
    logits, the largest array of a model with a large vocabulary, are never in memory
    all at once.
    """
    inputs_BxL, targets_BxL = tokens_BxL[:, :-1], tokens_BxL[:, 1:]
    packed = counted_BxL = None
    if document_end is not None:
        packed = pack(inputs_BxL, document_end)
        counted_BxL = counted(tokens_BxL, document_end)
    x_BxLxD = model.decode(model.embed(inputs_BxL, packed), packed)

    def loss(x_BxCxD: jax.Array, targets_BxC: jax.Array, counted_BxC: Any) -> jax.Array:
        losses_BxC = optax.softmax_cross_entropy_with_integer_labels(
            model.unembed(x_BxCxD), targets_BxC
        )
        if counted_BxC is not None:
            losses_BxC = jnp.where(counted_BxC, losses_BxC, 0)
        return losses_BxC.mean()

    arrays = x_BxLxD, targets_BxL, counted_BxL
    if model.loss_chunks == 1:
        return loss(*arrays)
    split = partial(jnp.split, indices_or_sections=model.loss_chunks, axis=1)
    chunks = jax.tree.map(lambda x: jnp.stack(split(x)), arrays)
    return jax.lax.map(lambda chunk: jax.checkpoint(loss)(*chunk), chunks).mean()
