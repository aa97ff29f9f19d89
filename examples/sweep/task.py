"""The training that is swept: a small vision transformer on digits. Put yours here.

It is a function from numbers to arrays that JAX can trace. It builds the schedule from
traced numbers, so all configurations share one program.
"""

from collections.abc import Callable

import jax
import optax

import optax_warmup as ow

from ..images.data import Digits
from ..images.training import Size, train

SIZE = Size(batch_size=64, total_steps=200, eval_every=20)


def make_train(size: Size) -> Callable[..., dict[str, jax.Array]]:
    """(digits, peak_value, warmup_steps, seed) -> validation losses and accuracies."""

    def one(
        digits: Digits, peak_value: jax.Array, warmup_steps: jax.Array, seed: jax.Array
    ) -> dict[str, jax.Array]:
        schedule = ow.warmup_cosine(peak_value, warmup_steps, size.total_steps)
        optimizer = optax.adamw(schedule, b1=0.9, b2=0.95, weight_decay=0.01)
        curves = train(digits, optimizer, size, seed=seed)
        return {
            "loss": curves.loss,
            "steps": curves.steps,
            "validation_loss": curves.validation_loss,
            "accuracy": curves.accuracy,
        }

    return one
