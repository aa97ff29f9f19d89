"""What schedules cost: operations, growth with depth and length, and time.

    python -m benchmarks.schedule_speed [--write]

Each row compares a schedule of ours with the same schedule of optax, in one run. Counts
of operations repeat exactly; times are medians, and tell less on a busy machine.
`--write` saves the tables under results/.
"""

import argparse
import itertools
import platform
import re
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


NESTED: dict[str, Callable[[Any, int], ow.Schedule]] = {
    "cooldown": lambda inner, depth: ow.cooldown(inner, 1000 - depth, 5),
    "warmup": lambda inner, depth: ow.warmup(inner, 5),
    "rewarm": lambda inner, depth: ow.rewarm(inner, 100 + 10 * depth, 5),
    "switch": lambda inner, depth: ow.switch(inner, 1.0, 500 - depth, allow_jump=True),
    "retime": lambda inner, depth: ow.retime(inner, 900, 950, begin=800),
}
DEPTH = 6


def growth() -> list[list[str]]:
    """Equations of a schedule around a schedule around ..."""
    rows = []
    for name, wrap in NESTED.items():
        schedule: ow.Schedule = ow.warmup_cosine(1.0, 10, 2000)
        counts = []
        for depth in range(1, DEPTH + 1):
            schedule = wrap(schedule, depth)
            counts.append(f"{equations(schedule):,}")
        rows.append([name, *counts])
    return rows


def segments() -> list[list[str]]:
    """Compile time and operations of many segments."""
    rows = []
    for count in (10, 50, 100, 200, 300):
        ours = ow.piecewise(1.0, [(10, 1 / (i + 2)) for i in range(count)])
        theirs = optax.piecewise_interpolate_schedule(
            "linear", 1.0, {10 * (i + 1): 0.99 for i in range(count)}
        )
        row = [f"{count}"]
        for schedule in (ours, theirs):
            begin = time.process_time()
            row.append(f"{operations(schedule)}")
            row.append(f"{time.process_time() - begin:.2f}")
        rows.append(row)
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
            f"{platform.python_version()}, on {device.device_kind}. Times are medians "
            f"of {ROUNDS} rounds in one run; the two of a row take turns.",
            "",
            "- operations: in the compiled program of one value.",
            "- host call: `schedule(step)` with a Python int, as a training loop logs "
            "it, beside `jax.jit(optax's)(step)`.",
            f"- in a scan: one of {SCAN:,} evaluations one after the other in one "
            "program.",
            "- steps at once: one call with an array; optax's under `jit(vmap)`.",
            "- build: to make the schedule, its arguments checked.",
            "",
            *as_table(HEAD, rows),
            "## A schedule around a schedule: traced equations by depth",
            "",
            *as_table(["", *(f"{d}" for d in range(1, DEPTH + 1))], growth()),
            "## Segments of `piecewise` and `optax.piecewise_interpolate_schedule`",
            "",
            *as_table(
                ["segments", "operations", "CPU s", "optax", "CPU s"], segments()
            ),
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="keep the table")
    write = parser.parse_args().write
    text = report(measure())
    print(text)
    if write:
        path = Path(__file__).parent / "results" / "schedule_speed.md"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
