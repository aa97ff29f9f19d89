"""Runs jobs: on a CPU in a process for each core, on an accelerator in this process."""

import itertools
import multiprocessing
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import Any

import numpy as np

from .store import Job, Run
from .tasks import Task

# One core per process: XLA's own threads gain nothing at this size.
ONE_THREAD = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"

Work = tuple[Task, Sequence[Job], np.ndarray | None]  # seeds of one setting


def accelerated() -> bool:
    import jax

    return jax.default_backend() != "cpu"


def cores() -> list[int]:
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def start(free: Any) -> None:
    """Pins a worker to a free core, before its first computation."""
    core = free.get()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {core})
    # Read when the backend starts, which is after importing jax.
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {ONE_THREAD}".strip()


def perform(work: Work) -> list[Run]:
    from .train import train

    task, jobs, factors = work
    first = jobs[0]
    seeds = [job.seed for job in jobs]
    outcomes = train(task, first.arm, first.peak, seeds, factors)
    return [
        Run(
            job,
            loss=outcome.loss,
            initial=outcome.initial,
            losses=tuple(outcome.losses),
            factors=tuple(outcome.factors),
            seconds=outcome.seconds,
        )
        for job, outcome in zip(jobs, outcomes, strict=True)
    ]


def grouped(task: Task, jobs: Sequence[Job], factors: Any, many: bool) -> list[Work]:
    """A unit of work for each job, or with `many` for all seeds of a setting.

    `factors(job)` gives the factors of its updates, if known. Those of "shuffled"
    differ between seeds.
    """
    units: dict[Any, list[Job]] = {}
    for job in jobs:
        setting = job.arm, job.peak, job.length
        alone = not many or job.arm == "shuffled"
        units.setdefault((setting, job.seed if alone else None), []).append(job)
    return [(task, unit, factors(unit[0])) for unit in units.values()]


class Workers:
    """Performs units of work in parallel; yields runs as they finish."""

    def __init__(self, count: int | None = None):
        self.many = accelerated()
        taken = cores()[: 1 if self.many else count]
        self.count = len(taken)
        self.pool = None
        if not self.many and self.count > 1:
            context = multiprocessing.get_context("spawn")
            free = context.Queue()
            for core in taken:
                free.put(core)
            self.pool = ProcessPoolExecutor(self.count, context, start, (free,))

    def __enter__(self) -> "Workers":
        return self

    def __exit__(self, *_: Any) -> None:
        if self.pool:
            self.pool.shutdown(cancel_futures=True)

    def perform(self, units: Sequence[Work]) -> Iterator[Run]:
        if self.pool is None:
            yield from itertools.chain.from_iterable(map(perform, units))
            return
        for done in as_completed([self.pool.submit(perform, unit) for unit in units]):
            yield from done.result()
