"""What the automatic warmup adds to Adam, on this machine and in a GPU's program.

    JAX_PLATFORMS=cpu python -m benchmarks.automatic_cost [--write]

All times are CPU time of all threads: medians of interleaved updates of 147 arrays of
10.4 million parameters, and the fastest of four interleaved compilations of 100 arrays
without a cache. Collectives are those of a step whose matrices are split over two
devices. The GPU's program needs jax's CUDA plugin, as benchmarks/gpu_program.py says.
"""

import argparse
import math
import os
import re
import statistics
import time
from typing import Any

os.environ.setdefault("XLA_FLAGS", "--xla_force_host_platform_device_count=2")

import jax
import jax.numpy as jnp
import optax
from jax.sharding import NamedSharding, PartitionSpec

import optax_warmup as ow
from benchmarks import gpu_program
from benchmarks.schedule_speed import as_table
from benchmarks.tables import save

Shapes = list[tuple[int, ...]]
LARGE: Shapes = [(512, 256)] * 49 + [(256, 320)] * 49 + [(256,)] * 49
MANY: Shapes = [(512, 256)] * 33 + [(256, 320)] * 33 + [(256,)] * 34
UPDATES, ROUNDS = 60, 4
COLLECTIVE = re.compile(r" = (.*?) (?:all-reduce|all-gather|all-to-all|collective-\w+)")
ADAMW = optax.adamw(1e-3)
OPTIMIZERS = {
    "adamw": ADAMW,
    "automatic_warmup(adamw)": ow.automatic_warmup(ADAMW),
    "automatic_warmup(adamw, feedback=True)": ow.automatic_warmup(ADAMW, feedback=True),
}
GUARDED = {
    "skip_nonfinite(adamw)": ow.skip_nonfinite(ADAMW),
    "automatic_warmup(skip_nonfinite(adamw))": ow.automatic_warmup(
        ow.skip_nonfinite(ADAMW)
    ),
    "skip_nonfinite(automatic_warmup(adamw))": ow.skip_nonfinite(
        ow.automatic_warmup(ADAMW)
    ),
}


def lowered(optimizer: optax.GradientTransformation, *arguments: Any) -> Any:
    def step(params: Any, state: Any, grads: Any) -> tuple[Any, Any]:
        updates, state = optimizer.update(grads, state, params)
        return optax.apply_updates(params, updates), state

    return jax.jit(step, donate_argnums=(0, 1)).lower(*arguments)


def described(optimizer: optax.GradientTransformation, shapes: Shapes) -> Any:
    params = [jax.ShapeDtypeStruct(s, jnp.float32) for s in shapes]
    return params, jax.eval_shape(optimizer.init, params), params


def update_times() -> dict[str, float]:
    """Milliseconds of an update."""
    keys = jax.random.split(jax.random.key(0), len(LARGE))
    params = [jax.random.normal(k, s) for k, s in zip(keys, LARGE, strict=True)]
    grads = [jnp.cos(p) for p in params]
    steps, carries = {}, {}
    for name, optimizer in OPTIMIZERS.items():
        state = optimizer.init(params)
        steps[name] = lowered(optimizer, params, state, grads).compile()
        carries[name] = jax.tree.map(jnp.copy, (params, state))
    times: dict[str, list[float]] = {name: [] for name in OPTIMIZERS}
    for _ in range(UPDATES):
        for name, step in steps.items():
            begin = time.process_time()
            carries[name] = jax.block_until_ready(step(*carries[name], grads))
            times[name].append(time.process_time() - begin)
    return {name: 1e3 * statistics.median(taken) for name, taken in times.items()}


def compilations() -> dict[str, tuple[float, int]]:
    """Seconds from the function to its program, and the program's operations."""
    taken: dict[str, list[float]] = {name: [] for name in OPTIMIZERS}
    operations = {}
    for _ in range(ROUNDS):
        for name, optimizer in OPTIMIZERS.items():
            arguments = described(optimizer, MANY)
            begin = time.process_time()
            program = lowered(optimizer, *arguments).compile()
            taken[name].append(time.process_time() - begin)
            text = program.as_text()
            operations[name] = sum(" = " in line for line in text.splitlines())
            jax.clear_caches()
    return {name: (min(times), operations[name]) for name, times in taken.items()}


