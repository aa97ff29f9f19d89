"""Prefetches batches while the device computes.

A batch is a pure function of its step. So both loaders yield the same batches, and the
step is all there is to save of the input's position.
"""

import importlib.util
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from .settings import InputError

Make = Callable[[int], np.ndarray]
THREADS = 2
PREFETCH = 4  # batches


def batches(make: Make, start: int, stop: int, loader: str) -> Iterator[np.ndarray]:
    """make(start), make(start + 1), ..., make(stop - 1)."""
    return LOADERS[choose(loader)](make, start, stop)


def choose(loader: str) -> str:
    """Resolves "auto"; raises if grain is requested and not installed."""
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
    options = grain.ReadOptions(num_threads=THREADS, prefetch_buffer_size=PREFETCH)
    return iter(steps.map(make).to_iter_dataset(options))


def with_threads(make: Make, start: int, stop: int) -> Iterator[np.ndarray]:
    pool = ThreadPoolExecutor(THREADS, thread_name_prefix="batches")
    try:
        pending = deque(
            pool.submit(make, step)
            for step in range(start, min(start + PREFETCH, stop))
        )
        for step in range(start, stop):
            batch = pending.popleft().result()
            if step + PREFETCH < stop:
                pending.append(pool.submit(make, step + PREFETCH))
            yield batch
    finally:  # also when the consumer stops early
        pool.shutdown(cancel_futures=True)


LOADERS = {"grain": with_grain, "threads": with_threads}
