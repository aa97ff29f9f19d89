"""A run without the run: counts parameters, compiles the step, and says if it fits.

    --dry-run                       for the devices of this machine
    --dry-run --devices 8           for 8 devices that are not here, on a CPU's
    --dry-run --target FILE         compiled by XLA for a GPU that is not here
    --dry-run --target v5e:4x4      compiled for a TPU that is not here (needs libtpu)

No text is read, and nothing is trained or written.
"""

import re
import time
from collections.abc import Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
from jax.experimental import topologies
from rich.console import Console

from ..core import attention, sharding
from ..core.files import first_line
from ..core.optimizer import table as table_of_rates
from ..core.packing import BYTES, Targets
from ..core.settings import InputError
from . import estimate
from .config import Config
from .estimate import size
from .plan import describe_devices, make_layout, make_train_program, with_rows

# Bytes of one device, from the vendor's data sheets.
MEMORY = {
    "TPU v4": 32 * 10**9,
    "TPU v5 lite": 16 * 10**9,
    "TPU v5": 95 * 10**9,  # v5p
    "TPU v6 lite": 32 * 10**9,
}


def pretend(count: int) -> None:
    """Makes this machine's CPU so many devices. Must come before any use of JAX."""
    try:
        jax.config.update("jax_platforms", "cpu")
        jax.config.update("jax_num_cpu_devices", count)
    except RuntimeError:
        pass  # JAX is in use already, so the number is what it is
    if jax.device_count() != count:
        raise InputError(
            f"devices={count} cannot be had: JAX is in use already, with "
            f"{jax.device_count()} devices. Start a process for it."
        )


def described(target: str, count: int) -> list[jax.Device]:
    """The devices of a target that is not here."""
    jax.config.update("jax_platforms", "cpu")  # only the compiler of the target
    file = Path(target).expanduser()
    try:
        if file.is_file():
            topology = topologies.get_topology_desc(
                "gpu",
                platform="cuda",
                target_config=file.read_text("utf-8"),
                topology=f"1x1x{count}",
            )
        else:
            topology = topologies.get_topology_desc(target, platform="tpu")
    except Exception as error:
        raise InputError(
            f"target={target!r} is no device that can be compiled for here "
            f"({first_line(error)}). Give the file of a GPU, such as "
            f"benchmarks/h200_target.txtpb, with jax's CUDA plugin installed, or the "
            f"name of a TPU, such as v5e:4x4, with libtpu."
        ) from None
    return list(topology.devices)


def memory_of(target: str | None, kind: str) -> int | None:
    """Bytes of a device of this machine or of a target, if that is known."""
    if target is None:
        return estimate.room()
    if (file := Path(target).expanduser()).is_file():
        found = re.search(r"device_memory_size: (\d+)", file.read_text("utf-8"))
        return int(found[1]) if found else None
    return MEMORY.get(kind)


def targets_like(config: Config) -> Targets:
    """Such as compile to the same program as those of the data."""
    return Targets(BYTES.byte_lengths_V, 0) if config.document_mask else BYTES


def dry_run(
    config: Config,
    console: Console,
    *,
    devices: int = 0,
    target: str | None = None,
    device_memory: float = 0,
) -> None:
    """Prints what a run needs; raises `InputError` if it does not fit.

    Args:
        config: of the run.
        console: to print on.
        devices: pretend to have so many; 0 means those of this machine, or one of the
            target.
        target: what to compile for, in place of this machine's devices.
        device_memory: bytes of a device, for the answer; 0 means to look it up.
    """
    there: Sequence[jax.Device] | None = None
    if target is not None:
        there = described(target, devices or 1)
        config = config.replace(attention="xla")
    elif devices:
        pretend(devices)
    if target or devices:  # the CPU only stands in for them
        config = config.replace(scan_unroll=config.scan_unroll or 1)
    config = with_rows(config)
    layout = make_layout(config, there)
    console.print(f"{describe_devices(layout.mesh)}; {attention.choose(config)[1]}")
    counts = estimate.parameters(layout.state.params)
    needed = estimate.memory(config, layout.state)
    room = int(device_memory) or memory_of(
        target, layout.mesh.devices.flat[0].device_kind
    )
    table(console, "parameters", {n: f"{x:,}" for n, x in counts.items()},
          f"{sum(counts.values()):,}")  # fmt: skip
    table(console, "memory of each device", {n: size(x) for n, x in needed.items()},
          size(total := sum(needed.values())))  # fmt: skip
    if rates := table_of_rates(config, layout.state.params):
        console.print(f"rates by path\n{rates}")
    check(config, total, room, "without any activations")

    shape = (config.batch_size, config.length + 1)
    place = sharding.of_batch(layout.mesh)
    tokens = jax.ShapeDtypeStruct(shape, jnp.int32, sharding=place)
    began = time.perf_counter()
    with jax.set_mesh(layout.mesh):
        program = make_train_program(config, layout, targets_like(config))
        found = program.lower(layout.state, tokens).compile().memory_analysis()
    if found is None:
        console.print("This backend does not say what the compiled step needs.")
        return
    parts = {
        "state and batch": found.argument_size_in_bytes,
        "new state, beside the old one": (
            found.output_size_in_bytes - found.alias_size_in_bytes
        ),
        "gradients and activations": found.temp_size_in_bytes,
    }
    took = f"the step, compiled in {time.perf_counter() - began:.0f} s"
    table(console, took, {n: size(x) for n, x in parts.items()},
          size(total := sum(parts.values())))  # fmt: skip
    check(config, total, room, "for the compiled step")
    checkpoint = sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(layout.state))
    fits = f"It fits into {size(room)}. " if room else ""
    console.print(f"{fits}A checkpoint takes {size(checkpoint)} on disk.")


def check(config: Config, total: int, room: int | None, what: str) -> None:
    if room and total > room:
        raise InputError(
            f"it does not fit: a device has {size(room)} of memory, and needs "
            f"{size(total)} {what}. {estimate.way_out(config)}"
        )


def table(console: Console, title: str, rows: dict[str, str], total: str) -> None:
    console.print(title)
    for name, value in [*rows.items(), ("in all", total)]:
        console.print(f"  {name:30} {value:>14}")
