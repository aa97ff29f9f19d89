"""Writes on from a prompt: `python -m examples.transformer.sample RUN --prompt "def "`.

One compiled program answers every request, whatever the length of its prompt. It is
compiled and run once before the first one, which is then as fast as the tenth.
"""

import argparse
import logging
import sys
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import SingleDeviceSharding

import optax_warmup as ow

from .checkpoint import Checkpoints
from .config import Config
from .option import InputError
from .run_folder import parse
from .train_step import abstract_model

BYTES = 256  # the rest of a larger vocabulary is never trained


def make_generate(config: Config, graphdef: nnx.GraphDef):
    """(params, tokens_L, start, stop, temperature, seed) -> tokens_L, jitted.

    The prompt is tokens[:start]; tokens[start:stop] are drawn, each given all before.
    """
    shape = (config.layers, 1, config.length, config.heads, config.head_size)

    def generate(params, tokens_L, start, stop, temperature, seed):
        model, key = nnx.merge(graphdef, params), jax.random.key(seed)
        empty = jnp.zeros(shape, config.compute_dtype)
        # The whole prompt at once. What it leaves after `start` is written over.
        logits_1xLxV, cache = model.extend(tokens_L[None], (empty, empty), 0)

        def draw_next(n, carry):
            tokens_L, cache, logits_V = carry
            scaled_V = logits_V[:BYTES] / jnp.maximum(temperature, 1e-6)
            drawn = jax.random.categorical(jax.random.fold_in(key, n), scaled_V)
            token = jnp.where(temperature > 0, drawn, jnp.argmax(scaled_V))
            tokens_L = tokens_L.at[n].set(token.astype(tokens_L.dtype))
            logits_1x1xV, cache = model.extend(tokens_L[n][None, None], cache, n)
            return tokens_L, cache, logits_1x1xV[0, 0]

        carry = tokens_L, cache, logits_1xLxV[0, start - 1]
        return jax.lax.fori_loop(start, stop, draw_next, carry)[0]

    return jax.jit(generate)


class Sampler:
    """A trained model, compiled and warmed up."""

    def __init__(self, config: Config, params: Any):
        self.config, self.params = config, params
        graphdef, _ = abstract_model(config)
        self.generate = ow.precompile(
            make_generate(config, graphdef),
            params,
            *(
                jax.ShapeDtypeStruct(shape, dtype)
                for shape, dtype in (
                    ((config.length,), jnp.int32),  # tokens
                    ((), jnp.int32),  # start
                    ((), jnp.int32),  # stop
                    ((), jnp.float32),  # temperature
                    ((), jnp.uint32),  # seed
                )
            ),
        )

    def __call__(
        self, prompt: str, tokens: int, temperature: float = 0.8, seed: int = 0
    ) -> str:
        """The prompt and what follows."""
        prompt_N = np.frombuffer(prompt.encode(), np.uint8)
        start, stop = len(prompt_N), len(prompt_N) + tokens
        if not start:
            raise InputError("prompt: it is empty. Give one byte or more.")
        if tokens < 1:
            raise InputError(f"tokens={tokens} will not do: it must be 1 or more.")
        if not 0 <= temperature < np.inf:
            raise InputError(
                f"temperature={temperature} must be 0 or more, and finite."
            )
        if stop > self.config.length:
            raise InputError(
                f"prompt and tokens together are {stop} bytes, and the model knows "
                f"length={self.config.length} positions. Shorten one of them."
            )
        tokens_L = np.zeros(self.config.length, np.int32)
        tokens_L[:start] = prompt_N
        written_L = self.generate(
            self.params,
            tokens_L,
            np.int32(start),
            np.int32(stop),
            np.float32(temperature),
            np.uint32(seed),
        )
        return bytes(np.asarray(written_L)[:stop].astype(np.uint8)).decode(
            errors="replace"
        )


def load_sampler(run: str | Path) -> Sampler:
    """The model of a run's newest checkpoint, on one device."""
    run = Path(run).expanduser()
    if not (run / "config.json").is_file():
        raise InputError(f"{run} is not a run: it has no config.json.")
    config = Config(**parse((run / "config.json").read_text()))
    _, abstract = abstract_model(config)
    here = SingleDeviceSharding(jax.devices()[0])
    abstract = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=here), abstract
    )
    with Checkpoints(run, read_only=True) as checkpoints:
        if (step := checkpoints.latest()) is None:
            raise InputError(f"{run} has no complete checkpoint yet.")
        return Sampler(config, checkpoints.restore_params(step, abstract))


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Write on from prompts.")
    parser.add_argument("run", metavar="RUN", help="the folder of a run")
    parser.add_argument(
        "--prompt", nargs="+", default=["def "], help="one or several requests"
    )
    parser.add_argument("--tokens", type=int, default=40, help="bytes to write")
    parser.add_argument(
        "--temperature", type=float, default=0.8, help="0: always the likeliest byte"
    )
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    logging.getLogger("absl").setLevel(logging.CRITICAL)  # Orbax thinks aloud
    try:
        sampler = load_sampler(options.run)
        print(sampler.generate)
        for prompt in options.prompt:
            began = time.perf_counter()
            text = sampler(prompt, options.tokens, options.temperature, options.seed)
            seconds = time.perf_counter() - began
            print(f"--- {seconds * 1e3:.1f} ms\n{text}")
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
