"""Counts what the record adds to a GPU program. It needs no GPU.

    JAX_PLATFORMS=cpu python -m benchmarks.gpu_program benchmarks/h200_target.txtpb

It needs jax's CUDA plugin in jax's own version (pip install --no-deps jax-cuda12-plugin
jax-cuda12-pjrt). XLA compiles for the described device. Counted are the bytes that the
entry computation reads and writes, in copies of the parameters. The branch that
measures is counted apart, since a step that is not recorded does not take it. (Operands
count as a whole, even if a gather reads only a few thousand values: the branch shows
one copy too many for each sampled array.)
"""

import argparse
import math
import re
from pathlib import Path
from typing import Any, cast

import jax
import jax.numpy as jnp
import optax
from jax.experimental import topologies
from jax.sharding import SingleDeviceSharding

import optax_warmup as ow

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


def program(
    optimizer: optax.GradientTransformation, device: jax.Device
) -> tuple[str, int]:
    """The optimised program of a donated step, and its temporary memory in bytes."""
    place = SingleDeviceSharding(device)

    def described(tree: Any) -> Any:
        return jax.tree.map(
            lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=place), tree
        )

    def step(params: Any, state: Any, grads: Any) -> tuple[Any, Any]:
        updates, state = optimizer.update(grads, state, params)
        return optax.apply_updates(params, updates), state

    params = {
        f"w{i}": jax.ShapeDtypeStruct(s, jnp.float32) for i, s in enumerate(SHAPES)
    }
    state = jax.eval_shape(optimizer.init, params)
    arguments = described(params), described(state), described(params)
    compiled = jax.jit(step, donate_argnums=(0, 1)).lower(*arguments).compile()
    text, memory = compiled.as_text(), compiled.memory_analysis()
    assert text is not None and memory is not None, "this backend does not say"
    return text, memory.temp_size_in_bytes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("target", type=Path, help="description of the device, a proto")
    options = parser.parse_args()
    topology = topologies.get_topology_desc(
        "gpu",
        platform="cuda",
        target_config=options.target.read_text(),
        topology="1x1x1",
    )
    device = cast(jax.Device, topology.devices[0])
    unit = 4 * sum(math.prod(shape) for shape in SHAPES)
    print(f"{device.device_kind}, jax {jax.__version__}, in copies of the parameters")
    print("| optimizer | entry | copies | branch that measures | temporary |")
    print("|---|---|---|---|---|")
    wrap = ow.record_moments
    for name, optimizer in {
        "adamw": optax.adamw(1e-3),
        "recorded": wrap(optax.adamw(1e-3)),
        "recorded, of all coordinates": wrap(optax.adamw(1e-3), samples=None),
        "automatic warmup": ow.automatic_warmup(optax.adamw(1e-3)),
    }.items():
        text, temporary = program(optimizer, device)
        parts = computations(text)
        entry, copies = traffic(parts["ENTRY"])
        inside = [traffic(parts[b])[0] for b in re.findall(BRANCH, text)]
        branch = f"{max(inside) / unit:.3f}" if inside else "-"
        print(
            f"| {name} | {entry / unit:.4f} | {copies} | {branch} | "
            f"{temporary / unit:.4f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
