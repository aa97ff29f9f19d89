"""What a run is: one frozen dataclass, checked when it is made, and its presets.

The command line is generated from the fields (`command_line.py`), and a run folder
keeps them as `config.json`, so there is one place where a setting is described.
"""

import dataclasses
import math
import typing
from dataclasses import dataclass, field
from functools import partial
from typing import Any


class InputError(ValueError):
    """Something the user gave is wrong; the message names it and the way out."""


def option(
    section: str,
    default: Any,
    help: str,
    *,
    at_least: float | None = None,
    above: float | None = None,
    at_most: float | None = None,
    below: float | None = None,
    choices: tuple[str, ...] | None = None,
) -> Any:
    """A field with all that is needed to explain it and to check it."""
    metadata = {
        "section": section,
        "help": help,
        "at_least": at_least,
        "above": above,
        "at_most": at_most,
        "below": below,
        "choices": choices,
    }
    return field(default=default, metadata=metadata)


model_option = partial(option, "model")
data_option = partial(option, "data")
optimizer_option = partial(option, "optimizer")
run_option = partial(option, "run")


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

    total_steps: int = optimizer_option(1200, "number of updates", at_least=1)
    peak_value: float = optimizer_option(1e-2, "highest learning rate", above=0)
    warmup_steps: int = optimizer_option(
        300, "updates in which the rate rises from 0 to its peak", at_least=0
    )
    decay_fraction: float = optimizer_option(
        0.5,
        "share of the updates, at the end, in which it falls",
        at_least=0,
        at_most=1,
    )
    end_value: float = optimizer_option(0.0, "learning rate at the end", at_least=0)
    b1: float = optimizer_option(
        0.9, "decay of Adam's first moment", at_least=0, below=1
    )
    b2: float = optimizer_option(
        0.95, "decay of Adam's second moment", at_least=0, below=1
    )
    eps: float = optimizer_option(
        1e-8, "added to the root of the second moment", at_least=0
    )
    weight_decay: float = optimizer_option(0.1, "decay of the matrices", at_least=0)
    clip_norm: float = optimizer_option(1.0, "largest norm of the gradient", above=0)

    seed: int = run_option(0, "of the first parameters and of the batches", at_least=0)
    run_dir: str = run_option("runs/transformer", "folder for the finished run")
    log_every: int = run_option(1, "updates between two logged ones", at_least=1)
    eval_every: int = run_option(50, "updates between two evaluations", at_least=1)
    eval_sequences: int = run_option(256, "held-out sequences in each", at_least=1)

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

    def replace(self, **changes: Any) -> "Config":
        """A copy with other values, checked again."""
        return dataclasses.replace(self, **changes)


def check(each: dataclasses.Field, hint: Any, value: Any) -> None:
    """Stops 0.5 steps, NaN, "1e-3" and b2=1 before they travel into the run."""

    def require(condition: bool, what: str) -> None:
        if not condition:
            raise InputError(f"{each.name}={value!r} will not do: it must be {what}.")

    if hint in (int, float):
        numbers = int if hint is int else (int, float)
        number = isinstance(value, numbers) and not isinstance(value, bool)
        require(number, "a whole number" if hint is int else "a number")
        require(math.isfinite(value), "finite")
    else:
        require(isinstance(value, hint), f"of type {getattr(hint, '__name__', hint)}")
    limits = each.metadata
    if (bound := limits["at_least"]) is not None:
        require(value >= bound, f"{bound} or more")
    if (bound := limits["above"]) is not None:
        require(value > bound, f"above {bound}")
    if (bound := limits["at_most"]) is not None:
        require(value <= bound, f"{bound} or less")
    if (bound := limits["below"]) is not None:
        require(value < bound, f"below {bound}")
    if (choices := limits["choices"]) is not None:
        require(value in choices, "one of " + ", ".join(choices))


PRESETS = {
    "demo": Config(),
    # About 10 million parameters: a few minutes on any GPU.
    "small": Config(
        length=256, width=384, layers=6, heads=6, mlp_width=1536,
        compute_dtype="bfloat16", batch_size=64, total_steps=5_000, peak_value=1e-3,
        warmup_steps=500, decay_fraction=0.9, log_every=10, eval_every=500,
    ),
    # GPT-2's shape, 124 million parameters. Its table of 50,257 tokens, padded to a
    # multiple of 128, is kept so that speed compares with other GPT-2s; bytes use
    # the first 256 rows.
    "gpt2": Config(
        vocab_size=50_304, length=1024, width=768, layers=12, heads=12, mlp_width=3072,
        compute_dtype="bfloat16", batch_size=32, total_steps=20_000, peak_value=6e-4,
        warmup_steps=1_000, decay_fraction=0.95, log_every=10, eval_every=1_000,
    ),
}  # fmt: skip
