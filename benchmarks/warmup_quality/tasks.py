"""The tasks: model, data, optimizer, decay, run length and peak rates of each.

Constants of a rule are chosen on the half named "choosing". The half "held out" is run
once, with the constants that came out.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Task:
    """A training without its warmup; every field enters the fingerprint of a run."""

    name: str
    half: str  # "choosing" or "held out"
    problem: str  # a function in problems.py
    peaks: tuple[float, ...]  # half a decade apart
    optimizer: str = "adam"  # a function in optimizers.py
    decay: str = "cosine"  # likewise
    steps: int = 400
    batch: int = 16


def half_decades(first: int, count: int) -> tuple[float, ...]:
    """Peaks from 10**(first / 2) upwards, half a decade apart."""
    return tuple(float(f"{10 ** (k / 2):.3g}") for k in range(first, first + count))


CHOOSING, HELD_OUT = "choosing", "held out"
ADAM, LOW, SGD = half_decades(-5, 5), half_decades(-6, 5), half_decades(-4, 5)

TASKS = (
    Task("linear-zero", CHOOSING, "softmax_zero", ADAM, batch=64),
    Task("gru", CHOOSING, "gru", ADAM),
    Task("gru-constant", CHOOSING, "gru", ADAM, decay="constant"),
    Task("post-norm", CHOOSING, "post_norm", ADAM, steps=300, batch=8),
    Task("deep-plain", CHOOSING, "deep_plain", LOW, batch=64),
    Task("conv-m99", CHOOSING, "conv", LOW, "momentum99", steps=300, batch=32),
    Task("fine-tuning", CHOOSING, "gru_tuned", LOW, steps=200),
    Task("noisy-batch2", CHOOSING, "noisy_digits", LOW, steps=1500, batch=2),
    Task("embedding", CHOOSING, "sparse_embedding", ADAM, steps=300, batch=8),
    Task("long-6000", CHOOSING, "mlp", LOW, steps=6000),
    Task("linear-random", HELD_OUT, "softmax_random", ADAM, batch=64),
    Task("zero-head", HELD_OUT, "zero_head", LOW, batch=64),
    Task("frozen", HELD_OUT, "frozen", LOW, "frozen_trunk", batch=64),
    Task("gru-wsd", HELD_OUT, "gru", ADAM, decay="wsd"),
    Task("gru-linear", HELD_OUT, "gru", ADAM, decay="linear"),
    Task("gru-inverse-sqrt", HELD_OUT, "gru", ADAM, decay="inverse_sqrt"),
    Task("pre-norm", HELD_OUT, "pre_norm", ADAM, "adamw", steps=300, batch=8),
    Task("lion", HELD_OUT, "gru", half_decades(-7, 5), "lion"),
    Task("muon", HELD_OUT, "pre_norm", ADAM, "muon", steps=300, batch=8),
    Task("conv-m90", HELD_OUT, "conv", SGD, "momentum90", steps=300, batch=32),
    Task("conv-adam", HELD_OUT, "conv", LOW, steps=300, batch=32),
    Task("regression", HELD_OUT, "regression", SGD, "momentum90", steps=300, batch=32),
    Task("gpt", HELD_OUT, "gpt", LOW, "adamw", steps=600, batch=8),
    Task("gpt-stacked", HELD_OUT, "gpt_stacked", LOW, "adamw", "linear", batch=8),
    Task("gpt-tuned", HELD_OUT, "gpt_tuned", LOW, "adamw", "linear", steps=200),
    Task("gpt-adafactor", HELD_OUT, "gpt", LOW, "adafactor", batch=8),
    Task("vit-wsd", HELD_OUT, "vit", LOW, "adamw", "wsd", steps=300, batch=32),
    Task("residual", HELD_OUT, "residual", SGD, "nesterov", "linear", batch=32),
    Task("lstm", HELD_OUT, "lstm", LOW, "clipped", "constant"),
    Task("autoencoder", HELD_OUT, "autoencoder", LOW, "rmsprop", "inverse_sqrt"),
    Task("factors", HELD_OUT, "factors", LOW, steps=1000, batch=64),
    Task("plain-sgd", HELD_OUT, "mlp", SGD, "sgd", batch=32),
    Task("heavy-tails", HELD_OUT, "heavy_tails", LOW, steps=1500, batch=4),
)
BY_NAME = {task.name: task for task in TASKS}
