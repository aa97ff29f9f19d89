"""All settings of a run, as one flat frozen dataclass.

The command line is generated from the fields (`command_line.py`), and a run folder
keeps them as `config.json`: each setting is described in one place.
"""

import re
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from ..core.config import device_option
from ..core.data import HELDOUT_FRACTION
from ..core.files import INCOMPLETE
from ..core.optimizer import OptimizerConfig, training_option
from ..core.settings import InputError, option

data_option = partial(option, "data")
run_option = partial(option, "run")

# The sections that decide the result. The others decide where and how fast a run
# computes, and what it writes. A run that resumes must not change these.
IDENTITY = ("model", "data", "training")


@dataclass(frozen=True, kw_only=True)
class Config(OptimizerConfig):
    """A training run. The defaults are the demo: half a minute on a laptop's CPU."""

    data: str | None = data_option(
        None,
        "text file, or folder that holds only text files, read whole; folder of tokens "
        "that examples.transformer.prepare made; or several such folders and their "
        "weights, FOLDER=0.7,FOLDER=0.3; None: the source code of this Python's "
        "standard library",
        metavar="PATH",
    )
    heldout_fraction: float = data_option(
        HELDOUT_FRACTION,
        "share of the text, at its end, to hold out; prepared tokens are split already",
        above=0,
        below=1,
    )
    batch_size: int = data_option(
        16, "sequences in an update, over all devices", at_least=1
    )
    seed: int = training_option(
        0, "seed of the initial parameters and of the batches", at_least=0
    )

    fsdp: int = device_option(
        1,
        "devices that share one copy of parameters and moments; the batch is split "
        "over all devices in any case; 0: all devices share one copy",
        at_least=0,
    )
    microbatches: int = device_option(
        1,
        "parts of the batch whose gradients are computed one after the other and "
        "averaged before the update: less memory, and the same result up to rounding",
        at_least=1,
    )
    loader: Literal["auto", "grain", "threads"] = device_option(
        "auto",
        "auto, grain or threads: what prefetches batches; auto is grain where it is "
        "installed; the batches are the same",
    )
    peak_flops: float = device_option(
        0.0,
        "peak FLOP/s of one device, for model FLOPs utilisation; 0: look it up",
        at_least=0,
    )
    precompile: bool = device_option(
        False,
        "compile and run everything once before the first step, and print how long "
        "each part took",
    )

    run_dir: str = run_option("runs/transformer", "folder of the finished run")
    on_divergence: Literal["stop", "rollback", "continue"] = run_option(
        "continue",
        "stop, rollback or continue. stop: end the run at a loss that is NaN or "
        "infinite; rollback: go back to a checkpoint of before it (or before a lasting "
        "spike) and pass over the batches since; continue: train on",
    )
    max_rollbacks: int = run_option(3, "rollbacks before giving up", at_least=0)
    rollback_rewarm: int = run_option(
        0, "updates in which the learning rate rises again after a rollback", at_least=0
    )
    rollback_rate_factor: float = run_option(
        1.0,
        "what each rollback multiplies the learning rate by",
        above=0,
        at_most=1,
    )
    rollback_skip: int = run_option(
        0, "batches to pass over after a rollback, besides the bad ones", at_least=0
    )
    log_every: int = run_option(1, "updates between two logged ones", at_least=1)
    eval_every: int = run_option(50, "updates between two evaluations", at_least=1)
    eval_sequences: int = run_option(
        256, "held-out sequences in an evaluation", at_least=1
    )
    eval_data: tuple[str, ...] = run_option(
        (),
        "more sets to evaluate, each a text file or folder, as NAME=PATH; their losses "
        "are heldout_loss/NAME",
        metavar="[NAME=PATH ...]",
    )
    checkpoint_every: int = run_option(
        600, "updates between two checkpoints; the last update has one too", at_least=1
    )
    keep_checkpoints: int = run_option(2, "checkpoints to keep", at_least=1)
    keep_best: bool = run_option(
        False,
        "also keep the checkpoint with the lowest held-out loss (of the average, if "
        "there is one); each evaluation with a new lowest one saves",
    )
    profile_steps: tuple[int, ...] = run_option(
        (),
        "first and last update of a trace by jax.profiler, into RUN_DIR/profile",
        metavar="[FIRST LAST]",
    )
    tensorboard: bool = run_option(
        False, "also write TensorBoard event files (needs tensorboardX)"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self.eval_sets()
        if self.profile_steps and not (
            len(self.profile_steps) == 2
            and 0 <= self.profile_steps[0] <= self.profile_steps[1] < self.total_steps
        ):
            raise InputError(
                f"profile_steps={self.profile_steps} must be the first and the last "
                f"update of a trace, two numbers from 0 to {self.total_steps - 1}."
            )
        name = Path(self.run_dir).name  # "" for "", "." and "/"
        if not name.strip() or name == ".." or "\0" in self.run_dir:
            raise InputError(
                f"run_dir={self.run_dir!r} names no folder of its own. Give a folder "
                f"for this run alone, such as runs/mine."
            )
        if name.endswith(INCOMPLETE):
            raise InputError(
                f"run_dir={self.run_dir!r} is the name of a run that is not finished. "
                f"Give its name without .incomplete; with --resume it goes on."
            )

    def eval_sets(self) -> dict[str, str]:
        """The paths of the further evaluation sets, by name."""
        pairs = [each.partition("=") for each in self.eval_data]
        for each, (name, _, path) in zip(self.eval_data, pairs, strict=True):
            if not (re.fullmatch(r"[\w.-]+", name) and path):
                raise InputError(
                    f"eval_data={each!r} is invalid: it must be NAME=PATH, and a name "
                    f"is made of letters, digits, dots and dashes."
                )
        names = [name for name, _, _ in pairs]
        if twice := [name for name in names if names.count(name) > 1]:
            raise InputError(
                f"eval_data names {twice[0]!r} twice. Give each set a name of its own."
            )
        return {name: path for name, _, path in pairs}
