"""What a run is: one frozen dataclass, checked when it is made.

The command line is generated from the fields (`command_line.py`), and a run folder
keeps them as `config.json`, so there is one place where a setting is described.
"""

import dataclasses
import math
import typing
from dataclasses import dataclass
from functools import partial
from typing import Any

from .option import InputError, check, option

model_option = partial(option, "model")
data_option = partial(option, "data")
training_option = partial(option, "training")
device_option = partial(option, "devices")
run_option = partial(option, "run")

# What a run is, as against where and how fast it runs and what it writes down. A run
# that goes on with another value here is another run.
IDENTITY = ("model", "data", "training")


@dataclass(frozen=True, kw_only=True)
class Config:
    """A training run. The defaults are the demo: half a minute on a laptop's CPU."""

    vocab_size: int = model_option(256, "rows of the embedding table", at_least=256)
    length: int = model_option(64, "sequence length, in tokens", at_least=1)
    width: int = model_option(64, "size of the residual stream", at_least=1)
    layers: int = model_option(2, "number of transformer blocks", at_least=1)
    heads: int = model_option(4, "attention heads, which share the width", at_least=1)
    mlp_width: int = model_option(
        256, "hidden size of the MLP: mostly 4 * width", at_least=1
    )
    tied_embedding: bool = model_option(True, "use the embedding as output layer, too")
    scan_layers: bool = model_option(
        False,
        "compile one block and loop over the layers, whose parameters are stacked: "
        "quick to compile however deep; the record then sees all layers as one",
    )
    compute_dtype: str = model_option(
        "float32",
        "float32 or bfloat16, for the matrix products; parameters and loss stay "
        "float32",
        choices=("float32", "bfloat16"),
    )

    data: str | None = data_option(
        None,
        "text file, or folder of nothing but text files; without it, the source of "
        "this Python's standard library",
    )
    heldout_fraction: float = data_option(
        0.05, "share of the text, at its end, never trained on", above=0, below=1
    )
    batch_size: int = data_option(
        16, "sequences an update, over all devices", at_least=1
    )

    seed: int = training_option(
        0, "of the first parameters and of the batches", at_least=0
    )
    total_steps: int = training_option(1200, "number of updates", at_least=1)
    peak_value: float = training_option(1e-2, "highest learning rate", above=0)
    warmup_steps: int = training_option(
        300, "updates in which the rate rises from 0 to its peak", at_least=0
    )
    automatic_warmup: bool = training_option(
        False, "let the optimizer choose its warmup by itself; warmup_steps is unused"
    )
    decay_fraction: float = training_option(
        0.5,
        "share of the updates, at the end, in which it falls",
        at_least=0,
        at_most=1,
    )
    end_value: float = training_option(0.0, "learning rate at the end", at_least=0)
    b1: float = training_option(
        0.9, "decay of Adam's first moment", at_least=0, below=1
    )
    b2: float = training_option(
        0.95, "decay of Adam's second moment", at_least=0, below=1
    )
    eps: float = training_option(
        1e-8, "added to the root of the second moment", at_least=0
    )
    weight_decay: float = training_option(0.1, "decay of the matrices", at_least=0)
    clip_norm: float = training_option(1.0, "largest norm of the gradient", above=0)

    fsdp: int = device_option(
        1,
        "devices that share one copy of parameters and moments; the batch is split "
        "over all devices in any case; 0: all devices share one copy",
        at_least=0,
    )
    attention: str = device_option(
        "auto",
        "auto, cudnn or xla; auto tries cuDNN's on a GPU and says which it took",
        choices=("auto", "cudnn", "xla"),
    )
    remat: bool = device_option(
        False, "compute each block again in the backward pass rather than keep it"
    )
    loss_chunks: int = device_option(
        1,
        "parts of the sequence whose logits are in memory one after the other; each "
        "is computed again in the backward pass",
        at_least=1,
    )
    loader: str = device_option(
        "auto",
        "auto, grain or threads: who makes the next batches during an update; auto is "
        "grain where it is installed; the batches are the same",
        choices=("auto", "grain", "threads"),
    )
    peak_flops: float = device_option(
        0.0,
        "most FLOP/s of one device, for model FLOPs utilisation; 0: from a table",
        at_least=0,
    )

    precompile: bool = device_option(
        False,
        "compile and run everything once before the first step, and say how long each "
        "part of that took",
    )

    run_dir: str = run_option("runs/transformer", "folder for the finished run")
    log_every: int = run_option(1, "updates between two logged ones", at_least=1)
    eval_every: int = run_option(50, "updates between two evaluations", at_least=1)
    eval_sequences: int = run_option(256, "held-out sequences in each", at_least=1)
    checkpoint_every: int = run_option(
        600, "updates between two checkpoints; the end has one, too", at_least=1
    )
    keep_checkpoints: int = run_option(2, "checkpoints to keep", at_least=1)
    tensorboard: bool = run_option(
        False, "write TensorBoard's event files, too (needs tensorboardX)"
    )

    def __post_init__(self) -> None:
        hints = typing.get_type_hints(Config)
        for each in dataclasses.fields(self):
            check(each, hints[each.name], getattr(self, each.name))
        if self.width % self.heads:
            multiple = math.ceil(self.width / self.heads) * self.heads
            raise InputError(
                f"width={self.width} does not divide into heads={self.heads}. Choose a "
                f"width that is a multiple of {self.heads}, for example {multiple}."
            )
        if self.length % self.loss_chunks:
            raise InputError(
                f"length={self.length} does not divide into "
                f"loss_chunks={self.loss_chunks}. Choose a divisor of the length."
            )
        if self.warmup_steps + self.decay_steps > self.total_steps:
            raise InputError(
                f"warmup_steps={self.warmup_steps} and a decay of {self.decay_steps} "
                f"steps (decay_fraction={self.decay_fraction}) do not fit into "
                f"total_steps={self.total_steps}. Shorten one of the two, or train "
                f"longer."
            )

    @property
    def decay_steps(self) -> int:
        """Updates in which the rate falls."""
        return round(self.decay_fraction * self.total_steps)

    @property
    def head_size(self) -> int:
        return self.width // self.heads

    def replace(self, **changes: Any) -> "Config":
        """A copy with other values, checked again."""
        return dataclasses.replace(self, **changes)
