"""How large a model is, by part, and what it takes of each device's memory."""

import math
from typing import Any

import jax

from ..core.settings import InputError
from ..core.update import TrainState
from .config import Config


def parameters(params: Any) -> dict[str, int]:
    """The number of parameters of each part; blocks are added up over the layers."""
    sizes: dict[str, int] = {}
    for path, x in jax.tree_util.tree_leaves_with_path(params):
        names = [str(key.key) for key in path if isinstance(key.key, str)]
        part = "/".join(names[:2] if names[0] == "blocks" else names[:1])
        sizes[part] = sizes.get(part, 0) + math.prod(x.shape)
    return sizes


def bytes_on_a_device(abstract: Any) -> int:
    """Of arrays with these shapes, dtypes and shardings, on the fullest device."""
    return sum(
        math.prod(x.sharding.shard_shape(x.shape)) * x.dtype.itemsize
        for x in jax.tree.leaves(abstract)
    )


def memory(config: Config, state: TrainState) -> dict[str, int]:
    """Bytes that a device needs whatever the compiler does; activations come on top."""
    params = bytes_on_a_device(state.params)
    return {
        "parameters": params,
        "optimizer state": bytes_on_a_device(state.opt_state),
        # With microbatches their sum, and those of one part.
        "gradients": params * (2 if config.microbatches > 1 else 1),
    }


def describe(config: Config, state: TrainState) -> str:
    """In one line."""
    count, needed = sum(parameters(state.params).values()), memory(config, state)
    return (
        f"{count:,} parameters; a device holds {size(sum(needed.values()))} of "
        f"parameters, optimizer state and gradients, and the activations (--dry-run "
        f"tells their size)"
    )


def room() -> int | None:
    """Bytes of a device of this machine, if it says so; a CPU does not."""
    stats = jax.local_devices()[0].memory_stats() or {}
    return stats.get("bytes_limit")


def check_memory(config: Config, state: TrainState) -> None:
    """Raises `InputError` if it cannot fit, whatever the activations take."""
    needed, there = memory(config, state), room()
    if there is not None and (total := sum(needed.values())) > there:
        parts = ", ".join(f"{name} {size(x)}" for name, x in needed.items())
        raise InputError(
            f"a device has {size(there)} of memory, and needs {size(total)} without "
            f"any activations ({parts}). {way_out(config)}"
        )


def way_out(config: Config) -> str:
    options = [
        "share the state of more devices with --fsdp",
        f"more --microbatches than {config.microbatches}",
        *([] if config.remat else ["--remat"]),
        f"more --loss-chunks than {config.loss_chunks}",
        "or a smaller model",
    ]
    return f"It may fit with: {', '.join(options)}."


def size(count: float) -> str:
    """Bytes in words: 1.5 GB."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= scale:
            return f"{count / scale:.3g} {unit}"
    return f"{count:.0f} bytes"
