"""The training loop: take a batch, update, and now and then evaluate and save."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

import jax
import numpy as np

from .update import Batch, TrainState

Losses = dict[str, float]
Evaluate = Callable[[TrainState], Losses]


class Outputs(Protocol):
    """Where the results go. `step` is the number of updates done."""

    def update(self, step: int, metrics: dict[str, jax.Array]) -> None:
        """Takes the metrics of the update at `step`. They may still be computing."""

    def evaluation(self, step: int, losses: Losses, state: TrainState) -> None:
        """Takes the held-out losses of the state after `step` updates."""

    def checkpoint(self, step: int, state: TrainState) -> None:
        """Saves the state after `step` updates."""


def loop(
    state: TrainState,
    train_step: Callable,
    evaluate: Evaluate,
    batches: Iterable[Batch],
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

    Args:
        state: to start from.
        train_step: (state, batch) -> (state, metrics), jitted.
        evaluate: state -> losses by name, such as one made by `make_evaluate`.
        batches: of the given steps.
        steps: the updates to make.
        outputs: where the results go.

    Returns:
        The state, and the number of updates done.
    """
    source = iter(batches)
    for step in steps:
        if stop():
            if step > 0:
                outputs.checkpoint(step, state)
            return state, step
        if step % eval_every == 0:
            outputs.evaluation(step, evaluate(state), state)
        state, metrics = train_step(state, next(source))
        outputs.update(step, metrics)
        if (step + 1) % checkpoint_every == 0:
            outputs.checkpoint(step + 1, state)
    outputs.checkpoint(steps.stop, state)
    outputs.evaluation(steps.stop, evaluate(state), state)
    return state, steps.stop


def make_evaluate(
    eval_loss: Callable[[Any, Batch], jax.Array],
    sets: Mapping[str, Sequence[Batch]],
    weights: Mapping[str, Callable[[TrainState], Any]] | None = None,
    units: Mapping[str, float] | None = None,
) -> Evaluate:
    """Evaluates every set with every kind of weights.

    Args:
        eval_loss: (params, batch) -> loss, or any mean over the batch, jitted.
        sets: the batches of each set, by the name of its loss.
        weights: what to evaluate, by a prefix of the name; by default the parameters.
        units: what each set's mean loss is divided by; by default 1.
    """
    weights = weights or {"": lambda state: state.params}
    units = units or dict.fromkeys(sets, 1.0)

    def evaluate(state: TrainState) -> Losses:
        losses = {}
        for prefix, params in ((p, of(state)) for p, of in weights.items()):
            for name, batches in sets.items():
                # One at a time: programs with collectives that do not depend on each
                # other can wait for each other on the virtual devices of a CPU.
                values = [float(eval_loss(params, batch)) for batch in batches]
                losses[prefix + name] = float(np.mean(values)) / units[name]
        return losses

    return evaluate
