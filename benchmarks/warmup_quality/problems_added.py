"""Problems of the tasks that were added last: other models, losses and optimizers."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from .models import BYTES, Params, apply_dense, attention, dense, normalized
from .problems import Problem, digits, pretrained, text

WIDTH, LAYERS, CONTEXT = 32, 3, 32


def block(key: jax.Array, width: int) -> Params:
    """A pre-norm block as GPT-2 begins it: small weights, smaller ones that add."""
    qkv, out, up, down = jax.random.split(key, 4)
    last = (2 * LAYERS) ** -0.5
    return {
        "qkv": dense(qkv, width, 3 * width, 0.5),
        "out": dense(out, width, width, 0.5 * last),
        "up": dense(up, width, 4 * width, 0.5),
        "down": dense(down, 4 * width, width, 0.5 * last),
        "scale1": jnp.ones(width),
        "scale2": jnp.ones(width),
    }


def apply_block(params: Params, x: jax.Array, causal: bool = True) -> jax.Array:
    x = x + attention(params, normalized(x, params["scale1"]), causal=causal)
    up = jax.nn.gelu(apply_dense(params["up"], normalized(x, params["scale2"])))
    return x + apply_dense(params["down"], up)


def gpt_params(key: jax.Array, stacked: bool) -> Params:
    token, place, *keys = jax.random.split(key, 2 + LAYERS)
    blocks: Any = [block(one, WIDTH) for one in keys]
    if stacked:
        blocks = jax.tree.map(lambda *layers: jnp.stack(layers), *blocks)
    return {
        "embedding": 0.02 * jax.random.normal(token, (BYTES, WIDTH)),
        "position": 0.02 * jax.random.normal(place, (CONTEXT, WIDTH)),
        "blocks": blocks,
        "scale": jnp.ones(WIDTH),
    }


def apply_gpt(params: Params, tokens: jax.Array) -> jax.Array:
    """Logits of a transformer whose head is its embedding."""
    x = params["embedding"][tokens] + params["position"]
    if isinstance(params["blocks"], list):
        for one in params["blocks"]:
            x = apply_block(one, x)
    else:
        x, _ = jax.lax.scan(lambda x, p: (apply_block(p, x), None), x, params["blocks"])
    logits: jax.Array = normalized(x, params["scale"]) @ params["embedding"].T
    return logits


def gpt() -> Problem:
    return text(partial(gpt_params, stacked=False), apply_gpt, CONTEXT)


def gpt_stacked() -> Problem:
    """The same with the layers of a kind in one array, for a scan."""
    return text(partial(gpt_params, stacked=True), apply_gpt, CONTEXT)


def gpt_tuned() -> Problem:
    """The transformer of `gpt`, trained on code, now on prose."""
    params = pretrained(gpt())
    target = text(partial(gpt_params, stacked=False), apply_gpt, CONTEXT, prose=True)
    return Problem(lambda key: params, target.batch, target.loss, target.held_out)


def vit() -> Problem:
    """A vision transformer on 16 patches of 2 x 2 pixels, its head zero at first."""

    def init(key: jax.Array) -> Params:
        patch, place, *keys = jax.random.split(key, 4)
        return {
            "patch": dense(patch, 4, WIDTH),
            "position": 0.02 * jax.random.normal(place, (16, WIDTH)),
            "blocks": [block(one, WIDTH) for one in keys],
            "scale": jnp.ones(WIDTH),
            "head": dense(key, WIDTH, 10, 0.0),
        }

    def apply(params: Params, pixels: jax.Array) -> jax.Array:
        patches = pixels.reshape(-1, 4, 2, 4, 2).swapaxes(2, 3).reshape(-1, 16, 4)
        x = apply_dense(params["patch"], patches) + params["position"]
        for one in params["blocks"]:
            x = apply_block(one, x, causal=False)
        return apply_dense(params["head"], normalized(x, params["scale"]).mean(axis=1))

    return digits(init, apply)


def residual() -> Problem:
    """Ten residual blocks of two layers; each begins as the identity."""

    def init(key: jax.Array) -> Params:
        first, head, *keys = jax.random.split(key, 12)
        return {
            "first": dense(first, 64, 48),
            "blocks": [
                {
                    "scale": jnp.ones(48),
                    "up": dense(one, 48, 48, 2**0.5),
                    "down": dense(one, 48, 48, 0.0),
                }
                for one in keys
            ],
            "head": dense(head, 48, 10),
        }

    def apply(params: Params, x: jax.Array) -> jax.Array:
        x = apply_dense(params["first"], x)
        for one in params["blocks"]:
            up = jax.nn.relu(apply_dense(one["up"], normalized(x, one["scale"])))
            x = x + apply_dense(one["down"], up)
        return apply_dense(params["head"], x)

    return digits(init, apply)


def lstm() -> Problem:
    def init(key: jax.Array) -> Params:
        embedding, gates, head = jax.random.split(key, 3)
        return {
            "embedding": jax.random.normal(embedding, (BYTES, WIDTH)),
            "gates": dense(gates, 2 * WIDTH, 4 * WIDTH),
            "head": dense(head, WIDTH, BYTES),
        }

    def apply(params: Params, tokens: jax.Array) -> jax.Array:
        def advance(carry: Any, x: jax.Array) -> Any:
            h, c = carry
            gates = apply_dense(params["gates"], jnp.concatenate([x, h], axis=-1))
            enter, forget, new, out = jnp.split(gates, 4, axis=-1)
            c = jax.nn.sigmoid(forget + 1) * c + jax.nn.sigmoid(enter) * jnp.tanh(new)
            h = jax.nn.sigmoid(out) * jnp.tanh(c)
            return (h, c), h

        zero = jnp.zeros((tokens.shape[0], WIDTH))
        entering = params["embedding"][tokens].swapaxes(0, 1)
        _, states = jax.lax.scan(advance, (zero, zero), entering)
        return apply_dense(params["head"], states.swapaxes(0, 1))

    return text(init, apply, 16)


def autoencoder() -> Problem:
    """Squared error of digits that pass through eight numbers."""
    source = digits(lambda key: {}, lambda params, x: x)

    def init(key: jax.Array) -> Params:
        keys = jax.random.split(key, 4)
        sizes = zip((64, 48, 8, 48), (48, 8, 48, 64), strict=True)
        return {
            "layers": [dense(k, *pair) for k, pair in zip(keys, sizes, strict=True)]
        }

    def loss(params: Params, batch: Any) -> jax.Array:
        x = batch[0]
        for layer in params["layers"][:-1]:
            x = jnp.tanh(apply_dense(layer, x))
        return jnp.mean(jnp.square(apply_dense(params["layers"][-1], x) - batch[0]))

    return Problem(init, source.batch, loss, source.held_out)


def factors() -> Problem:
    """A matrix from few of its entries: a batch touches few rows of either factor."""
    rows, rank = 300, 6
    left, right = jax.random.normal(jax.random.key(5), (2, rows, rank)) / rank**0.25

    def batch(key: jax.Array, size: int) -> tuple[jax.Array, ...]:
        where, noise = jax.random.split(key)
        i, j = jax.random.randint(where, (2, size), 0, rows)
        value = jnp.sum(left[i] * right[j], axis=1)
        return i, j, value + 0.1 * jax.random.normal(noise, (size,))

    def init(key: jax.Array) -> Params:
        a, b = jax.random.normal(key, (2, rows, 2 * rank)) / 10
        return {"left": a, "right": b}

    def loss(params: Params, batch: tuple[jax.Array, ...]) -> jax.Array:
        i, j, value = batch
        guess = jnp.sum(params["left"][i] * params["right"][j], axis=1)
        return jnp.mean(jnp.square(guess - value))

    return Problem(init, batch, loss, batch(jax.random.key(6), 4000))


def heavy_tails() -> Problem:
    """Regression by a small net; now and then the target is far off."""
    teacher = dense(jax.random.key(4), 16, 16, 2.0)

    def truth(x: jax.Array) -> jax.Array:
        return jnp.sum(jnp.tanh(apply_dense(teacher, x)), axis=-1) / 2

    def batch(key: jax.Array, size: int) -> tuple[jax.Array, jax.Array]:
        inputs, noise = jax.random.split(key)
        x = jax.random.normal(inputs, (size, 16))
        return x, truth(x) + 0.5 * jax.random.t(noise, 2.0, (size,))

    def init(key: jax.Array) -> Params:
        first, second = jax.random.split(key)
        return {"first": dense(first, 16, 64, 2**0.5), "head": dense(second, 64, 1)}

    def loss(params: Params, batch: tuple[jax.Array, jax.Array]) -> jax.Array:
        x = jax.nn.relu(apply_dense(params["first"], batch[0]))
        guess = apply_dense(params["head"], x)[:, 0]
        return jnp.mean(jnp.square(guess - batch[1]))

    x = jax.random.normal(jax.random.key(3), (2000, 16))
    return Problem(init, batch, loss, (x, truth(x)))
