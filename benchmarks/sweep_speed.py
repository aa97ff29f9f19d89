"""A sweep in one program, compared with the same trainings one by one.

    python -m benchmarks.sweep_speed [--write] [--configurations N] [--alone N]

One by one means the usual way: each training is a program of its own, with its learning
rate and warmup length as constants, so each compiles again. Only `--alone` of them are
timed, and their mean time is multiplied by their number. Both ways run in this process,
and their losses must agree.
"""

import argparse
import os
import platform
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax

import optax_warmup as ow
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


def alone(
    digits: data.Digits, peak_value: float, warmup_steps: int, seed: int
) -> np.ndarray:
    """One training, compiled as a program of its own."""
    optimizer = make_optimizer(peak_value, warmup_steps)
    program = jax.jit(lambda digits: train(digits, optimizer, SIZE, seed=seed).loss)
    return np.asarray(program(digits))


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
    times, errors = [], []
    for index in chosen:
        begin = time.perf_counter()
        losses = alone(digits, **points[index])
        times.append(time.perf_counter() - begin)
        # Rounding errors grow during training: compare the first updates.
        first = slice(0, 10)
        errors.append(np.max(np.abs(losses / together[index] - 1)[first]))
    one_by_one = float(np.mean(times)) * len(points)
    return {
        "configurations": len(points),
        "sweep": sweep,
        "one_by_one": one_by_one,
        "timed": few,
        "ratio": one_by_one / sweep,
        "error": float(max(errors)),
    }


def table(found: dict[str, float], devices: int) -> str:
    return "\n".join(
        [
            "# Speed of a sweep",
            "",
            "Made by `python -m benchmarks.sweep_speed --write` with jax "
            f"{jax.__version__}, Python {platform.python_version()}, on {devices} "
            f"{jax.devices()[0].device_kind} devices, one for each core. A vision "
            "transformer of 18,154 parameters, "
            f"{SIZE.total_steps} updates of {SIZE.batch_size} digits.",
            "",
            "One by one, each training is jitted with its numbers in it and compiled "
            f"again; {found['timed']} of them were timed and their mean multiplied. "
            "Compilation is part of both.",
            "",
            "| configurations | sweep, s | one by one, s | times faster | largest "
            "relative difference of the first ten losses |",
            "|---|---|---|---|---|",
            f"| {found['configurations']} | {found['sweep']:.1f} | "
            f"{found['one_by_one']:.1f} | **{found['ratio']:.1f}** | "
            f"{found['error']:.1e} |",
            "",
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="keep the table")
    parser.add_argument("--configurations", type=int, default=32, help="4 at least")
    parser.add_argument("--alone", type=int, default=3, help="timed one by one")
    options = parser.parse_args()
    devices = os.cpu_count() or 1
    jax.config.update("jax_num_cpu_devices", devices)
    found = measure(max(options.configurations, 8), options.alone)
    assert found["error"] < 1e-3, found
    text = table(found, devices)
    print(text)
    if options.write:
        path = Path(__file__).parent / "results" / "sweep_speed.md"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
