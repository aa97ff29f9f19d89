"""Times schedules: on the host, inside a jitted step, and on a million steps at once.

    python -m benchmarks.schedule_speed [--write]

Each row compares a schedule of ours with the same schedule of optax, in one run, as a
ratio of medians. `--write` saves the table under results/.
"""

import argparse
import itertools
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import optax_warmup as ow

PEAK, WARMUP, TOTAL = 1e-3, 1_000, 100_000
ROUNDS = 15
SCAN = 20_000
MILLION = 1_000_000

PAIRS: dict[str, tuple[Callable, Callable]] = {
    "linear": (
        lambda: ow.transition(PEAK, 0.0, TOTAL),
        lambda: optax.linear_schedule(PEAK, 0.0, TOTAL),
    ),
    "polynomial": (
        lambda: ow.transition(PEAK, 0.0, TOTAL, ow.shapes.polynomial(2.0)),
        lambda: optax.polynomial_schedule(PEAK, 0.0, 2.0, TOTAL),
    ),
    "cosine": (
        lambda: ow.transition(PEAK, 0.0, TOTAL, ow.shapes.cosine),
        lambda: optax.cosine_decay_schedule(PEAK, TOTAL),
    ),
    "warmup_constant": (
        lambda: ow.warmup_constant(PEAK, WARMUP),
        lambda: optax.warmup_constant_schedule(0.0, PEAK, WARMUP),
    ),
    "warmup_linear": (
        lambda: ow.warmup_linear(PEAK, WARMUP, TOTAL),
        lambda: optax.join_schedules(
            [
                optax.linear_schedule(0.0, PEAK, WARMUP),
                optax.linear_schedule(PEAK, 0.0, TOTAL - WARMUP),
            ],
            [WARMUP],
        ),
    ),
    "warmup_cosine": (
        lambda: ow.warmup_cosine(PEAK, WARMUP, TOTAL),
        lambda: optax.warmup_cosine_decay_schedule(0.0, PEAK, WARMUP, TOTAL),
    ),
    "wsd": (
        lambda: ow.wsd(PEAK, WARMUP, TOTAL, TOTAL // 5),
        lambda: optax.join_schedules(
            [
                optax.linear_schedule(0.0, PEAK, WARMUP),
                optax.constant_schedule(PEAK),
                optax.linear_schedule(PEAK, 0.0, TOTAL // 5),
            ],
            [WARMUP, TOTAL - TOTAL // 5],
        ),
    ),
}


def seconds(calls: dict[str, Callable[[], object]], repeat: int) -> dict[str, float]:
    """The median time of each call; they take turns on a shared machine."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        jax.block_until_ready(call())
    for _ in range(ROUNDS):
        for name, call in calls.items():
            begin = time.perf_counter()
            for _ in range(repeat):
                result = call()
            jax.block_until_ready(result)
            times[name].append((time.perf_counter() - begin) / repeat)
    return {name: statistics.median(found) for name, found in times.items()}


def logged(schedule: optax.Schedule) -> Callable[[], object]:
    """A call with a Python int, a new one each time."""
    steps = itertools.count()
    return lambda: schedule(next(steps))


def scanned(schedule: optax.Schedule) -> Callable[[], jax.Array]:
    """Many evaluations in sequence inside one program, as in training."""

    @jax.jit
    def run(first: jax.Array) -> jax.Array:
        def body(carry: tuple, _: None) -> tuple[tuple, None]:
            step, total = carry
            return (step + 1, total + schedule(step)), None

        return jax.lax.scan(body, (first, jnp.float32(0)), None, length=SCAN)[0][1]

    return lambda: run(jnp.int32(7))


def training(schedule: optax.Schedule) -> Callable[[], jax.Array]:
    """One jitted step of Adam on 65,536 parameters."""
    optimizer = optax.adam(schedule)
    params = jnp.ones((256, 256))
    state = optimizer.init(params)

    @jax.jit
    def step(params: jax.Array, state: Any) -> tuple[jax.Array, Any]:
        updates, state = optimizer.update(params, state)
        return optax.apply_updates(params, updates), state

    return lambda: step(params, state)


def at_once(schedule: optax.Schedule) -> Callable[[], jax.Array]:
    """A million steps in one call; optax needs the jit and vmap around it."""
    steps = np.arange(MILLION)
    if isinstance(schedule, ow.Schedule):
        return lambda: schedule(steps)
    mapped = jax.jit(jax.vmap(schedule))
    return lambda: mapped(steps)


def measure() -> list[list[str]]:
    rows = []
    for name, (build_ours, build_theirs) in PAIRS.items():
        ours, theirs = build_ours(), build_theirs()
        host = seconds({"ours": logged(ours), "optax": logged(theirs)}, 100)
        inside = seconds({"ours": scanned(ours), "optax": scanned(theirs)}, 1)
        steps = seconds({"ours": training(ours), "optax": training(theirs)}, 100)
        million = seconds({"ours": at_once(ours), "optax": at_once(theirs)}, 1)
        build = seconds({"ours": build_ours, "optax": build_theirs}, 100)
        rows.append(
            [
                name,
                f"{host['ours'] * 1e6:.1f}",
                f"{host['optax'] * 1e6:.0f}",
                f"**{host['optax'] / host['ours']:.1f}**",
                f"{inside['ours'] / SCAN * 1e9:.0f}",
                f"{inside['optax'] / SCAN * 1e9:.0f}",
                f"**{inside['ours'] / inside['optax']:.2f}**",
                f"{steps['ours'] * 1e6:.0f}",
                f"{steps['optax'] * 1e6:.0f}",
                f"**{steps['ours'] / steps['optax']:.2f}**",
                f"{million['ours'] * 1e3:.1f}",
                f"{million['optax'] * 1e3:.1f}",
                f"{build['ours'] * 1e6:.0f}",
                f"{build['optax'] * 1e6:.0f}",
            ]
        )
        print(" | ".join(rows[-1]), flush=True)
    return rows


HEAD = [
    "schedule",
    "host call, us",
    "optax",
    "times faster",
    "in a scan, ns a step",
    "optax",
    "ratio",
    "step of Adam, us",
    "optax",
    "ratio",
    f"{MILLION:,} steps, ms",
    "optax",
    "build, us",
    "optax",
]


def table(rows: list[list[str]]) -> str:
    device = jax.devices()[0]
    lines = [
        "# Speed of schedules",
        "",
        "Made by `python -m benchmarks.schedule_speed --write` with jax "
        f"{jax.__version__}, optax {optax.__version__}, Python "
        f"{platform.python_version()}, on {device.device_kind}. Medians of {ROUNDS} "
        "rounds in one run; the two of a row take turns.",
        "",
        "- host call: `schedule(step)` with a Python int, as a training loop logs it; "
        "optax's runs op by op.",
        f"- in a scan: one of {SCAN:,} evaluations one after the other in one program. "
        "optax folds its numbers into the program and rounds as that comes; ours are "
        "exact and the same to the last bit in every program, which takes the extra "
        "nanoseconds.",
        "- step of Adam: a jitted update of 65,536 parameters with the schedule in it.",
        "- steps at once: one call with an array; optax's under `jit(vmap)`.",
        "- build: to make the schedule, its arguments checked.",
        "",
        "| " + " | ".join(HEAD) + " |",
        "|" + "---|" * len(HEAD),
    ]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="keep the table")
    write = parser.parse_args().write
    text = table(measure())
    print(text)
    if write:
        path = Path(__file__).parent / "results" / "schedule_speed.md"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
