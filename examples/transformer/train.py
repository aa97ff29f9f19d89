"""Trains a transformer: `python -m examples.transformer.train --help`.

Plan and check, open or reopen the run folder, train (`loop.py`), and sum up.
"""

import dataclasses
import logging
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import jax
from rich.console import Console

import optax_warmup as ow

from . import processes
from .checkpoint import Checkpoints
from .command_line import add_resume_options, config_from, make_parser
from .config import Config
from .environment import describe
from .identity import differences
from .loop import loop, make_programs, precompile
from .optimizer import make_schedule
from .option import InputError
from .plan import Plan, check_space, make_plan
from .progress import Display
from .recorder import Recorder, Sink
from .result import Result, load_result, outcome, read_metrics
from .run_folder import OutputError, RunFolder
from .tensorboard import TensorBoard
from .train_step import TrainState, init_state


def train(config: Config, **options) -> Result:
    """Trains as `run` does, and reads what it wrote."""
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
    what the folder holds, and `OutputError` if the disk is full.
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
            programs = precompile(programs, plan)
            for program in programs:
                console.print(program, highlight=False, soft_wrap=True)
        if start:
            state = checkpoints.restore(start, plan.state)
        else:
            state = init_state(config, plan.optimizer, plan.state, plan.mesh)
        write_description(folder, plan, start, changes)

        began = time.perf_counter()
        with Display(console, config, name) as display:
            outputs = [folder.append_metrics, display.show, *sinks]
            if config.tensorboard and processes.is_first():
                outputs.append(use(TensorBoard(folder.incomplete, start)))
            recorder = Recorder(config, outputs if processes.is_first() else ())
            state = loop(plan, state, start, programs, checkpoints, recorder)
        sum_up(folder, plan, state, time.perf_counter() - began)
    return folder.path


def where_to_start(
    plan: Plan, checkpoints: Checkpoints, accept_changes: bool
) -> tuple[int, list[str]]:
    """Step of the newest checkpoint, or 0, and what has changed since it was made."""
    step = checkpoints.latest() or 0
    processes.agree({"the newest checkpoint that it sees": step})
    if not step:
        return 0, []
    changes = differences(checkpoints.identity(step), plan.identity, step)
    if other := checkpoints.difference(step, plan.state):
        raise InputError(
            f"{checkpoints.run} holds a checkpoint of another model or optimizer: "
            f"{'; '.join(changes) or other}. Give the settings that it was made with, "
            f"or another --run-dir."
        )
    if changes and not accept_changes:
        raise InputError(
            f"this is not the run that the checkpoint of step {step} in "
            f"{checkpoints.run} is of: {'; '.join(changes)}. Give the settings that it "
            f"was made with, or go on all the same with --accept-changes."
        )
    if step > plan.config.total_steps:
        raise InputError(
            f"total_steps={plan.config.total_steps} is over: the newest checkpoint in "
            f"{checkpoints.run} is of step {step}. Give more steps."
        )
    return step, changes


def resumed(start: int, changes: list[str]) -> list[str]:
    """What the user should know of a run that goes on."""
    if not start:
        return []
    accepted = [f"accepted: {change}" for change in changes]
    return [f"resumed from the checkpoint of step {start}", *accepted]


def write_description(
    folder: RunFolder, plan: Plan, start: int, changes: list[str]
) -> None:
    """config.json, environment.json, and metrics.jsonl as it was at `start`."""
    environment = describe(plan.config, plan.corpus)
    earlier = folder.read("environment.json").get("resumed", [])
    again = [{"step": start, "accepted_changes": changes}] if start else []
    folder.write("environment.json", environment | {"resumed": earlier + again})
    folder.write("config.json", dataclasses.asdict(plan.config))
    folder.keep_metrics_before(start)


def sum_up(folder: RunFolder, plan: Plan, state: TrainState, seconds: float) -> None:
    """moments.npz and summary.json."""
    if not processes.is_first():
        return
    history = ow.read_moments(state.opt_state)
    history.save(folder.incomplete / "moments.npz", schedule=make_schedule(plan.config))
    costs = {
        "parameters": sum(x.size for x in jax.tree.leaves(state.params)),
        "seconds": round(seconds, 1),  # since the start, or since it was resumed
    }
    folder.write("summary.json", outcome(*read_metrics(folder.incomplete)) | costs)


def main(arguments: list[str] | None = None) -> int:
    parser = make_parser("Train a decoder-only transformer on text, byte by byte.")
    add_resume_options(parser)
    options = parser.parse_args(arguments)
    if options.resume and options.overwrite:
        parser.error("--resume and --overwrite: keep the old run, or replace it?")
    console = Console()
    logging.getLogger("absl").setLevel(logging.CRITICAL)  # Orbax logs what it raises
    try:
        config = config_from(options)
        processes.start(options)
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
            f"interrupted: see {config.run_dir}.incomplete/; the same command with "
            f"--resume goes on from its newest checkpoint",
            file=sys.stderr,
        )
        return 130
    if processes.is_first():
        conclude(load_result(folder), console)
    return 0


def conclude(result: Result, console: Console) -> None:
    console.print(
        f"held-out loss {result.summary['heldout_loss']:.3f} nats per byte "
        f"after {result.config.total_steps} updates; everything is in {result.folder}/",
        highlight=False,
        soft_wrap=True,
    )
    if (step := result.summary["diverged_at"]) is not None:
        console.print(f"The loss is not finite at step {step}.", soft_wrap=True)


if __name__ == "__main__":
    sys.exit(main())
