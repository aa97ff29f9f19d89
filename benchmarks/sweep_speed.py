"""A sweep in one program, compared with a loop over the same trainings.

    python -m benchmarks.sweep_speed [--write] [--configurations N] [--alone N]

The loop passes each configuration as an argument of one jitted function, so it compiles
once. Only `--alone` of its trainings are timed, and their mean is multiplied. A loop
that writes the numbers into each program compiles every time: it is timed as well, for
who has it. All run in this process on all its cores, and their losses must agree.
"""

import argparse
import os
import platform
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import optax

import optax_warmup as ow
from benchmarks.tables import save
from examples.images import data
from examples.images.training import Size, train

SIZE = Size(batch_size=64, total_steps=100, eval_every=50)


def make_optimizer(peak_value: Any, warmup_steps: Any) -> optax.GradientTransformation:
    schedule = ow.warmup_cosine(peak_value, warmup_steps, SIZE.total_steps)
    return optax.adamw(schedule, b1=0.9, b2=0.95)


def one(
    digits: data.Digits, peak_value: Any, warmup_steps: Any, seed: Any
) -> jax.Array:
    optimizer = make_optimizer(peak_value, warmup_steps)
    return train(digits, optimizer, SIZE, seed=seed).loss


def jitted(digits: data.Digits) -> Callable[..., jax.Array]:
    """One training at a time, with its configuration as an argument."""
    return jax.jit(lambda **configuration: one(digits, **configuration))


def measure(count: int, few: int) -> dict[str, float]:
    digits = data.load()
    points = ow.sweeps.grid(
        peak_value=ow.sweeps.log_space(3e-4, 1e-2, count // 4),
        warmup_steps=[0, 10, 30, 50],
        seed=[0],
    )
    jax.block_until_ready(jax.numpy.ones(1) + 1)  # starts the backend
    begin = time.perf_counter()
    together = ow.sweeps.sweep(one, points, shared=(digits,))
    sweep = time.perf_counter() - begin

    chosen = np.linspace(0, len(points) - 1, few).astype(int)
    train_one = jitted(digits)
    again, warm, errors = [], [], []
    for index in chosen:
        begin = time.perf_counter()
        losses = np.asarray(jitted(digits)(**points[index]))
        again.append(time.perf_counter() - begin)
        # Rounding errors grow during training: compare the first updates.
        first = slice(0, 10)
        errors.append(np.max(np.abs(losses / together[index] - 1)[first]))
    begin = time.perf_counter()
    jax.block_until_ready(train_one(**points[0]))
    compiling = time.perf_counter() - begin
    for index in chosen:
        begin = time.perf_counter()
        jax.block_until_ready(train_one(**points[index]))
        warm.append(time.perf_counter() - begin)
    return {
        "configurations": len(points),
        "sweep": sweep,
        "loop": compiling + float(np.mean(warm)) * (len(points) - 1),
        "recompiled": float(np.mean(again)) * len(points),
        "timed": few,
        "error": float(max(errors)),
    }


def table(found: dict[str, float]) -> str:
    cells = [
        f"{found['configurations']}",
        f"{found['sweep']:.1f}",
        f"{found['loop']:.1f}",
        f"**{found['loop'] / found['sweep']:.2f}**",
        f"{found['recompiled']:.1f}",
        f"{found['recompiled'] / found['sweep']:.1f}",
        f"{found['error']:.1e}",
    ]
    return "\n".join(
        [
            "# Speed of a sweep",
            "",
            "Made by `python -m benchmarks.sweep_speed --write` with jax "
            f"{jax.__version__}, Python {platform.python_version()}, on "
            f"{jax.device_count()} x {jax.devices()[0].device_kind} (a CPU counts as a "
            f"device for each core). A vision "
            "transformer of 18,154 parameters, "
            f"{SIZE.total_steps} updates of {SIZE.batch_size} digits.",
            "",
            "The loop jits one training with its configuration as an argument; the "
            "last way compiles each training again. "
            f"{found['timed']} trainings of either were timed, and their mean "
            "multiplied. Compilation is part of all. A ratio below 1 says that the "
            "loop is faster: on a CPU a sweep is there for convenience, memory and "
            "resuming, not for speed (see docs/sweeps.md).",
            "",
            "| configurations | sweep, s | loop, s | loop / sweep | compiled again, s "
            "| ratio | largest relative difference of the first ten losses |",
            "|---|---|---|---|---|---|---|",
            f"| {' | '.join(cells)} |",
            "",
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="keep the table")
    parser.add_argument("--configurations", type=int, default=32, help="4 at least")
    parser.add_argument("--alone", type=int, default=3, help="timed one by one")
    parser.add_argument("--quick", action="store_true", help="tiny, for a test")
    options = parser.parse_args()
    jax.config.update("jax_enable_compilation_cache", False)  # compilation counts
    jax.config.update("jax_num_cpu_devices", os.cpu_count() or 1)
    count = 8 if options.quick else max(options.configurations, 8)
    found = measure(count, 1 if options.quick else options.alone)
    assert found["error"] < 1e-3, found
    text = table(found)
    print(text)
    if options.write:
        save("sweep_speed.md", text)


if __name__ == "__main__":
    main()
