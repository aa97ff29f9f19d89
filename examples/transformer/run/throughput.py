"""Model FLOPs utilisation: the share of the hardware's peak that a run reaches."""

import jax

from ..core.config import ModelConfig
from .config import Config

# Dense bfloat16 FLOP/s of one JAX device, from the vendors' data sheets. Keys are
# prefixes of the device kind; the first match counts, so longer names come first.
PEAK_FLOPS = {
    "NVIDIA GB200": 2.5e15,
    "NVIDIA B200": 2.25e15,
    "NVIDIA GH200": 989e12,
    "NVIDIA H200": 989e12,
    "NVIDIA H100 PCIe": 756e12,
    "NVIDIA H100 NVL": 835e12,
    "NVIDIA H100": 989e12,
    "NVIDIA A100": 312e12,
    "NVIDIA L40S": 362e12,
    "NVIDIA L4": 121e12,
    "NVIDIA GeForce RTX 4090": 165e12,
    "TPU v6 lite": 918e12,
    "TPU v6e": 918e12,
    "TPU v5 lite": 197e12,
    "TPU v5e": 197e12,
    "TPU v5p": 459e12,
    "TPU v5": 459e12,
    "TPU v4": 275e12,
}


def flops_per_token(config: ModelConfig) -> int:
    """FLOPs needed to train on one token.

        6 * (layers * (4 * width**2 + 2 * width * mlp_width) + width * vocab_size)
        + 12 * layers * width * length

    Each weight of a matrix product takes two FLOPs forward (multiply, add) and four
    backward. Attention's scores and sums count over the whole length, as if nothing
    were masked. Recomputation by remat does not count.

    Source: A. Chowdhery et al., "PaLM: Scaling Language Modeling with Pathways", 2022,
    arXiv:2204.02311, appendix B.
    """
    block = 4 * config.width**2 + 2 * config.width * config.mlp_width
    weights = config.layers * block + config.width * config.vocab_size
    return 6 * weights + 12 * config.layers * config.width * config.length


def peak_of(kind: str) -> float | None:
    """FLOP/s of a device of this kind, if the table has it."""
    for name, flops in PEAK_FLOPS.items():
        if f"{kind} ".startswith((f"{name} ", f"{name}-")):  # an L40 is not an L4
            return flops
    return None


def peak_flops(config: Config) -> float | None:
    """Peak FLOP/s of all devices together, or None if unknown.

    The table holds bfloat16 only; `--peak-flops` sets any other value.
    """
    known: float | None = config.peak_flops
    if not known and config.compute_dtype == "bfloat16":
        known = peak_of(jax.devices()[0].device_kind)
    return known * jax.device_count() if known else None


def utilisation(config: Config, tokens_per_second: float) -> float | None:
    """Model FLOPs utilisation, in [0, 1]: tokens/s * FLOPs a token / peak FLOP/s."""
    peak = peak_flops(config)
    return peak and tokens_per_second * flops_per_token(config) / peak
