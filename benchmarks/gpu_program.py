"""Counts what transforms add to a GPU's program. It needs no GPU.

    python -m benchmarks.gpu_program [--write] [--target FILE]

It needs jax's CUDA plugin in jax's own version (pip install --no-deps jax-cuda12-plugin
jax-cuda12-pjrt). XLA compiles for the described device, by default an H200. Counted are
the bytes that the entry computation reads and writes, in copies of the parameters. A
branch that measures is counted apart, since a step that is not recorded does not take
it. (Operands count as a whole, even if a gather reads only a few thousand values: the
branch shows one copy too many for each sampled array.)
"""

import argparse
import math
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import jax
import jax.numpy as jnp
import optax
from jax.experimental import topologies
from jax.sharding import SingleDeviceSharding

import optax_warmup as ow
from benchmarks.schedule_speed import as_table
from benchmarks.tables import save

os.environ.setdefault("JAX_SKIP_CUDA_CONSTRAINTS_CHECK", "1")  # compiles, never runs
H200 = Path(__file__).parent / "h200_target.txtpb"
NETWORK = [(1024, 4096), (4096, 1024)] * 8
SHAPES = [(2048, 2048)] * 4 + [(2048, 256), (50257, 768), (3, 3, 256, 512), (256,)]
BITS = re.compile(r"\b(pred|[a-z]+\d+)\[([\d,]*)\]")
BRANCH = r"(?:true|false)_computation=%?([\w.-]+)"
FREE = {"parameter", "constant", "tuple", "get-tuple-element", "bitcast", "conditional"}


def size_of(shapes: str) -> int:
    """Bytes of all arrays in an HLO type."""
    total = 0
    for kind, dims in BITS.findall(shapes):
        width = 1 if kind == "pred" else int(re.sub(r"\D", "", kind)[:2]) // 8
        total += width * math.prod(int(d) for d in dims.split(",") if d)
    return total


def computations(text: str) -> dict[str, list[str]]:
    """The lines of each computation in an HLO program, by name; ENTRY runs first."""
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        if line.endswith("{") and "->" in line and not line.startswith(" "):
            first = line.split()[0]
            lines = found.setdefault(first.lstrip("%"), [])
        elif line.startswith("  ") and " = " in line:
            lines.append(line)
    return found


def traffic(lines: list[str]) -> tuple[int, int]:
    """Bytes that a computation reads and writes, and the number of its large copies."""
    sizes, total, copies = {}, 0, 0
    for line in lines:
        name, rest = line.strip().removeprefix("ROOT ").split(" = ", 1)
        match = re.match(r"(\(.*?\)|\S+) ([\w-]+)\((.*?)\)(,|$)", rest)
        if match is None:
            raise ValueError(f"no instruction: {line[:200]}")
        kind, operation, operands, _ = match.groups()
        sizes[name] = size_of(kind)
        if operation in FREE:
            continue
        read = sum(sizes.get(n, 0) for n in re.findall(r"%[\w.-]+", operands))
        total += sizes[name] + read
        copies += operation.startswith("copy") and sizes[name] > 1e5
    return total, copies


def described(tree: Any, device: jax.Device) -> Any:
    """Shapes of arrays on the device."""
    place = SingleDeviceSharding(device)
    return jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=place), tree
    )


def shapes_of(sizes: Sequence[tuple[int, ...]]) -> dict[str, jax.ShapeDtypeStruct]:
    return {f"w{i}": jax.ShapeDtypeStruct(s, jnp.float32) for i, s in enumerate(sizes)}


def program(
    optimizer: optax.GradientTransformation, device: jax.Device
) -> tuple[str, int]:
    """The optimised program of a donated step, and its temporary memory in bytes."""

    def step(params: Any, state: Any, grads: Any) -> tuple[Any, Any]:
        updates, state = optimizer.update(grads, state, params)
        return optax.apply_updates(params, updates), state

    params = shapes_of(SHAPES)
    state = jax.eval_shape(optimizer.init, params)
    return compiled(step, device, params, state, params)


def training_step(
    optimizer: optax.GradientTransformation, device: jax.Device
) -> tuple[str, int]:
    """The same of a whole step of a network, whose gradients are made in it."""

    def loss(params: Any, x: jax.Array) -> jax.Array:
        for i in range(0, len(NETWORK), 2):
            x = x + jax.nn.gelu(x @ params[f"w{i}"]) @ params[f"w{i + 1}"]
        return jnp.mean(x * x)

    def step(params: Any, state: Any, batch: Any) -> tuple[Any, Any]:
        grads = jax.grad(loss)(params, batch)
        updates, state = optimizer.update(grads, state, params)
        return optax.apply_updates(params, updates), state

    params = shapes_of(NETWORK)
    state = jax.eval_shape(optimizer.init, params)
    batch = jax.ShapeDtypeStruct((64, NETWORK[0][0]), jnp.float32)
    return compiled(step, device, params, state, batch)


def compiled(step: Any, device: jax.Device, *arguments: Any) -> tuple[str, int]:
    jitted = jax.jit(step, donate_argnums=(0, 1))
    found = jitted.lower(*described(arguments, device)).compile()
    text, memory = found.as_text(), found.memory_analysis()
    assert text is not None and memory is not None, "this backend does not say"
    return text, memory.temp_size_in_bytes


