"""All runs of a method on a task as one compiled program."""

import functools
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from . import problems, problems_added
from .arms import Arm, realised
from .problems import Problem
from .tasks import Task

POINTS = 60  # to keep of the curve of factors
WINDOWS = 20  # of the run, whose mean training losses are kept


@dataclass(frozen=True)
class Outcome:
    """Results with a row for each peak and a column for each seed.

    Losses are held-out ones, in nats, before the first and after the last update.
    """

    initial: np.ndarray
    loss: np.ndarray
    factors: np.ndarray  # of each kept update, the mean over seeds; [peaks, points]
    curve: np.ndarray = field(default_factory=lambda: np.empty(0))
    # Mean training losses of WINDOWS equal parts of the run; [peaks, seeds, windows]


def kept_steps(steps: int) -> np.ndarray:
    return np.unique(np.geomspace(1, steps, POINTS).round().astype(int)) - 1


@functools.cache
def prepared(name: str) -> Problem:
    module = problems if hasattr(problems, name) else problems_added
    problem: Problem = getattr(module, name)()
    return problem


@functools.cache
def program(task: Task, arm: Arm) -> Any:
    """(seeds, peaks, lengths) -> losses before and after, factors and training losses;
    a row a run."""
    it = prepared(task.problem)

    def run(seed: jax.Array, peak: jax.Array, length: jax.Array) -> tuple[Any, ...]:
        optimizer = optax.with_extra_args_support(arm.build(task, peak, length))
        key = jax.random.key(seed)

        def update(carry: Any, step: jax.Array) -> tuple[Any, Any]:
            params, state = carry
            batch = it.batch(jax.random.fold_in(key, step + 1), task.batch)
            loss, gradients = jax.value_and_grad(it.loss)(params, batch)
            updates, state = optimizer.update(gradients, state, params, value=loss)
            params = optax.apply_updates(params, updates)
            return (params, state), (realised(state), loss)

        params = it.init(jax.random.fold_in(key, 0))
        begin = params, optimizer.init(params)
        (end, state), seen = jax.lax.scan(update, begin, jnp.arange(task.steps))
        end = arm.final(state, end)
        return it.loss(params, it.held_out), it.loss(end, it.held_out), *seen

    return jax.jit(jax.vmap(run))


def train(
    task: Task,
    arm: Arm,
    peaks: Sequence[float],
    seeds: Sequence[int],
    lengths: Sequence[float],
) -> Outcome:
    """Runs every peak with every seed; each peak has a length, a share of the run."""
    pairs = list(itertools.product(peaks, seeds))
    updates = [max(1, round(length * task.steps)) for length in lengths]
    initial, loss, factors, losses = program(task, arm)(
        jnp.array([seed for _, seed in pairs]),
        jnp.array([peak for peak, _ in pairs], jnp.float32),
        jnp.repeat(jnp.array(updates, jnp.float32), len(seeds)),
    )
    shape = len(peaks), len(seeds)
    curves = np.asarray(factors)[:, kept_steps(task.steps)]
    parts = np.array_split(np.asarray(losses, float), min(WINDOWS, task.steps), axis=1)
    return Outcome(
        np.asarray(initial, float).reshape(shape),
        np.asarray(loss, float).reshape(shape),
        curves.reshape(*shape, -1).mean(axis=1),
        np.stack([part.mean(axis=1) for part in parts], axis=1).reshape(*shape, -1),
    )
