"""Trains a transformer: `python -m examples.transformer.train --help`.

Plans and checks, opens or reopens the run folder, trains, and writes the summary.
"""

import logging
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import jax
import numpy as np
from rich.console import Console

from ..core.data import heldout_batches, training_batch
from ..core.loader import batches
from ..core.loop import Programs, loop
from ..core.settings import InputError
from ..core.sharding import put_batch
from ..core.train_step import TrainState, init_state
from . import processes
from .checkpoint import Checkpoints
from .command_line import add_resume_options, config_from, make_parser
from .config import Config
from .find_rate import find_rate
from .identity import differences
from .outputs import Outputs, write_description, write_summary
from .plan import Plan, check_space, make_plan, make_programs
from .progress import Display
from .recorder import Recorder, Sink
from .result import Result, load_result
from .run_folder import OutputError, RunFolder
from .tensorboard import TensorBoard


def train(config: Config, **options: Any) -> Result:
    """Trains like `run`, and reads back what it wrote."""
    return load_result(run(config, **options))


def run(
    config: Config,
    *,
    overwrite: bool = False,
    resume: bool = False,
    accept_changes: bool = False,
    name: str = "train",
    console: Console | None = None,
    sinks: Sequence[Sink] = (),
) -> Path:
    """Trains, evaluates and writes the run folder; returns its path.

    Each of `sinks` is called with every row of metrics, on the first process.

    Raises `InputError` before any training if a setting does not fit this machine or
    the contents of the folder, and `OutputError` if the disk is full.
    """
    if console is None or not processes.is_first():
        console = Console(quiet=not processes.is_first())
    plan = make_plan(config)
    with ExitStack() as stack:
        use = stack.enter_context
        folder = use(processes.together(
            lambda: RunFolder(config.run_dir, overwrite=overwrite, resume=resume)
        ))  # fmt: skip
        processes.together(lambda: check_space(folder.incomplete, config, plan.state))
        checkpoints = use(Checkpoints(folder.incomplete, config.keep_checkpoints))
        use(jax.set_mesh(plan.mesh))

        start, changes = where_to_start(plan, checkpoints, accept_changes)
        if processes.first_says(folder.reopened) and start == config.total_steps:
            console.print(f"{folder.path}/ is finished: there is nothing left to do.")
            return folder.path
        for line in (plan.describe(), *resumed(start, changes)):
            console.print(line, highlight=False, soft_wrap=True)
        programs = make_programs(plan)
        if config.precompile:
            for program in programs:
                console.print(program, highlight=False, soft_wrap=True)
        state = state_after(start, plan, checkpoints)
        write_description(folder, plan, start, changes)

        began = time.perf_counter()
        with Display(console, config, name) as display:
            all_sinks = [folder.append_metrics, display.show, *sinks]
            if config.tensorboard and processes.is_first():
                all_sinks.append(use(TensorBoard(folder.incomplete, start)))
            recorder = Recorder(config, all_sinks if processes.is_first() else ())
            outputs = Outputs(recorder, checkpoints, plan.identity)
            state = train_from(start, state, plan, programs, outputs)
        write_summary(folder, plan, state, time.perf_counter() - began)
    return folder.path


def state_after(start: int, plan: Plan, checkpoints: Checkpoints) -> TrainState:
    """The state after `start` updates: from a checkpoint, or initialised."""
    if start:
        return checkpoints.restore(start, plan.state)
    return init_state(
        plan.config, plan.optimizer, plan.state, plan.mesh, plan.config.seed
    )


def train_from(
    start: int, state: TrainState, plan: Plan, programs: Programs, outputs: Outputs
) -> TrainState:
    """Feeds this process's rows of the batches to the loop."""
    config, corpus = plan.config, plan.corpus
    shape: dict[str, Any] = {
        "batch_size": config.batch_size,
        "length": config.length,
        "rows": plan.rows,
    }

    def make(step: int) -> np.ndarray:
        return training_batch(corpus, config.seed, step, **shape)

    def put(tokens_RxL: np.ndarray) -> jax.Array:
        return put_batch(tokens_RxL, plan.rows, plan.mesh)

    return loop(
        state,
        programs,
        map(put, batches(make, start, config.total_steps, config.loader)),
        [put(x) for x in heldout_batches(corpus, config.eval_sequences, **shape)],
        range(start, config.total_steps),
        outputs,
        eval_every=config.eval_every,
        checkpoint_every=config.checkpoint_every,
    )


def where_to_start(
    plan: Plan, checkpoints: Checkpoints, accept_changes: bool
) -> tuple[int, list[str]]:
    """Step of the newest checkpoint, or 0, and what has changed since it was saved."""
    step = checkpoints.latest() or 0
    processes.agree({"the newest checkpoint that it sees": step})
    if not step:
        return 0, []
    changes = differences(checkpoints.identity(step), plan.identity, step)
    if other := checkpoints.difference(step, plan.state):
        raise InputError(
            f"{checkpoints.run} holds a checkpoint of another model or optimizer: "
            f"{'; '.join(changes) or other}. Use the settings that it was saved with, "
            f"or another --run-dir."
        )
    if changes and not accept_changes:
        raise InputError(
            f"the settings differ from those of the checkpoint of step {step} in "
            f"{checkpoints.run}: {'; '.join(changes)}. Use the settings that it was "
            f"saved with, or resume anyway with --accept-changes."
        )
    if step > plan.config.total_steps:
        raise InputError(
            f"total_steps={plan.config.total_steps} is over: the newest checkpoint in "
            f"{checkpoints.run} is of step {step}. Give more steps."
        )
    return step, changes


def resumed(start: int, changes: list[str]) -> list[str]:
    """What to print when a run resumes."""
    if not start:
        return []
    accepted = [f"accepted: {change}" for change in changes]
    return [f"resumed from the checkpoint of step {start}", *accepted]


def main(arguments: list[str] | None = None) -> int:
    parser = make_parser(
        "train", "Train a decoder-only transformer on text, byte by byte."
    )
    add_resume_options(parser)
    parser.add_argument(
        "--find-rate",
        action="store_true",
        help="run a learning-rate range test instead, and say which peak it suggests",
    )
    options = parser.parse_args(arguments)
    if options.resume and options.overwrite:
        parser.error("--resume and --overwrite: keep the old run, or replace it?")
    console = Console()
    logging.getLogger("absl").setLevel(logging.CRITICAL)  # Orbax logs what it raises
    try:
        config = config_from(options)
        processes.start(options)
        if options.find_rate:
            find_rate(config, console if processes.is_first() else Console(quiet=True))
            return 0
        folder = run(
            config,
            overwrite=options.overwrite,
            resume=options.resume,
            accept_changes=options.accept_changes,
            console=console,
        )
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except (OutputError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(
            f"interrupted: {config.run_dir}.incomplete/ keeps the run; the same "
            f"command with --resume continues from its newest checkpoint",
            file=sys.stderr,
        )
        return 130
    if processes.is_first():
        conclude(load_result(folder), console)
    return 0


def conclude(result: Result, console: Console) -> None:
    console.print(
        f"held-out loss {result.summary['heldout_loss']:.3f} nats per byte "
        f"after {result.config.total_steps} updates; the run is in {result.folder}/",
        highlight=False,
        soft_wrap=True,
    )
    if (step := result.summary["diverged_at"]) is not None:
        console.print(f"The loss is not finite at step {step}.", soft_wrap=True)


if __name__ == "__main__":
    sys.exit(main())
