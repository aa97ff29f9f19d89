"""The sweep: many configurations at a time, in one program compiled once."""

import inspect
import math
import os
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec as P

from optax_warmup import _check
from optax_warmup.sweeps import _columns as columns, _memory as memory
from optax_warmup.sweeps._columns import Columns
from optax_warmup.sweeps._folder import Folder, Leaves, identity
from optax_warmup.sweeps._points import Configuration

AXIS = "configuration"
_SPLIT, _SAME = P(AXIS), P()


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
            many do); or the folder belongs to another sweep or is damaged.

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
    _check_arguments(train, shared, folder, progress, devices)
    stacked = columns.stack(configurations)
    _check_names(train, shared, stacked)
    count = len(configurations)
    if chunk is not None:
        chunk = _check.count("sweep", "chunk", chunk, minimum=1)
    if free_memory is not None:
        _check.scalar("sweep", "free_memory", free_memory, above=0)

    def one(shared: tuple[Any, ...], configuration: Columns) -> Any:
        return train(*shared, **configuration)

    first = jax.tree.map(lambda column: column[0], stacked)
    shapes = jax.eval_shape(one, shared, first)
    leaves, structure = jax.tree.flatten(shapes)
    results = [np.zeros((count, *leaf.shape), leaf.dtype) for leaf in leaves]
    done = np.zeros(count, bool)

    kept = None
    if folder is not None:
        lowered = jax.jit(one).lower(shared, first)
        kept = Folder(folder, identity(lowered, columns.plain(configurations), shared))
        for indices, found in kept.load(results):
            _fill(results, indices, found)
            done[indices] = True
    if progress:
        progress(int(done.sum()), count)
    missing = np.flatnonzero(~done)
    if missing.size == 0:
        return jax.tree.unflatten(structure, results)

    program = _Program(one, shared, stacked, devices)
    size = program.compile(len(missing), chunk, free_memory)
    for begin in range(0, len(missing), size):
        indices = missing[begin : begin + size]
        found = program.run(indices)
        _fill(results, indices, found)
        done[indices] = True
        if kept:
            kept.save(indices, found)
        if progress:
            progress(int(done.sum()), count)
    return jax.tree.unflatten(structure, results)


def _check_arguments(
    train: Any, shared: Any, folder: Any, progress: Any, devices: Any
) -> None:
    if not callable(train) or isinstance(train, type):
        raise TypeError(f"sweep: train must be a function, got {train!r}.")
    if not isinstance(shared, tuple):
        raise TypeError(
            f"sweep: shared must be a tuple of arrays, got {type(shared).__name__}; a "
            "single one is (array,)."
        )
    if folder is not None and not (isinstance(folder, str | os.PathLike) and folder):
        raise TypeError(f"sweep: folder must be the path of a folder, got {folder!r}.")
    if progress is not None:
        _check.function("sweep", "progress", progress, "done", "total")
    if devices is None:
        return
    flat = np.ravel(devices) if isinstance(devices, np.ndarray) else devices
    if not isinstance(flat, list | tuple | np.ndarray) or not all(
        isinstance(device, jax.Device) for device in flat
    ):
        raise TypeError(f"sweep: devices must be a list of devices, got {devices!r}.")
    if not len(devices):
        raise ValueError("sweep: devices must hold at least one device, got none.")


def _check_names(train: Callable[..., Any], shared: Any, names: Iterable[str]) -> None:
    """Refuses a function that cannot be called with these arguments."""
    try:
        signature = inspect.signature(train)
    except (TypeError, ValueError):
        return  # a builtin does not tell its arguments
    try:
        signature.bind(*shared, **dict.fromkeys(names))
    except TypeError as error:
        raise TypeError(
            f"sweep: train must take {len(shared)} shared arrays, then the names "
            f"{', '.join(names)}; {train!r} takes {signature} ({error})."
        ) from None


def _fill(results: Leaves, indices: np.ndarray, found: Leaves) -> None:
    for result, leaf in zip(results, found, strict=True):
        # NumPy saves dtypes that it does not know, such as bfloat16, as bytes.
        result[indices] = leaf.view(result.dtype)


class _Program:
    """One compiled program, and the configurations that it runs on in chunks."""

    def __init__(
        self,
        one: Callable[..., Any],
        shared: tuple[Any, ...],
        stacked: Columns,
        devices: Sequence[jax.Device] | None,
    ):
        self.devices = list(jax.local_devices() if devices is None else devices)
        self.stacked = stacked
        mesh = Mesh(np.array(self.devices), (AXIS,), axis_types=(AxisType.Auto,))
        self.split = NamedSharding(mesh, _SPLIT)
        self.shared = jax.device_put(shared, NamedSharding(mesh, _SAME))
        # A shard_map, since the devices need not communicate.
        self.function = jax.jit(
            jax.shard_map(
                jax.vmap(one, in_axes=(None, 0)),
                mesh=mesh,
                in_specs=(_SAME, _SPLIT),
                out_specs=_SPLIT,
                check_vma=False,
            )
        )

    def compile(self, count: int, chunk: int | None, free_memory: float | None) -> int:
        """Compiles for as many at once as asked for, or as fit; returns how many."""
        free = memory.free(self.devices) if free_memory is None else free_memory
        size = self._whole(min(chunk or count, count))
        needed = self._compile(size)
        if needed <= free:
            return size
        fit = int(size / len(self.devices) * free / needed) * len(self.devices)
        devices = "the device" if len(self.devices) == 1 else "each device"
        what = (
            f"{size} configurations at once need {memory.readable(needed)} on "
            f"{devices}, where {memory.readable(free)} are free"
        )
        if fit == 0:
            raise ValueError(
                f"sweep: {what}: not one fits. Make the batch smaller or return less "
                "from train; pass free_memory if there is more."
            )
        if chunk is not None:
            raise ValueError(
                f"sweep: chunk={chunk} does not fit into memory: {what}. About {fit} "
                f"fit: pass chunk={fit}, or leave it out."
            )
        # Chunks of equal size: the last one is padded.
        size = self._whole(math.ceil(count / math.ceil(count / fit)))
        self._compile(size)
        return size

    def run(self, indices: np.ndarray) -> Leaves:
        """Returns the results of at most as many configurations as it compiled for."""
        padded = np.resize(indices, self.size)
        split = jax.device_put(self._rows(padded), self.split)
        found = jax.device_get(self.program(self.shared, split))
        return [np.asarray(leaf)[: len(indices)] for leaf in jax.tree.leaves(found)]

    def _compile(self, size: int) -> int:
        self.size = size
        shapes = jax.tree.map(
            lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=self.split),
            self._rows(np.zeros(size, int)),
        )
        self.program = self.function.lower(self.shared, shapes).compile()
        return memory.needed(self.program)

    def _whole(self, size: int) -> int:
        """Rounds a size up so that the devices share it evenly."""
        return math.ceil(size / len(self.devices)) * len(self.devices)

    def _rows(self, indices: np.ndarray) -> Columns:
        rows: Columns = jax.tree.map(lambda column: column[indices], self.stacked)
        return rows
