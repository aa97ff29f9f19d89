"""The settings of the model: its shape, and how it is computed."""

import math
from dataclasses import dataclass
from functools import partial
from typing import Literal

import jax

from .settings import InputError, Settings, option

model_option = partial(option, "model")
device_option = partial(option, "devices")


@dataclass(frozen=True, kw_only=True)
class ModelConfig(Settings):
    """A decoder-only transformer. The defaults have 119,104 parameters."""

    vocab_size: int = model_option(
        256,
        "rows of the embedding table; more, a multiple of 128, if the tokenizer of the "
        "data has more tokens",
        at_least=256,
    )
    length: int = model_option(64, "sequence length, in tokens", at_least=1)
    width: int = model_option(64, "size of the residual stream", at_least=1)
    layers: int = model_option(2, "number of transformer blocks", at_least=1)
    heads: int = model_option(4, "attention heads; they split the width", at_least=1)
    mlp_width: int = model_option(
        256, "hidden size of the MLP, usually 4 * width", at_least=1
    )
    tied_embedding: bool = model_option(
        True, "use the embedding table as the output layer"
    )
    scan_layers: bool = model_option(
        False,
        "compile one block and scan over the layers, whose parameters are stacked: "
        "compile time does not grow with depth, and the record sees all layers as one",
    )
    mup_base_width: int = model_option(
        0,
        "width at which the peak learning rate was tuned, if that was a narrower model "
        "(muP): hidden matrices learn at mup_base_width / width of it, by which eps "
        "and the logits are multiplied too; best without tied_embedding; 0: no muP",
        at_least=0,
    )
    document_mask: bool = model_option(
        False,
        "keep the documents of a sequence apart: attention, positions and loss stay "
        "within each; needs prepared data, which have the ends of documents",
    )
    compute_dtype: Literal["float32", "bfloat16"] = model_option(
        "float32",
        "dtype of the matrix products, float32 or bfloat16; parameters and loss stay "
        "float32",
    )

    # These change the speed and the memory of the model, and not what it computes.
    attention: Literal["auto", "cudnn", "xla"] = device_option(
        "auto",
        "auto, cudnn or xla; auto tries cuDNN on a GPU and reports its choice",
    )
    scan_unroll: int = device_option(
        0,
        "layers in one step of the scan over layers; 0: all of them on a CPU, where a "
        "loop costs time, and one elsewhere, where it costs none and compiles faster",
        at_least=0,
    )
    remat: bool = device_option(
        False, "recompute each block in the backward pass instead of storing it"
    )
    loss_chunks: int = device_option(
        1,
        "split the sequence into this many parts for the loss, so that the logits of "
        "only one part are in memory; each is recomputed in the backward pass",
        at_least=1,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.width % self.heads:
            multiple = math.ceil(self.width / self.heads) * self.heads
            raise InputError(
                f"width={self.width} does not divide into heads={self.heads}. Choose a "
                f"width that is a multiple of {self.heads}, for example {multiple}."
            )
        if self.mup_base_width > self.width:
            raise InputError(
                f"mup_base_width={self.mup_base_width} is wider than the model, whose "
                f"width is {self.width}. It is the width of the narrow model at which "
                f"the learning rate was tuned."
            )
        if self.length % self.loss_chunks:
            raise InputError(
                f"length={self.length} does not divide into "
                f"loss_chunks={self.loss_chunks}. Choose a divisor of the length."
            )

    def layers_at_once(self) -> int:
        """Layers in one step of the scan. The parameters are stacked in any case."""
        on_cpu = jax.default_backend() == "cpu"
        return min(self.scan_unroll or (self.layers if on_cpu else 1), self.layers)

    @property
    def width_ratio(self) -> float:
        """How many times as wide the model is as the one that its rate is for."""
        return self.width / (self.mup_base_width or self.width)

    @property
    def head_size(self) -> int:
        return self.width // self.heads
