"""The implementation of attention: cuDNN's fused kernel where it works, else XLA.

`jax.nn.dot_product_attention` uses cuDNN only on request, and raises where cuDNN is
missing, too old, or does not support the shapes. So cuDNN is probed once, with the
shapes of the run.
"""

import functools
from typing import Literal

import jax
import jax.numpy as jnp

from .config import ModelConfig
from .settings import InputError

Implementation = Literal["cudnn", "xla"]


def implementation(config: ModelConfig) -> Implementation:
    """The implementation for `jax.nn.dot_product_attention`."""
    return choose(config)[0]


def choose(config: ModelConfig) -> tuple[Implementation, str]:
    """The implementation, and the reason for it in words."""
    if config.attention == "xla":
        return "xla", "XLA attention, as requested"
    requested = config.attention == "cudnn"
    if jax.default_backend() != "gpu" and not requested:
        return "xla", f"XLA attention (cuDNN does not run on {jax.default_backend()})"
    error: str | None = "it needs compute_dtype='bfloat16'"
    if config.compute_dtype == "bfloat16":
        error = probe(
            config.length, config.heads, config.head_size, config.document_mask
        )
    if error and requested:
        raise InputError(
            f"attention='cudnn' does not work here: {error}. Choose --attention auto."
        )
    if error:
        return "xla", f"XLA attention (cuDNN does not work here: {error})"
    return "cudnn", "cuDNN attention"


@functools.cache
def probe(length: int, heads: int, head_size: int, masked: bool = False) -> str | None:
    """Compiles cuDNN attention, forward and backward; returns the error, if any."""

    def total(q_BxLxHxK: jax.Array, mask_Bx1xLxL: jax.Array | None) -> jax.Array:
        y_BxLxHxK = jax.nn.dot_product_attention(
            q_BxLxHxK,
            q_BxLxHxK,
            q_BxLxHxK,
            mask=mask_Bx1xLxL,
            is_causal=True,
            implementation="cudnn",
        )
        return y_BxLxHxK.astype(jnp.float32).sum()

    mask_Bx1xLxL = None
    if masked:
        mask_Bx1xLxL = jax.ShapeDtypeStruct((1, 1, length, length), jnp.bool)
    q_BxLxHxK = jax.ShapeDtypeStruct((1, length, heads, head_size), jnp.bfloat16)
    try:
        jax.jit(jax.grad(total)).lower(q_BxLxHxK, mask_Bx1xLxL).compile()
    except Exception as error:  # whatever the reason, XLA's attention works
        return f"{type(error).__name__}: {str(error).splitlines()[0][:200]}"
    return None
