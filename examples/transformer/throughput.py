"""How fast a run is, and how fast it could be: model FLOPs utilisation."""

import jax

from .config import Config

# Dense bfloat16 FLOP/s of one JAX device, from the vendors' data sheets, by the start
# of its kind. The first that fits counts, so the longer names come first.
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


def flops_per_token(config: Config) -> int:
    """FLOPs that the model needs to train on one token.

        6 * (layers * (4 * width**2 + 2 * width * mlp_width) + width * vocab_size)
        + 12 * layers * width * length

    Two (multiply, add) for each weight of a matrix product forward, and twice that
    backward; then the scores and sums of attention, over the whole length as if nothing
    were masked. What remat computes a second time does not count: the model does not
    need it.

    Source: A. Chowdhery et al., "PaLM: Scaling Language Modeling with Pathways", 2022,
    arXiv:2204.02311, appendix B.
    """
    block = 4 * config.width**2 + 2 * config.width * config.mlp_width
    weights = config.layers * block + config.width * config.vocab_size
    return 6 * weights + 12 * config.layers * config.width * config.length


def peak_of(kind: str) -> float | None:
    """FLOP/s of a device of that kind, as the table has it."""
    for name, flops in PEAK_FLOPS.items():
        if f"{kind} ".startswith((f"{name} ", f"{name}-")):  # an L40 is no L4
            return flops
    return None


def peak_flops(config: Config) -> float | None:
    """FLOP/s that all devices together can do, or None if nobody said.

    The table knows bfloat16 alone; for anything else, `--peak-flops` says it.
    """
    known = config.peak_flops
    if not known and config.compute_dtype == "bfloat16":
        known = peak_of(jax.devices()[0].device_kind)
    return known * jax.device_count() if known else None


def utilisation(config: Config, tokens_per_second: float) -> float | None:
    """Model FLOPs utilisation, in [0, 1]: tokens/s * FLOPs a token / peak FLOP/s."""
    peak = peak_flops(config)
    return peak and tokens_per_second * flops_per_token(config) / peak
