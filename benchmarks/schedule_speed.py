"""What schedules cost: operations, and time where it can be told apart.

    python -m benchmarks.schedule_speed [--write]

Each row compares a schedule of ours with the same schedule of optax, in one run. Counts
of operations repeat exactly. Times are CPU times, the least of several rounds in which
the two take turns. `--write` saves the table under results/.
"""

import argparse
import itertools
import platform
import re
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import optax_warmup as ow
from benchmarks.tables import save

PEAK, WARMUP, TOTAL = 1e-3, 1_000, 100_000
ROUNDS = 15
SCAN = 200_000
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
    """The least CPU time of each call; they take turns on a shared machine."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        jax.block_until_ready(call())
    for _ in range(ROUNDS):
        for name, call in calls.items():
            begin = time.process_time()
            for _ in range(repeat):
                result = call()
            jax.block_until_ready(result)
            times[name].append((time.process_time() - begin) / repeat)
    return {name: min(found) for name, found in times.items()}


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


def at_once(schedule: optax.Schedule) -> Callable[[], jax.Array]:
    """A million steps in one call; optax needs the jit and vmap around it."""
    steps = np.arange(MILLION)
    if isinstance(schedule, ow.Schedule):
        return lambda: schedule(steps)
    mapped = jax.jit(jax.vmap(schedule))
    return lambda: mapped(steps)


def operations(schedule: optax.Schedule) -> int:
    """Operations in the compiled program, without parameters and constants."""
    program = jax.jit(lambda step: schedule(step)).lower(jnp.int32(3)).compile()
    pattern = r"^\s+(?:ROOT )?\S+ = \S+ ([\w-]+)\("
    found = re.findall(pattern, program.as_text() or "", re.M)
    return len([name for name in found if name not in ("parameter", "constant")])


def equations(schedule: optax.Schedule) -> int:
    """Equations that tracing writes down, those of inner functions included."""

    def count(jaxpr: Any) -> int:
        total = 0
        for equation in jaxpr.eqns:
            total += 1
            for value in equation.params.values():
                inner = getattr(value, "jaxpr", None)
                total += count(getattr(inner, "jaxpr", inner)) if inner else 0
        return total

    return count(jax.make_jaxpr(lambda step: schedule(step))(jnp.int32(3)).jaxpr)


def measure() -> list[list[str]]:
    rows = []
    for name, (build_ours, build_theirs) in PAIRS.items():
        ours, theirs = build_ours(), build_theirs()
        jitted = jax.jit(theirs)
        host = seconds({"ours": logged(ours), "optax": logged(jitted)}, 200)
        inside = seconds({"ours": scanned(ours), "optax": scanned(theirs)}, 1)
        million = seconds({"ours": at_once(ours), "optax": at_once(theirs)}, 1)
        build = seconds({"ours": build_ours, "optax": build_theirs}, 100)
        rows.append(
            [
                name,
                f"{operations(ours)}",
                f"{operations(theirs)}",
                f"**{operations(ours) / operations(theirs):.1f}**",
                f"{host['ours'] * 1e6:.1f}",
                f"{host['optax'] * 1e6:.1f}",
                f"**{host['ours'] / host['optax']:.2f}**",
                f"{inside['ours'] / SCAN * 1e9:.1f}",
                f"{inside['optax'] / SCAN * 1e9:.1f}",
                f"**{inside['ours'] / inside['optax']:.2f}**",
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
    "operations",
    "optax",
    "ratio",
    "host call, us",
    "jitted optax",
    "ratio",
    "in a scan, ns a step",
    "optax",
    "ratio",
    f"{MILLION:,} steps, ms",
    "optax",
    "build, us",
    "optax",
]


def as_table(head: list[str], rows: list[list[str]]) -> list[str]:
    return [
        "| " + " | ".join(head) + " |",
        "|" + "---|" * len(head),
        *("| " + " | ".join(row) + " |" for row in rows),
        "",
    ]


def report(rows: list[list[str]]) -> str:
    device = jax.devices()[0]
    return "\n".join(
        [
            "# What schedules cost",
            "",
            "Made by `python -m benchmarks.schedule_speed --write` with jax "
            f"{jax.__version__}, optax {optax.__version__}, Python "
            f"{platform.python_version()}, on {device.device_kind}. Times "
            f"are CPU times, the least of {ROUNDS} rounds in which the two of a row "
            "take turns.",
            "",
            "- operations: in a program that has the schedule as a constant, without "
            "parameters and constants.",
            "- host call: `schedule(step)` with a Python int, as a training loop logs "
            "it, beside `jax.jit(optax's)(step)`.",
            f"- in a scan: one of {SCAN:,} evaluations one after the other in one "
            "program.",
            "- steps at once: one call with an array; optax's under `jit(vmap)`.",
            "- build: to make the schedule, its arguments checked.",
            "",
            *as_table(HEAD, rows),
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="keep the table")
    write = parser.parse_args().write
    text = report(measure())
    print(text)
    if write:
        save("schedule_speed.md", text)


if __name__ == "__main__":
    main()
