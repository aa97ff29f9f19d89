"""Runs and losses as users give them: histories by name, losses by step."""

import operator
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from jax.typing import ArrayLike

from optax_warmup.diagnostics._history import MomentHistory

Losses = dict[int, float]
# The losses of one run as users give them: one for each step, or by step.
LossesLike: TypeAlias = ArrayLike | Sequence[ArrayLike] | Mapping[int, ArrayLike]


def as_runs(
    owner: str, runs: object, losses: Any
) -> tuple[dict[str, MomentHistory], dict[str, Losses]]:
    """Returns histories by name, and losses by name and step."""
    if isinstance(runs, MomentHistory):
        return {"run": runs}, {"run": as_losses(owner, losses)}
    if not isinstance(runs, Mapping):
        raise TypeError(
            f"{owner}: runs must be a MomentHistory or a mapping of names to them, got "
            f"{type(runs).__name__}; read_moments(opt_state) and load_moments(path) "
            f"return a MomentHistory."
        )
    if not runs:
        raise ValueError(
            f"{owner}: runs must hold at least one run, got an empty mapping."
        )
    for name, history in runs.items():
        if not isinstance(name, str):
            raise TypeError(
                f"{owner}: the names of runs must be strings, got {name!r}."
            )
        if not isinstance(history, MomentHistory):
            raise TypeError(
                f"{owner}: {name!r} must be a MomentHistory, got "
                f"{type(history).__name__}; load_moments(path) returns one."
            )
    losses = {} if losses is None else losses
    if not isinstance(losses, Mapping) or set(losses) - set(runs):
        got = list(losses) if isinstance(losses, Mapping) else type(losses).__name__
        raise ValueError(
            f"{owner}: losses must map names of runs ({', '.join(runs)}) to their "
            f"losses, got {got}."
        )
    return dict(runs), {name: as_losses(owner, x) for name, x in losses.items()}


def as_losses(owner: str, losses: Any) -> Losses:
    """Returns losses by step, in the order of their steps."""
    if losses is None:
        return {}
    if isinstance(losses, Mapping):
        pairs = {_step(owner, s): _loss(owner, s, x) for s, x in losses.items()}
        return {step: pairs[step] for step in sorted(pairs)}
    try:
        values = np.asarray(losses, np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise TypeError(
            f"{owner}: losses must be numbers, one for each step, or a mapping of "
            f"steps to losses, got {type(losses).__name__} ({error})."
        ) from None
    if values.ndim != 1:
        raise ValueError(
            f"{owner}: losses must hold one number for each step, got an array of "
            f"shape {values.shape}; or give a mapping of steps to losses."
        )
    return dict(enumerate(values.tolist()))


def _step(owner: str, step: Any) -> int:
    if isinstance(step, float | np.floating) and step.is_integer():
        step = int(step)  # as pandas gives them
    try:
        index = operator.index(step)
    except TypeError:
        index = -1
    if index < 0 or isinstance(step, bool):
        raise ValueError(
            f"{owner}: the keys of losses must be steps, whole numbers >= 0, got "
            f"{step!r}."
        )
    return index


def _loss(owner: str, step: Any, loss: Any) -> float:
    try:
        return float(loss)
    except (TypeError, ValueError, OverflowError):
        raise TypeError(
            f"{owner}: the loss of step {step!r} must be a number, got {loss!r}."
        ) from None
