"""One compiled program that runs many configurations at a time."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec as P

from optax_warmup.sweeps import _memory as memory

AXIS = "configuration"
_SPLIT, _SAME = P(AXIS), P()


class Program:
    """A function of one configuration, vmapped, split over the devices and compiled.

    one(shared, state, row) -> (state, result). The state of a row stays on its device,
    and its memory is used again for the state that `one` returns.
    """

    def __init__(
        self,
        owner: str,
        one: Callable[..., Any],
        shared: tuple[Any, ...],
        shapes: tuple[Any, Any],
        devices: Sequence[jax.Device] | None,
    ):
        self.owner = owner
        self.devices = list(jax.local_devices() if devices is None else devices)
        mesh = Mesh(np.array(self.devices), (AXIS,), axis_types=(AxisType.Auto,))
        self.split = NamedSharding(mesh, _SPLIT)
        self.shared = jax.device_put(shared, NamedSharding(mesh, _SAME))
        self._shapes = shapes
        self._compiled: dict[int, Any] = {}
        # A shard_map, since the devices need not communicate.
        self._function = jax.jit(
            jax.shard_map(
                jax.vmap(one, in_axes=(None, 0, 0)),
                mesh=mesh,
                in_specs=(_SAME, _SPLIT, _SPLIT),
                out_specs=_SPLIT,
                check_vma=False,
            ),
            donate_argnums=1,
        )

    def fit(self, count: int, chunk: int | None, free_memory: float | None) -> int:
        """Compiles for as many at once as asked for, or as fit; returns how many."""
        free = memory.free(self.devices) if free_memory is None else free_memory
        size = self.whole(min(chunk or count, count))
        needed = memory.needed(self._compile(size))
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
                f"{self.owner}: {what}: not one fits. Make the batch smaller or return "
                "less from train; pass free_memory if there is more."
            )
        if chunk is not None:
            raise ValueError(
                f"{self.owner}: chunk={chunk} does not fit into memory: {what}. About "
                f"{fit} fit: pass chunk={fit}."
            )
        # Chunks of equal size: the last one is padded.
        size = self.whole(math.ceil(count / math.ceil(count / fit)))
        self._compile(size)
        return size

    def run(self, state: Any, rows: Any) -> tuple[Any, Any]:
        """Returns the next state of each row and its result, both on the devices."""
        size = len(jax.tree.leaves(rows)[0])
        program = self._compiled.get(size) or self._compile(size)
        found: tuple[Any, Any] = program(self.shared, state, self.put(rows))
        return found

    def put(self, rows: Any) -> Any:
        """Splits rows over the devices."""
        return jax.device_put(rows, self.split)

    def whole(self, size: int) -> int:
        """Rounds a size up so that the devices share it evenly."""
        return math.ceil(size / len(self.devices)) * len(self.devices)

    def _compile(self, size: int) -> Any:
        state, rows = jax.tree.map(
            lambda x: jax.ShapeDtypeStruct(
                (size, *x.shape), x.dtype, sharding=self.split
            ),
            self._shapes,
        )
        compiled = self._function.lower(self.shared, state, rows).compile()
        self._compiled[size] = compiled
        return compiled