def optimizers() -> dict[str, optax.GradientTransformation]:
    """What is compared with plain adamw, by the code that makes it."""
    optaxs = optax.adamw(optax.warmup_cosine_decay_schedule(0, 1e-3, 100, 10_000))
    adamw = optax.adamw(ow.warmup_cosine(1e-3, 100, 10_000))
    clip = optax.clip_by_global_norm(1.0)
    clipped = optax.chain(clip, adamw)
    return {
        "adamw with optax's schedule": optaxs,
        "adamw": adamw,
        "chain(clip_by_global_norm, adamw)": clipped,
        "optax.apply_if_finite(adamw) with optax's": optax.apply_if_finite(optaxs, 5),
        "optax.apply_if_finite(adamw)": optax.apply_if_finite(adamw, 5),
        "skip_nonfinite(adamw)": ow.skip_nonfinite(adamw),
        "skip_nonfinite(adamw, check_updates=False)": ow.skip_nonfinite(
            adamw, check_updates=False
        ),
        "chain(adamw, scale_by_warmup)": optax.chain(
            adamw, ow.scale_by_warmup(ow.warmup(1.0, 100))
        ),
        "init_second_moment_from_gradient(adamw)": (
            ow.init_second_moment_from_gradient(adamw)
        ),
        "restart_if(adamw)": ow.restart_if(
            adamw, lambda state, **extra: state.count == 500
        ),
        "clip_update_rms(adamw)": ow.clip_update_rms(adamw),
        "clip_outliers(adamw)": ow.clip_outliers(adamw),
        "automatic_warmup(adamw)": ow.automatic_warmup(adamw),
        "optax.MultiSteps(adamw)": optax.MultiSteps(adamw, 4).gradient_transformation(),
        "record_moments(adamw)": ow.record_moments(adamw),
        "... of all coordinates": ow.record_moments(adamw, samples=None),
        "record_moments(chain(clip, adamw))": ow.record_moments(clipped),
        "chain(clip, record_moments(adamw))": optax.chain(
            clip, ow.record_moments(adamw)
        ),
        "record_moments(skip_nonfinite(adamw))": ow.record_moments(
            ow.skip_nonfinite(adamw)
        ),
        "skip_nonfinite(record_moments(adamw))": ow.skip_nonfinite(
            ow.record_moments(adamw)
        ),
        "record_moments(MultiSteps(adamw))": ow.record_moments(
            optax.MultiSteps(adamw, 4)
        ),
        "MultiSteps(record_moments(adamw))": optax.MultiSteps(
            ow.record_moments(adamw), 4
        ).gradient_transformation(),
    }


def device_of(target: Path) -> jax.Device:
    topology = topologies.get_topology_desc(
        "gpu", platform="cuda", target_config=target.read_text(), topology="1x1x1"
    )
    return cast(jax.Device, topology.devices[0])


def rows(device: jax.Device) -> list[list[str]]:
    unit, whole = (4 * sum(map(math.prod, sizes)) for sizes in (SHAPES, NETWORK))
    found = []
    for name, optimizer in optimizers().items():
        text, temporary = program(optimizer, device)
        parts = computations(text)
        entry, _ = traffic(parts["ENTRY"])
        copies = sum(traffic(lines)[1] for lines in parts.values())
        inside = [traffic(parts[b])[0] for b in re.findall(BRANCH, text)]
        step, kept = training_step(optimizer, device)
        moved, _ = traffic(computations(step)["ENTRY"])
        found.append(
            [
                f"`{name}`",
                f"{entry / unit:.3f}",
                f"{max(inside) / unit:.3f}" if inside else "-",
                f"{copies}",
                f"{temporary / unit:.3f}",
                f"{moved / whole:.3f}",
                f"{kept / whole:.3f}",
            ]
        )
        print(" | ".join(found[-1]), flush=True)
    return found


HEAD = [
    "optimizer",
    "update alone",
    "branch that measures",
    "copies",
    "temporary",
    "training step",
    "temporary",
]


def report(device: jax.Device) -> str:
    return "\n".join(
        [
            "# What transforms add to a GPU's program",
            "",
            f"Made by `python -m benchmarks.gpu_program --write` with jax "
            f"{jax.__version__}, for the description of an {device.device_kind}, "
            "without the device.",
            "",
            "Bytes that a donated step reads and writes, and its temporary memory, in "
            "copies of the parameters: of an update of 57 M parameters in 8 arrays, "
            "and of a training step of a network with 16 matrices and few examples. "
            "A step that is not recorded takes no branch that measures. There, an "
            "operand counts whole even where a gather reads a few thousand of its "
            "numbers, so the branches that take a sample show 2 copies too many. "
            "Copies are those of large arrays, in all branches.",
            "",
            *as_table(HEAD, rows(device)),
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="keep the table")
    parser.add_argument("--target", type=Path, default=H200, help="another device")
    options = parser.parse_args()
    try:
        device = device_of(options.target)
    except Exception as error:
        parser.exit(
            1,
            f"cannot compile for a GPU ({type(error).__name__}). Install jax's plugin: "
            f"pip install --no-deps jax-cuda12-plugin=={jax.__version__} "
            f"jax-cuda12-pjrt=={jax.__version__}\n",
        )
    text = report(device)
    if options.write:
        save("gpu_program.md", text)


if __name__ == "__main__":
    main()