def collectives(optimizer: optax.GradientTransformation) -> tuple[str, str]:
    """Number and bytes of collectives at each update, and of those in conditionals."""
    mesh = jax.make_mesh((2,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))

    def split(x: Any) -> Any:
        matrix = x.shape in MANY and len(x.shape) > 1
        spec = PartitionSpec("data") if matrix else PartitionSpec()
        place = NamedSharding(mesh, spec)
        return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=place)

    arguments = jax.tree.map(split, described(optimizer, MANY))
    text = lowered(optimizer, *arguments).compile().as_text()
    counts = {True: [0, 0], False: [0, 0]}
    for name, lines in gpu_program.computations(text).items():
        for kind in filter(None, map(COLLECTIVE.search, lines)):
            counts[name == "ENTRY"][0] += 1
            counts[name == "ENTRY"][1] += gpu_program.size_of(kind[1])
    return tuple(f"{n}, {b / 1024:.0f} KiB" if n else "0" for n, b in counts.values())  # type: ignore[return-value]


def on_this_machine() -> list[str]:
    rows = []
    times, compiled = update_times(), compilations()
    for name, optimizer in OPTIMIZERS.items():
        seconds, operations = compiled[name]
        always, sometimes = collectives(optimizer)
        rows.append(
            [
                f"`{name}`",
                f"{times[name]:.1f}",
                f"{times[name] / times['adamw']:.2f}",
                f"{seconds:.2f}",
                f"{seconds / compiled['adamw'][0]:.2f}",
                f"{operations:,}",
                always,
                sometimes,
            ]
        )
    head = ["optimizer", "CPU ms an update", "ratio", "compilation, s", "ratio"]
    head += ["operations", "collectives at each update", "in conditionals"]
    return as_table(head, rows)


def on_a_gpu() -> list[str]:
    """Bytes in copies of the parameters; a gather's operand counts whole."""
    device = gpu_program.device_of(gpu_program.H200)
    unit = 4 * sum(map(math.prod, gpu_program.SHAPES))
    rows = []
    for name, optimizer in (OPTIMIZERS | GUARDED).items():
        text, temporary = gpu_program.program(optimizer, device)
        parts = gpu_program.computations(text)
        moved, _ = gpu_program.traffic(parts["ENTRY"])
        written, _ = gpu_program.traffic(list(filter(writes_much, parts["ENTRY"])))
        copies = sum(gpu_program.traffic(lines)[1] for lines in parts.values())
        row = [f"`{name}`", f"{moved / unit:.3f}", f"{written / unit:.3f}"]
        rows.append([*row, f"{copies}", f"{temporary / unit:.4f}"])
    head = ["optimizer", "traffic", "of kernels that write arrays", "copies"]
    return as_table([*head, "temporary"], rows)


def writes_much(line: str) -> bool:
    """Whether an instruction is more than a sample or a sum; no kernel is, too."""
    match = re.match(r"(?:ROOT )?\S+ = (\(.*?\)|\S+) ([\w-]+)\(", line.strip())
    assert match is not None
    return match[2] in gpu_program.FREE or gpu_program.size_of(match[1]) > 2**17


def report() -> str:
    return "\n".join(
        [
            "# What the automatic warmup costs",
            "",
            f"Made by `JAX_PLATFORMS=cpu python -m benchmarks.automatic_cost --write` "
            f"with jax {jax.__version__}, on CPU cores that other programs shared. "
            "Times are CPU time of all threads, in one run: updates of 147 arrays of "
            "10.4 million parameters, compilations of 100 arrays. Collectives: of "
            "these 100 with their matrices split over two devices. A conditional is "
            "taken until the factor has arrived at 1, and one for the first update.",
            "",
            *on_this_machine(),
            "",
            "In a program for an NVIDIA H200, without the device, in copies of the "
            "parameters: what an update of 57 M parameters in 8 arrays reads and "
            "writes once the factor has arrived, copies of large arrays, and temporary "
            "memory. The operands of a gather count whole, although it reads a few "
            "thousand numbers of them: with feedback 5 copies, which the next column "
            "leaves out.",
            "",
            *on_a_gpu(),
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="keep the table")
    options = parser.parse_args()
    jax.config.update("jax_enable_compilation_cache", False)
    text = report()
    print(text)
    if options.write:
        save("automatic_cost.md", text)


if __name__ == "__main__":
    main()
