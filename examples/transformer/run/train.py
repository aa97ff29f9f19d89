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
from rich.console import Console

import optax_warmup as ow

from ..core import files
from ..core.files import OutputError
from ..core.settings import InputError
from ..core.stop import INTERRUPTED, Stopped, StopSignal
from . import contents, estimate, processes
from .best import Best
from .checkpoint import Checkpoints
from .command_line import TrainOptions, parse
from .config import Config
from .contents import PROFILE
from .divergence import Watch
from .dry_run import dry_run
from .find_rate import find_rate
from .outputs import Outputs, write_description, write_summary
from .plan import check_space, make_plan, make_programs
from .profile import Profile
from .progress import Display
from .recorder import Recorder, Sink
from .result import Result, load_result
from .run_folder import RunFolder
from .start import find_start, restore
from .tensorboard import TensorBoard
from .training import Training

DIVERGED = 3  # exit code


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
    say_size: bool = False,
) -> Path:
    """Trains, evaluates and writes the run folder; returns its path.

    Each of `sinks` is called with every row of metrics, on the first process.
    `say_size` prints how many parameters there are, and what they take of a device.

    Raises `InputError` before any training if a setting does not fit this machine or
    the contents of the folder, `OutputError` if the disk is full, `Stopped` at a
    signal, once a checkpoint is saved, and `optax_warmup.runs.Diverged`.
    """
    if console is None or not processes.is_first():
        console = Console(quiet=not processes.is_first())
    with ExitStack() as stack:
        use = stack.enter_context
        stop = use(StopSignal())
        plan = make_plan(config)
        folder = use(processes.together(
            lambda: RunFolder(config.run_dir, overwrite=overwrite, resume=resume)
        ))  # fmt: skip
        folder.reopened = processes.first_says(folder.reopened)
        processes.together(lambda: folder.write_first_config(config), OutputError)
        processes.together(lambda: check_space(folder.incomplete, config, plan.state))
        checkpoints = use(Checkpoints(folder.incomplete, config.keep_checkpoints))
        use(jax.set_mesh(plan.mesh))

        start = find_start(plan, checkpoints, accept_changes)
        if folder.reopened and start.step == config.total_steps:
            processes.together(lambda: load_result(folder.incomplete))
            console.print(
                f"{folder.path}/ is finished: there is nothing left to do.",
                highlight=False,
                soft_wrap=True,
            )
            return folder.path
        console.print(plan.describe(), highlight=False, soft_wrap=True)
        if say_size:
            text = estimate.describe(config, plan.state)
            console.print(text, highlight=False, soft_wrap=True)
        watch = Watch(config, start.about.get("rollbacks", []))
        best = Best(config)
        checkpoints.keep_too = lambda steps: (
            watch.policy.checkpoint_to_keep(steps),
            best.of(steps),
        )
        plan = plan.with_schedule(watch.schedule())
        programs = make_programs(plan)
        if config.precompile:
            for program in programs:
                console.print(program, highlight=False, soft_wrap=True)
        start, state = restore(start, plan, checkpoints, accept_changes)
        rows = write_description(folder, plan, start, watch.events())
        best.replay(rows)
        said = [*start.describe(checkpoints.damaged), *folder.problems]
        if resume and not (start.step or folder.created):
            said.append("there is no checkpoint yet: starting at step 0")
        for line in said:
            console.print(line, highlight=False, soft_wrap=True)
        checkpoints.set_aside()

        began = time.perf_counter()
        with Display(console, config, name) as display:
            all_sinks = [folder.append_metrics, display.show, *sinks]
            if config.tensorboard and processes.is_first():
                all_sinks.append(use(TensorBoard(folder.incomplete, start.step)))
            recorder = Recorder(
                config, [*(all_sinks if processes.is_first() else ()), watch]
            )
            outputs = Outputs(recorder, checkpoints, plan.identity, folder, watch, best)
            profile = use(Profile(folder.incomplete / PROFILE, config.profile_steps))
            training = Training(plan, programs, outputs, display, stop, profile)
            state = training.run(start.step, state, rows)
        write_summary(folder, training.plan, state, time.perf_counter() - began)
    return folder.path


def main(arguments: list[str] | None = None) -> int:
    console = Console()
    logging.getLogger("absl").setLevel(logging.CRITICAL)  # Orbax logs what it raises
    try:
        options, config = parse(
            TrainOptions,
            "train",
            "Train a decoder-only transformer on text, byte by byte.",
            arguments,
            on_divergence="stop",
        )
        resume = options.resume is not None
        check(options)
        if options.dry_run:
            dry_run(
                config,
                Console(highlight=False, soft_wrap=True),
                devices=options.devices,
                target=options.target,
                device_memory=options.device_memory,
            )
            return 0
        processes.start(
            options.distributed,
            options.coordinator,
            options.processes,
            options.process,
        )
        if options.find_rate:
            find_rate(config, console if processes.is_first() else Console(quiet=True))
            return 0
        folder = run(
            config,
            overwrite=options.overwrite,
            resume=resume,
            accept_changes=options.accept_changes,
            console=console,
            say_size=True,
        )
        if processes.is_first():
            conclude(load_result(folder), console)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except (OutputError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except ow.runs.Diverged as error:
        print(f"error: {error}", file=sys.stderr)
        return DIVERGED
    except (Stopped, KeyboardInterrupt) as error:
        if processes.is_first():
            print(how_to_go_on(config, error), file=sys.stderr)
        return getattr(error, "exit_code", INTERRUPTED)
    return 0


def check(options: TrainOptions) -> None:
    """Raises `InputError` at options that contradict each other, or have no effect."""
    if options.resume is not None and options.overwrite:
        raise InputError("--resume and --overwrite: keep the old run, or replace it?")
    if options.dry_run and options.find_rate:
        raise InputError(
            "--dry-run and --find-rate: each runs instead of the training."
        )
    for name in ("devices", "target", "device_memory"):
        if getattr(options, name) and not options.dry_run:
            option = name.replace("_", "-")
            raise InputError(f"--{option} is for a --dry-run, which was not given.")


def how_to_go_on(config: Config, error: BaseException) -> str:
    """What a run that ended early left, and what to do."""
    what = str(error) or "interrupted"
    run = contents.run_path(config.run_dir)
    incomplete = files.incomplete(run)
    if steps := contents.complete_checkpoints(incomplete):
        return (
            f"{what}: the checkpoint of step {steps[-1]} is in {incomplete}/; "
            f"--resume {config.run_dir} goes on from it"
        )
    if incomplete.exists():
        return (
            f"{what}: there is no checkpoint yet; --resume {config.run_dir} starts "
            f"again"
        )
    if (run / "summary.json").is_file():
        return f"{what}: the run is finished; it is in {run}/"
    return f"{what}: there is no checkpoint yet; the same command starts again"


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
