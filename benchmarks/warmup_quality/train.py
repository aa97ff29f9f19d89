"""A training run as one compiled program, with peak, seed and warmup as arguments."""

import functools
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from . import arms
from .problems import Problem, problem
from .tasks import Task

POINTS = 100  # to keep of each curve


@dataclass(frozen=True)
class Outcome:
    """The result of a run. Curves are thinned to `POINTS`, see `kept_steps`."""

    loss: float  # on held-out data, after the last update
    initial: float  # before the first one
    losses: list[float]  # of the batches, before each kept update
    factors: list[float]  # of each kept update
    seconds: float  # of a run, without compilation


def kept_steps(steps: int) -> np.ndarray:
    return np.unique(np.linspace(0, steps - 1, POINTS).round().astype(int))


@functools.cache
def prepared(task: Task) -> Problem:
    return problem(task)


@functools.cache
def parameters(task: Task, seed: int) -> Any:
    return prepared(task).init(seed)


@functools.cache
def program(task: Task, name: str, many: bool) -> jax.stages.Wrapped:
    """(params, seed, peak, factors) -> held-out losses before and after, and curves.

    With `many`, params and seed have a leading axis of runs.
    """
    it, arm = prepared(task), arms.BY_NAME[name]
    kept = jnp.asarray(kept_steps(task.steps))

    def run(params: Any, seed: Any, peak: Any, factors: Any) -> tuple:
        optimizer = arm.optimizer(task, peak, factors)

        def update(carry: tuple, step: jax.Array) -> tuple[tuple, tuple]:
            params, state = carry
            loss, gradients = jax.value_and_grad(it.loss)(params, it.batch(seed, step))
            updates, state = optimizer.update(gradients, state, params, value=loss)
            params = optax.apply_updates(params, updates)
            return (params, state), (loss, arms.realised(state))

        begin = params, optimizer.init(params)
        (end, _), curves = jax.lax.scan(update, begin, jnp.arange(task.steps))
        losses, realised = (curve[kept] for curve in curves)
        return it.evaluate(params), it.evaluate(end), losses, realised

    return jax.jit(jax.vmap(run, (0, 0, None, None)) if many else run)


def train(
    task: Task, arm: str, peak: float, seeds: Sequence[int], factors: Any = None
) -> list[Outcome]:
    """One outcome for each seed. Several seeds run in one program, for accelerators.

    `factors` holds the factor of each update, for arms that know it before the run.
    """
    many = len(seeds) > 1
    started = [parameters(task, seed) for seed in seeds]
    params = jax.tree.map(lambda *x: jnp.stack(x), *started) if many else started[0]
    seed = jnp.asarray(seeds if many else seeds[0], jnp.int32)
    if factors is not None:
        arm, factors = "replay", jnp.asarray(factors, jnp.float32)
    arguments = params, seed, jnp.float32(peak), factors
    compiled = executable(task, arm, many, *arguments)
    begin = time.perf_counter()
    results = jax.block_until_ready(compiled(*arguments))
    seconds = (time.perf_counter() - begin) / len(seeds)
    results = [np.asarray(result, np.float64) for result in results]
    rows = zip(*results, strict=True) if many else [results]
    return [
        Outcome(
            initial=float(initial),
            loss=float(loss),
            losses=losses.tolist(),
            factors=factors.tolist(),
            seconds=seconds,
        )
        for initial, loss, losses, factors in rows
    ]


_EXECUTABLES: dict[tuple, Any] = {}


def executable(task: Task, arm: str, many: bool, *arguments: Any) -> Any:
    """Compiles ahead of time, so that the time of a run is without compilation."""
    shapes = tuple(np.shape(x) for x in jax.tree.leaves(arguments))
    key = task, arm, many, shapes
    if key not in _EXECUTABLES:
        _EXECUTABLES[key] = program(task, arm, many).lower(*arguments).compile()
    return _EXECUTABLES[key]
