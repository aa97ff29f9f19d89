"""Times the start of the transformer example, without and with a compilation cache.

    python -m benchmarks.warm_start [--preset NAME] [--quick]

A process starts, precompiles the training step from shapes, makes the state and trains
one update: first with an empty compilation cache, then with the cache that the first
start has filled.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time

import jax
import numpy as np

import optax_warmup as ow
from benchmarks.training_speed.with_jax import TINY
from examples.transformer.core.optimizer import make_optimizer
from examples.transformer.core.sharding import (
    local_rows,
    make_mesh,
    of_batch,
    put_batch,
)
from examples.transformer.core.train_step import (
    abstract_state,
    init_state,
    loss_of,
    make_train_step,
)
from examples.transformer.run.config import Config
from examples.transformer.run.presets import PRESETS

COLUMNS = {
    "imports": "imports, device",
    "trace": "trace",
    "compile": "compile or fetch",
    "first_call": "first call, on zeros",
    "steady": "later calls",
    "first_update": "first real update",
    "start": "start to first update done",
}


def start(config: Config, began: float) -> dict[str, float]:
    """Seconds of each part of the start of this process, which began at `began`."""
    jax.devices()
    imported = time.time()
    mesh, optimizer = make_mesh(config.batch_size, config.fsdp), make_optimizer(config)
    rows = local_rows(mesh, config.batch_size)
    tokens = np.zeros((config.batch_size, config.length + 1), np.int32)
    with jax.set_mesh(mesh):
        graphdef, abstract = abstract_state(config, optimizer, mesh)
        loss_fn = loss_of(graphdef, config.compute_dtype)
        train_step = make_train_step(loss_fn, optimizer, abstract, mesh)
        shape = jax.ShapeDtypeStruct(
            tokens.shape, tokens.dtype, sharding=of_batch(mesh)
        )
        warm = ow.precompile(train_step, abstract, shape)
        state = init_state(config, optimizer, abstract, mesh, config.seed)
        batch = put_batch(tokens, rows, mesh)
        jax.block_until_ready((state, batch))
        ready = time.time()
        jax.block_until_ready(warm(state, batch))
    return {
        "imports": imported - began,
        "trace": warm.trace_seconds,
        "compile": warm.compile_seconds,
        "first_call": warm.first_call_seconds,
        "steady": warm.steady_seconds,
        "first_update": time.time() - ready,
        "start": time.time() - began,
    }


def started(arguments: list[str], cache: str) -> dict[str, float]:
    """Runs `start` in a process of its own, with the given compilation cache."""
    command = [sys.executable, "-m", "benchmarks.warm_start", *arguments]
    environment = os.environ | {
        "JAX_COMPILATION_CACHE_DIR": cache,
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }
    output = subprocess.run(
        [*command, "--began", repr(time.time())],
        env=environment, stdout=subprocess.PIPE, text=True, check=True,
    ).stdout  # fmt: skip
    return json.loads(output.splitlines()[-1])


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", choices=PRESETS, default="demo")
    parser.add_argument("--quick", action="store_true", help="tiny, for a test")
    parser.add_argument("--began", type=float, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    config = TINY if options.quick else PRESETS[options.preset]
    if options.began:
        print(json.dumps(start(config, options.began)))
        return
    print(f"Seconds, {'tiny' if options.quick else 'preset ' + options.preset}.\n")
    print("| compilation cache |", " | ".join(COLUMNS.values()), "|")
    print("|---" * (1 + len(COLUMNS)) + "|")
    same = ["--preset", options.preset, *["--quick"] * options.quick]
    with tempfile.TemporaryDirectory() as cache:
        for name in ("empty", "filled"):
            seconds = started(same, cache)
            cells = (f"{seconds[column]:.3g}" for column in COLUMNS)
            print(f"| {name} |", " | ".join(cells), "|", flush=True)


if __name__ == "__main__":
    main()
