"""Presets, from two CPU cores to a pod."""

from .config import Config

PRESETS = {
    "demo": Config(),
    # 10.8 million parameters: a few minutes on any GPU.
    "small": Config(
        length=256, width=384, layers=6, heads=6, mlp_width=1536, scan_layers=True,
        compute_dtype="bfloat16", batch_size=64, total_steps=5_000, peak_value=1e-3,
        warmup_steps=500, decay_fraction=0.9, log_every=10, eval_every=500,
        checkpoint_every=500, on_divergence="stop",
    ),
    # GPT-2's shape, 86 million parameters with bytes, and 124 million with GPT-2's
    # tokenizer: one GPU of 40 GB.
    "gpt2": Config(
        length=1024, width=768, layers=12, heads=12, mlp_width=3072,
        scan_layers=True, compute_dtype="bfloat16", batch_size=32,
        total_steps=20_000, peak_value=6e-4, warmup_steps=1_000, decay_fraction=0.95,
        log_every=10, eval_every=1_000, checkpoint_every=1_000, on_divergence="stop",
    ),
    # 0.9 billion parameters with bytes, 1.0 billion with GPT-2's tokenizer: for several
    # devices, which share the 16 GB of parameters, moments and gradients.
    "1b": Config(
        length=2048, width=2048, layers=18, heads=16, mlp_width=8192,
        scan_layers=True, compute_dtype="bfloat16", remat=True, loss_chunks=8, fsdp=0,
        batch_size=128, total_steps=100_000, peak_value=3e-4, warmup_steps=2_000,
        decay_fraction=0.9, log_every=10, eval_every=1_000, checkpoint_every=1_000,
        on_divergence="stop",
    ),
}  # fmt: skip
