"""Which code computes attention: cuDNN's fused kernel where it works, else XLA.

`jax.nn.dot_product_attention` takes cuDNN only when asked, and raises where cuDNN is
missing, too old, or does not know the shape. So it is asked for once, with the shapes
of the run, and what came of it is said.
"""

import functools

import jax
import jax.numpy as jnp

from .config import Config
from .option import InputError


def implementation(config: Config) -> str:
    """ "cudnn" or "xla"."""
    return choose(config)[0]


def choose(config: Config) -> tuple[str, str]:
    """The implementation, and a sentence that says why."""
    if config.attention == "xla":
        return "xla", "XLA attention, as asked for"
    asked = config.attention == "cudnn"
    if jax.default_backend() != "gpu" and not asked:
        return "xla", f"XLA attention (cuDNN is not for a {jax.default_backend()})"
    if config.compute_dtype != "bfloat16":
        error = "it is for bfloat16"
    else:
        error = probe(config.length, config.heads, config.head_size)
    if error and asked:
        raise InputError(
            f"attention='cudnn' does not work here: {error}. Choose --attention auto."
        )
    if error:
        return "xla", f"XLA attention (cuDNN's does not work here: {error})"
    return "cudnn", "cuDNN attention (it compiles here)"


@functools.cache
def probe(length: int, heads: int, head_size: int) -> str | None:
    """The error with which cuDNN refuses these shapes, forward or backward, if any."""

    def total(q_BxLxHxK: jax.Array) -> jax.Array:
        y_BxLxHxK = jax.nn.dot_product_attention(
            q_BxLxHxK, q_BxLxHxK, q_BxLxHxK, is_causal=True, implementation="cudnn"
        )
        return y_BxLxHxK.astype(jnp.float32).sum()

    q_BxLxHxK = jax.ShapeDtypeStruct((1, length, heads, head_size), jnp.bfloat16)
    try:
        jax.jit(jax.grad(total)).lower(q_BxLxHxK).compile()
    except Exception as error:  # whatever it is, XLA's works
        return f"{type(error).__name__}: {str(error).splitlines()[0][:200]}"
    return None
