"""The training loop: take a batch, update, and now and then evaluate and save."""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, Protocol

import jax
import numpy as np

from .train_step import TrainState


class Programs(NamedTuple):
    """The jitted functions."""

    train_step: Callable  # (state, tokens_BxL) -> (state, metrics)
    eval_loss: Callable  # (params, tokens_BxL) -> loss


class Outputs(Protocol):
    """Where the results go. `step` is the number of updates done."""

    def update(self, step: int, metrics: dict[str, jax.Array]) -> None:
        """Takes the metrics of the update at `step`. They may still be computing."""

    def evaluation(self, step: int, heldout_loss: float, state: TrainState) -> None:
        """Takes the held-out loss of the parameters after `step` updates."""

    def checkpoint(self, step: int, state: TrainState) -> None:
        """Saves the state after `step` updates."""


def loop(
    state: TrainState,
    programs: Programs,
    batches: Iterable[jax.Array],
    heldout: Sequence[jax.Array],
    steps: range,
    outputs: Outputs,
    *,
    eval_every: int,
    checkpoint_every: int,
    stop: Callable[[], bool] = lambda: False,
) -> tuple[TrainState, int]:
    """Trains from the state after `steps.start` updates to that after `steps.stop`.

    Evaluates and saves at the given intervals, and at the end. `stop` is asked before
    each update; if it says so, the loop saves and ends early.

    Returns:
        The state, and the number of updates done.
    """
    train_step, eval_loss = programs

    def evaluate(step: int) -> None:
        losses = [eval_loss(state.params, batch) for batch in heldout]
        outputs.evaluation(step, float(np.mean(jax.device_get(losses))), state)

    source = iter(batches)
    for step in steps:
        if stop():
            if step > 0:
                outputs.checkpoint(step, state)
            return state, step
        if step % eval_every == 0:
            evaluate(step)
        state, metrics = train_step(state, next(source))
        outputs.update(step, metrics)
        if (step + 1) % checkpoint_every == 0:
            outputs.checkpoint(step + 1, state)
    outputs.checkpoint(steps.stop, state)
    evaluate(steps.stop)
    return state, steps.stop
