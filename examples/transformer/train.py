"""Trains a transformer: `python -m examples.transformer.train --help`.

Initialise, then step by step: draw a batch, update, record, and at times evaluate.
"""

import dataclasses
import sys
import time

import jax
import numpy as np
from rich.console import Console

import optax_warmup as ow

from . import sharding
from .command_line import config_from, make_parser
from .config import Config, InputError
from .data import heldout_batches, load_corpus, training_batch
from .environment import describe
from .optimizer import make_optimizer, make_schedule
from .progress import Display
from .recorder import Recorder
from .result import Result, load_result, outcome, read_metrics
from .run_folder import RunFolder
from .train_step import init_params, loss_of, make_train_step


def train(
    config: Config,
    *,
    overwrite: bool = False,
    name: str = "train",
    console: Console | None = None,
) -> Result:
    """Trains, evaluates and writes the run folder.

    Raises `InputError` before any training if a setting does not fit this machine.
    """
    mesh = sharding.data_mesh(config.batch_size)
    corpus = load_corpus(config)
    heldout = [
        sharding.put_batch(batch, mesh) for batch in heldout_batches(corpus, config)
    ]
    with RunFolder(config.run_dir, overwrite=overwrite) as folder:
        folder.write("config.json", dataclasses.asdict(config))
        folder.write("environment.json", describe(config, corpus))

        graphdef, params = init_params(config, mesh)
        optimizer = make_optimizer(config)
        init_state = jax.jit(optimizer.init, out_shardings=sharding.replicated(mesh))
        opt_state = init_state(params)
        loss_fn = loss_of(graphdef)
        train_step = make_train_step(loss_fn, optimizer, mesh)
        eval_loss = jax.jit(loss_fn)

        def evaluate(step: int) -> None:
            losses = [eval_loss(params, batch) for batch in heldout]
            recorder.evaluation(step, float(np.mean(jax.device_get(losses))))

        began = time.perf_counter()
        with Display(console or Console(), config, name) as display:
            recorder = Recorder(config, folder, display)
            for step in range(config.total_steps):
                if step % config.eval_every == 0:
                    evaluate(step)
                batch = sharding.put_batch(training_batch(corpus, config, step), mesh)
                params, opt_state, metrics = train_step(params, opt_state, batch)
                recorder.update(step, metrics)
            evaluate(config.total_steps)

        history = ow.read_moments(opt_state)
        history.save(folder.incomplete / "moments.npz", schedule=make_schedule(config))
        costs = {
            "parameters": sum(x.size for x in jax.tree.leaves(params)),
            "seconds": round(time.perf_counter() - began, 1),
        }
        results = outcome(*read_metrics(folder.incomplete))
        folder.write("summary.json", results | costs)
    return load_result(folder.path)


def main(arguments: list[str] | None = None) -> int:
    parser = make_parser("Train a decoder-only transformer on text, byte by byte.")
    options = parser.parse_args(arguments)
    console = Console()
    try:
        config = config_from(options)
        result = train(config, overwrite=options.overwrite, console=console)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"interrupted: see {config.run_dir}.incomplete/", file=sys.stderr)
        return 130
    console.print(
        f"held-out loss {result.summary['heldout_loss']:.3f} nats per byte "
        f"after {config.total_steps} updates; everything is in {result.folder}/",
        highlight=False,
        soft_wrap=True,
    )
    if (step := result.summary["diverged_at"]) is not None:
        console.print(f"The loss is not finite at step {step}.", soft_wrap=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
