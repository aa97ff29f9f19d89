"""The sweep: many configurations at a time, in one program compiled once."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from optax_warmup import _check
from optax_warmup.sweeps import _columns as columns
from optax_warmup.sweeps._arguments import check_arguments, check_names
from optax_warmup.sweeps._columns import Columns
from optax_warmup.sweeps._folder import Folder, Leaves, identity
from optax_warmup.sweeps._points import Configuration
from optax_warmup.sweeps._program import Program


def sweep(
    train: Callable[..., Any],
    configurations: Sequence[Configuration],
    *,
    shared: tuple[Any, ...] = (),
    chunk: int | None = None,
    folder: str | os.PathLike[str] | None = None,
    progress: Callable[[int, int], object] | None = None,
    devices: Sequence[jax.Device] | None = None,
    free_memory: float | None = None,
) -> Any:
    """Trains every configuration, many at a time, in one program compiled once.

    result[i] = train(*shared, **configurations[i])

    The configurations are stacked, split over the devices and vmapped. `train` may
    build `warmup_cosine(peak_value, warmup_steps, 1000)` from its arguments, which are
    then traced and not checked. Or a configuration may hold the schedule itself, which
    was checked when it was built.

    A configuration that diverges gets NaN in its result and does not affect the others.

    With a folder, results are saved chunk by chunk. After an interruption, the same
    call reads them and trains what is missing.

    Args:
        train: a traceable function of the shared arrays (by position) and the values of
            one configuration (by name) that returns a pytree of arrays; usually a whole
            training in a `jax.lax.scan`.
        configurations: dicts with the same names, from `grid`, `random_search` or your
            own: numbers, or schedules that differ in their numbers only.
        shared: a tuple of arrays (or pytrees) that all configurations use, such as the
            data. An array that `train` closes over is compiled into the program.
        chunk: how many to train at once; smaller chunks are reported and saved sooner.
            By default as many as fit into memory.
        folder: where results are saved. It belongs to this sweep alone: to its
            configurations, shared arrays, traced program and version of jax.
        progress: called with (done, total) at the start, where some may be read from
            the folder, and after each chunk.
        devices: the devices to use; by default all of this process.
        free_memory: the bytes that the program may use on each device; by default what
            is free there now.

    Returns:
        The pytree that `train` returns, with NumPy arrays that have a leading axis of
        configurations, in their order.

    Raises:
        TypeError: `train` or `progress` is not callable, `shared` is not a tuple, or a
            configuration holds something else than numbers and schedules.
        ValueError: there is no configuration or no device; configurations differ in
            names or structure; `chunk` does not fit into memory (the message says how
            many do); or the folder belongs to another sweep, is damaged, or is in use
            by a sweep that is still going.
        OSError: the results of a chunk could not be written.

    Example:
        >>> import jax, jax.numpy as jnp, optax, optax_warmup as ow
        >>> def train(peak_value, warmup_steps):
        ...     schedule = ow.warmup_constant(peak_value, warmup_steps)
        ...     optimizer = optax.sgd(schedule)
        ...     def step(carry, _):
        ...         params, state = carry
        ...         updates, state = optimizer.update(2 * params, state)
        ...         return (optax.apply_updates(params, updates), state), None
        ...     params = jnp.ones(())
        ...     start = params, optimizer.init(params)
        ...     return {"loss": jax.lax.scan(step, start, length=5)[0][0] ** 2}
        >>> points = ow.sweeps.grid(peak_value=[0.1, 0.5, 1e9], warmup_steps=[0, 4])
        >>> [round(loss, 3) for loss in ow.sweeps.sweep(train, points)["loss"].tolist()]
        [0.107, 0.338, 0.0, 0.0, inf, inf]
    """
    check_arguments("sweep", train, shared, progress, devices)
    _check_folder(folder)
    stacked = columns.stack(configurations)
    check_names("sweep", "train", train, len(shared), stacked, "configurations have")
    count = len(configurations)
    if chunk is not None:
        chunk = _check.count("sweep", "chunk", chunk, minimum=1)
    if free_memory is not None:
        _check.scalar("sweep", "free_memory", free_memory, above=0)

    def one(shared: tuple[Any, ...], configuration: Columns) -> Any:
        return train(*shared, **configuration)

    def stateless(shared: tuple[Any, ...], _: Any, configuration: Columns) -> Any:
        return (), one(shared, configuration)

    first = jax.tree.map(lambda column: column[0], stacked)
    shapes = jax.eval_shape(one, shared, first)
    leaves, structure = jax.tree.flatten(shapes)
    results = [np.zeros((count, *leaf.shape), leaf.dtype) for leaf in leaves]
    done = np.zeros(count, bool)

    with contextlib.ExitStack() as stack:
        kept = None
        if folder is not None:
            lowered = jax.jit(one).lower(shared, first)
            same = {"configurations": columns.plain(configurations)}
            same |= identity(lowered, shared)
            kept = stack.enter_context(Folder(folder, same))
            for indices, found in kept.load(results):
                _fill(results, indices, found)
                done[indices] = True
        if progress:
            progress(int(done.sum()), count)
        missing = np.flatnonzero(~done)
        if missing.size == 0:
            return jax.tree.unflatten(structure, results)

        program = Program("sweep", stateless, shared, ((), first), devices)
        size = program.fit(len(missing), chunk, free_memory)
        for begin in range(0, len(missing), size):
            indices = missing[begin : begin + size]
            padded = np.resize(indices, size)
            rows = jax.tree.map(lambda column, at=padded: column[at], stacked)
            _, on_devices = program.run((), rows)
            found = [
                np.asarray(leaf)[: len(indices)]
                for leaf in jax.tree.leaves(jax.device_get(on_devices))
            ]
            _fill(results, indices, found)
            done[indices] = True
            if kept:
                kept.save(indices, found)
            if progress:
                progress(int(done.sum()), count)
        return jax.tree.unflatten(structure, results)


def _check_folder(folder: Any) -> None:
    if folder is not None and not (isinstance(folder, str | os.PathLike) and folder):
        raise TypeError(f"sweep: folder must be the path of a folder, got {folder!r}.")


def _fill(results: Leaves, indices: np.ndarray, found: Leaves) -> None:
    for result, leaf in zip(results, found, strict=True):
        # NumPy saves dtypes that it does not know, such as bfloat16, as bytes.
        result[indices] = leaf.view(result.dtype)
