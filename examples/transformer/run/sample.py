"""Continues a prompt: `python -m examples.transformer.sample RUN --prompt "def "`.

The program is compiled and run once before the first request, which is then as fast as
the tenth.
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
from jax.sharding import SingleDeviceSharding

import optax_warmup as ow

from ..core.checkpoint import Damaged
from ..core.generate import make_generate
from ..core.optimizer import averaged_params, make_optimizer
from ..core.settings import InputError
from ..core.token_file import open_tokenizer
from ..core.tokenizer import Bytes, Tokenizer
from ..core.train_step import abstract_model
from .best import Best
from .checkpoint import Checkpoints
from .config import Config
from .config_file import read_config
from .records import read_rows


class Sampler:
    """A trained model, compiled and warmed up."""

    def __init__(self, config: Config, params: Any, tokenizer: Tokenizer | None = None):
        self.config, self.params = config, params
        self.tokenizer = tokenizer or Bytes()
        graphdef, _ = abstract_model(config)
        arguments = {
            "tokens": ((config.length,), jnp.int32),
            "start": ((), jnp.int32),
            "stop": ((), jnp.int32),
            "temperature": ((), jnp.float32),
            "seed": ((), jnp.uint32),
        }
        self.generate = ow.precompile(
            make_generate(config, graphdef, self.tokenizer.vocab_size),
            params,
            *(jax.ShapeDtypeStruct(*each) for each in arguments.values()),
        )

    def __call__(
        self, prompt: str, tokens: int, temperature: float = 0.8, seed: int = 0
    ) -> str:
        """The prompt and its continuation, up to the end of a document."""
        try:
            (prompt_N,) = self.tokenizer.encode([prompt])
        except UnicodeEncodeError:
            raise InputError(f"prompt: {prompt!r} is not UTF-8 text.") from None
        start, stop = len(prompt_N), len(prompt_N) + tokens
        if not start:
            raise InputError("prompt: it is empty. Give some text.")
        if tokens < 1:
            raise InputError(f"tokens={tokens} is invalid: it must be 1 or more.")
        if not 0 <= temperature < np.inf:
            raise InputError(
                f"temperature={temperature} is invalid: it must be 0 or more, and "
                f"finite."
            )
        if stop > self.config.length:
            raise InputError(
                f"prompt and tokens together are {stop} tokens, and the model has "
                f"length={self.config.length} positions. Shorten one of them."
            )
        tokens_L = np.zeros(self.config.length, np.int32)
        tokens_L[:start] = prompt_N
        generated_L = self.generate(
            self.params,
            tokens_L,
            np.int32(start),
            np.int32(stop),
            np.float32(temperature),
            np.uint32(seed),
        )
        generated_N = np.asarray(generated_L)[:stop]
        ends = np.flatnonzero(generated_N[start:] == self.tokenizer.end)
        length = start + int(ends[0]) if ends.size else stop
        return self.tokenizer.decode(generated_N[:length])


def load_sampler(
    run: str | Path, *, best: bool = False, average: bool = False
) -> Sampler:
    """The model of a run's newest checkpoint, on one device.

    With `best`, that of the checkpoint with the lowest held-out loss; with `average`,
    the moving average of the weights.
    """
    run = Path(run).expanduser()
    if not (run / "config.json").is_file():
        raise InputError(f"{run} is not a run: it has no config.json.")
    config = read_config(run)
    _, abstract = abstract_model(config)
    here = SingleDeviceSharding(jax.devices()[0])
    abstract = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=here), abstract
    )
    if best and not config.keep_best:
        raise InputError("--best: the run has keep_best=False, and so kept the newest.")
    name, wanted = "params", abstract
    if average:
        name, wanted = "opt_state", state_of(config, abstract)
    with Checkpoints(run, read_only=True) as checkpoints:
        while steps := checkpoints.steps():
            step = best_step(run, config, steps) if best else steps[-1]
            if step is None:
                break
            try:
                restored = checkpoints.restore(step, {name: wanted})[name]
            except Damaged as error:
                print(f"{error}; taking the one before", file=sys.stderr)
                continue
            params = averaged_params(restored) if average else restored
            identity = checkpoints.about(step)["identity"]
            fingerprint = identity.get("tokenizer", Bytes.fingerprint)
            return Sampler(config, params, open_tokenizer(run, fingerprint))
    raise InputError(f"{run} has no complete checkpoint that is whole.")


def state_of(config: Config, params: Any) -> Any:
    """The shapes of the optimizer's state, with an average of the weights in it."""
    if not config.ema_decay:
        raise InputError("--average: the run has ema_decay=0, and so no average.")
    place = jax.tree.leaves(params)[0].sharding
    return jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=place),
        jax.eval_shape(make_optimizer(config).init, params),
    )


def best_step(run: Path, config: Config, steps: list[int]) -> int | None:
    best = Best(config)
    best.replay([row for _, row in read_rows(run / "metrics.jsonl")[0]])
    return best.of(steps)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m examples.transformer.sample",
        description="Continue prompts with a trained model.",
    )
    parser.add_argument("run", metavar="RUN", help="folder of a run")
    parser.add_argument(
        "--prompt", nargs="+", default=["def "], help="one or several prompts"
    )
    parser.add_argument("--tokens", type=int, default=40, help="tokens to generate")
    parser.add_argument(
        "--temperature", type=float, default=0.8, help="0: always the likeliest token"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--best", action="store_true", help="take the checkpoint that --keep-best kept"
    )
    parser.add_argument(
        "--average", action="store_true", help="take the average of the weights"
    )
    options = parser.parse_args(arguments)
    logging.getLogger("absl").setLevel(logging.CRITICAL)  # Orbax logs too much
    try:
        sampler = load_sampler(options.run, best=options.best, average=options.average)
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
