"""Batches made ahead of time, while the device computes.

A batch is a pure function of its step, so the position of the input is the step, and
whoever makes the batches, and however far ahead, they are the same.
"""

import importlib.util
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from .option import InputError

Make = Callable[[int], np.ndarray]
THREADS = 2
AHEAD = 4  # batches


def batches(make: Make, start: int, stop: int, loader: str) -> Iterator[np.ndarray]:
    """make(start), make(start + 1), ..., make(stop - 1)."""
    return LOADERS[choose(loader)](make, start, stop)


def choose(loader: str) -> str:
    """Which loader "auto" is; says if grain is asked for and missing."""
    if loader == "auto":
        return "grain" if installed() else "threads"
    if loader == "grain" and not installed():
        raise InputError(
            "loader='grain' needs grain: pip install grain, or choose --loader threads."
        )
    return loader


def installed() -> bool:
    return importlib.util.find_spec("grain") is not None


def with_grain(make: Make, start: int, stop: int) -> Iterator[np.ndarray]:
    import grain  # optional

    steps = grain.MapDataset.range(start, stop)
    ahead = grain.ReadOptions(num_threads=THREADS, prefetch_buffer_size=AHEAD)
    return iter(steps.map(make).to_iter_dataset(ahead))


def with_threads(make: Make, start: int, stop: int) -> Iterator[np.ndarray]:
    pool = ThreadPoolExecutor(THREADS, thread_name_prefix="batches")
    try:
        pending = deque(
            pool.submit(make, step) for step in range(start, min(start + AHEAD, stop))
        )
        for step in range(start, stop):
            batch = pending.popleft().result()
            if step + AHEAD < stop:
                pending.append(pool.submit(make, step + AHEAD))
            yield batch
    finally:  # also when the loop that takes the batches ends early
        pool.shutdown(cancel_futures=True)


LOADERS = {"grain": with_grain, "threads": with_threads}
