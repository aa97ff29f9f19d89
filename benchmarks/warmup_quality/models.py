"""Small models in plain JAX: parameters from a key, and logits from parameters."""

from typing import Any

import jax
import jax.numpy as jnp

Params = dict[str, Any]
BYTES = 128  # other bytes count as 0
LENGTH = 16  # of a sequence, in bytes


def dense(key: jax.Array, inputs: int, outputs: int, gain: float = 1.0) -> Params:
    w = gain / inputs**0.5 * jax.random.normal(key, (inputs, outputs))
    return {"w": w, "b": jnp.zeros(outputs)}


def apply_dense(layer: Params, x: jax.Array) -> jax.Array:
    return x @ layer["w"] + layer["b"]


def softmax(key: jax.Array, gain: float) -> Params:
    return dense(key, 64, 10, gain)


def apply_softmax(params: Params, x: jax.Array) -> jax.Array:
    return apply_dense(params, x)


def mlp(key: jax.Array, widths: tuple[int, ...], head: float = 1.0) -> Params:
    keys = jax.random.split(key, len(widths))
    hidden = [
        dense(keys[i], *pair, gain=2**0.5)
        for i, pair in enumerate(zip(widths[:-2], widths[1:-1], strict=True))
    ]
    return {"hidden": hidden, "head": dense(keys[-1], widths[-2], widths[-1], head)}


def apply_mlp(params: Params, x: jax.Array) -> jax.Array:
    for layer in params["hidden"]:
        x = jax.nn.relu(apply_dense(layer, x))
    return apply_dense(params["head"], x)


def conv(key: jax.Array) -> Params:
    first, second, third, head = jax.random.split(key, 4)

    def kernel(key: jax.Array, inputs: int, outputs: int) -> jax.Array:
        gain = (2 / (9 * inputs)) ** 0.5
        return gain * jax.random.normal(key, (3, 3, inputs, outputs))

    return {
        "first": kernel(first, 1, 8),
        "second": kernel(second, 8, 16),
        "third": kernel(third, 16, 16),
        "head": dense(head, 16, 10),
    }


def apply_conv(params: Params, x: jax.Array) -> jax.Array:
    x = x.reshape(-1, 8, 8, 1)
    for name, stride in (("first", 1), ("second", 2), ("third", 2)):
        kernel = params[name]
        x = jax.nn.relu(patches(x, stride) @ kernel.reshape(-1, kernel.shape[-1]))
    return apply_dense(params["head"], x.mean(axis=(1, 2)))


def patches(x: jax.Array, stride: int) -> jax.Array:
    """The 3 x 3 neighbourhood of each position; batches of small convolutions are slow
    on CPU as convolutions, and fast as products."""
    height, width = x.shape[1:3]
    padded = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    shifted = [
        padded[:, i : i + height : stride, j : j + width : stride]
        for i in range(3)
        for j in range(3)
    ]
    return jnp.concatenate(shifted, axis=-1)


def gru(key: jax.Array, width: int = 32) -> Params:
    keys = jax.random.split(key, 4)
    return {
        "embedding": jax.random.normal(keys[0], (BYTES, width)),
        "input": dense(keys[1], width, 3 * width),
        "state": dense(keys[2], width, 3 * width),
        "head": dense(keys[3], width, BYTES),
    }


def apply_gru(params: Params, tokens: jax.Array) -> jax.Array:
    entering = apply_dense(params["input"], params["embedding"][tokens])

    def advance(h: jax.Array, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        update, reset, new = jnp.split(x, 3, axis=-1)
        of_update, of_reset, of_new = jnp.split(
            apply_dense(params["state"], h), 3, axis=-1
        )
        update = jax.nn.sigmoid(update + of_update)
        reset = jax.nn.sigmoid(reset + of_reset)
        h = update * h + (1 - update) * jnp.tanh(new + reset * of_new)
        return h, h

    begin = jnp.zeros((tokens.shape[0], params["state"]["w"].shape[0]))
    _, states = jax.lax.scan(advance, begin, entering.swapaxes(0, 1))
    return apply_dense(params["head"], states.swapaxes(0, 1))


def transformer(
    key: jax.Array, vocabulary: int = BYTES, width: int = 24, layers: int = 3
) -> Params:
    keys = iter(jax.random.split(key, 3 + 4 * layers))

    def block() -> Params:
        return {
            "qkv": dense(next(keys), width, 3 * width),
            "out": dense(next(keys), width, width),
            "up": dense(next(keys), width, 4 * width, 2**0.5),
            "down": dense(next(keys), 4 * width, width),
            "scale1": jnp.ones(width),
            "scale2": jnp.ones(width),
        }

    return {
        "embedding": jax.random.normal(next(keys), (vocabulary, width)),
        "position": jax.random.normal(next(keys), (LENGTH, width)),
        "blocks": [block() for _ in range(layers)],
        "head": dense(next(keys), width, BYTES),
    }


def normalized(x: jax.Array, scale: jax.Array) -> jax.Array:
    x = x - x.mean(axis=-1, keepdims=True)
    return scale * x * jax.lax.rsqrt(jnp.square(x).mean(axis=-1, keepdims=True) + 1e-5)


def attention(
    block: Params, x: jax.Array, heads: int = 4, causal: bool = True
) -> jax.Array:
    batch, length, width = x.shape
    qkv = apply_dense(block["qkv"], x).reshape(batch, length, 3, heads, -1)
    q, k, v = jnp.unstack(qkv, axis=2)
    mixed = jax.nn.dot_product_attention(q, k, v, is_causal=causal)
    return apply_dense(block["out"], mixed.reshape(x.shape))


def apply_transformer(
    params: Params, tokens: jax.Array, pre: bool, pairs: bool = False
) -> jax.Array:
    index = tokens
    if pairs:  # of this byte and the one before
        index = tokens + BYTES * (jnp.pad(tokens, ((0, 0), (1, 0)))[:, :-1] % 32)
    x = params["embedding"][index] + params["position"]
    for block in params["blocks"]:

        def feed(x: jax.Array, block: Params = block) -> jax.Array:
            return apply_dense(block["down"], jax.nn.relu(apply_dense(block["up"], x)))

        if pre:
            x = x + attention(block, normalized(x, block["scale1"]))
            x = x + feed(normalized(x, block["scale2"]))
        else:
            x = normalized(x + attention(block, x), block["scale1"])
            x = normalized(x + feed(x), block["scale2"])
    return apply_dense(params["head"], x)
