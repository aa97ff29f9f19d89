"""How costs grow: with depth, segments, parameter arrays and groups of parameters.

    python -m benchmarks.growth [--write]

What is counted repeats exactly: traced equations and compiled operations. The compile
times beside them are CPU seconds. `--write` saves the table and its picture,
growth.png, under results/.
"""

import argparse
import functools
import re
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

import optax_warmup as ow
from benchmarks.schedule_speed import as_table, equations, operations
from benchmarks.tables import RESULTS, save
from examples.transformer.core.config import ModelConfig
from examples.transformer.core.sharding import make_mesh
from examples.transformer.core.train_step import init_params, loss_of

DEPTHS = range(1, 9)
SEGMENTS = (10, 50, 100, 200, 300)
ARRAYS = (25, 50, 100, 200)
LAYERS = (4, 8, 16)
GROUPS = (10, 20, 40, 60)
RULES = (1, 10, 60)
NESTED: dict[str, Callable[[Any, int], ow.Schedule]] = {
    "cooldown": lambda inner, depth: ow.cooldown(inner, 1000 - depth, 5),
    "warmup": lambda inner, depth: ow.warmup(inner, 5),
    "rewarm": lambda inner, depth: ow.rewarm(inner, 100 + 10 * depth, 5),
    "switch": lambda inner, depth: ow.switch(inner, 1.0, 500 - depth, allow_jump=True),
    "retime": lambda inner, depth: ow.retime(inner, 900, 950, begin=800),
}
# What is drawn: what grows, along which numbers, and a count for each of them.
Curves = dict[str, list[int]]


def depth() -> Curves:
    """Equations of a schedule around a schedule around ..."""
    curves: Curves = {}
    for name, wrap in NESTED.items():
        schedule: ow.Schedule = ow.warmup_cosine(1.0, 10, 2000)
        counts = []
        for level in DEPTHS:
            schedule = wrap(schedule, level)
            counts.append(equations(schedule))
        curves[name] = counts
    curves["warmup, traced steps"] = [
        equations(functools.partial(warmups_as_long_as_the_step, level))
        for level in DEPTHS
    ]
    return curves


def warmups_as_long_as_the_step(count: int, step: jax.Array) -> jax.Array:
    schedule: ow.Schedule = ow.warmup_cosine(1.0, 10, 2000)
    for _ in range(count):
        schedule = ow.warmup(schedule, step)
    return schedule(step)


def segments() -> Curves:
    """Operations of many segments."""
    curves: Curves = {"piecewise": [], "optax.piecewise_interpolate_schedule": []}
    for count in SEGMENTS:
        ours = ow.piecewise(1.0, [(10, 1 / (i + 2)) for i in range(count)])
        theirs = optax.piecewise_interpolate_schedule(
            "linear", 1.0, {10 * (i + 1): 0.99 for i in range(count)}
        )
        for counts, schedule in zip(curves.values(), (ours, theirs), strict=True):
            counts.append(operations(schedule))
    return curves


def compiled(optimizer: optax.GradientTransformation, count: int) -> list[int | float]:
    """An update of many arrays."""
    shape = jax.ShapeDtypeStruct((256, 256), jnp.float32)
    params = {f"w{i}": shape for i in range(count)}
    return counts_and_seconds(optimizer, lambda params, grads: grads, params, params)


def trained(optimizer: optax.GradientTransformation, layers: int) -> list[int | float]:
    """A training step of the example's transformer."""
    config = ModelConfig(layers=layers, width=128, heads=4, mlp_width=512)
    graphdef, params = init_params(config, make_mesh(batch_size=8))
    batch = jax.ShapeDtypeStruct((8, config.length + 1), jnp.int32)
    return counts_and_seconds(optimizer, jax.grad(loss_of(graphdef)), params, batch)


def counts_and_seconds(
    optimizer: optax.GradientTransformation,
    grads: Callable[[Any, Any], Any],
    params: Any,
    batch: Any,
) -> list[int | float]:
    """Operations of a step; CPU seconds to trace it, and to compile it."""
    state = jax.eval_shape(optimizer.init, params)

    def step(params: Any, state: Any, batch: Any) -> tuple[Any, Any]:
        updates, state = optimizer.update(grads(params, batch), state, params)
        return optax.apply_updates(params, updates), state

    began = time.process_time()
    lowered = jax.jit(step, donate_argnums=(0, 1)).lower(params, state, batch)
    traced = time.process_time()
    text = lowered.compile().as_text() or ""
    ended = time.process_time()
    lines = re.findall(r"^\s+(?:ROOT )?\S+ = ", text, re.MULTILINE)
    return [len(lines), traced - began, ended - traced]


def partitioned(count: int, schedule: Callable[[float], Any]) -> Any:
    names = [f"w{i}" for i in range(count)]
    parts = {n: optax.adamw(schedule(1e-3 * (i + 1))) for i, n in enumerate(names)}
    return optax.partition(parts, {n: n for n in names})


def arrays(count: int) -> dict[str, optax.GradientTransformation]:
    return {
        "optax.adamw": optax.adamw(1e-3),
        "record_moments(adamw)": ow.record_moments(optax.adamw(1e-3)),
        "skip_nonfinite(adamw)": ow.skip_nonfinite(optax.adamw(1e-3)),
    }


def whole(count: int) -> dict[str, optax.GradientTransformation]:
    return arrays(count) | {
        "automatic_warmup(adamw)": ow.automatic_warmup(optax.adamw(1e-3))
    }


def groups(count: int) -> dict[str, optax.GradientTransformation]:
    return {
        "optax's schedules": partitioned(
            count, lambda peak: optax.warmup_cosine_decay_schedule(0, peak, 100, 10_000)
        ),
        "ours": partitioned(count, lambda peak: ow.warmup_cosine(peak, 100, 10_000)),
    }


def ruled(count: int) -> dict[str, optax.GradientTransformation]:
    """Sixty arrays in so many groups, each with a schedule or a multiplier."""
    names = [f"w{i}" for i in range(max(RULES))]
    labels = {name: str(i % count) for i, name in enumerate(names)}

    def rules(**each: Callable[[int], Any]) -> list[ow.groups.Rule]:
        return [
            ow.groups.Rule(
                lambda path, k=k: labels[path] == str(k),
                name=str(k),
                **{name: value(k) for name, value in each.items()},
            )
            for k in range(count)
        ]

    def schedule(k: int) -> ow.Schedule:
        return ow.warmup_cosine(1e-3 * (k + 1), 100, 10_000)

    def by_rules(rules: list[ow.groups.Rule], *rate: Any) -> Any:
        scaling = ow.groups.scale_by_rules(rules, *rate, weight_decay=1e-4)
        return optax.chain(optax.scale_by_adam(), scaling)

    parts = {str(k): optax.adamw(schedule(k)) for k in range(count)}
    return {
        "optax.partition": optax.partition(parts, labels),
        "rules, schedules": by_rules(rules(learning_rate=schedule)),
        "rules, multipliers": by_rules(
            rules(multiplier=lambda k: 1 / (k + 1)), schedule(0)
        ),
    }


def measured(
    numbers: tuple[int, ...],
    optimizers: Callable[[int], dict[str, Any]],
    arrays: int | None = None,
    compiled: Callable[[Any, int], list[int | float]] = compiled,
) -> tuple[Curves, list[list[str]]]:
    """Operations for each number; and a row for each: operations and seconds.

    There are so many arrays, or else as many as the number says.
    """
    curves: Curves = {}
    rows = []
    for count in numbers:
        row = [f"{count}"]
        for name, optimizer in optimizers(count).items():
            found, tracing, compiling = compiled(optimizer, arrays or count)
            curves.setdefault(name, []).append(int(found))
            row += [f"{found:,}", f"{tracing:.2f} + {compiling:.2f}"]
        rows.append(row)
        print(" | ".join(row), flush=True)
    return curves, rows


def counted(head: str, numbers: Any, curves: Curves) -> list[str]:
    rows = [[name, *(f"{c:,}" for c in counts)] for name, counts in curves.items()]
    return as_table([head, *(f"{n}" for n in numbers)], rows)


def draw(panels: dict[str, tuple[Any, Curves]], path: Any) -> None:
    from matplotlib.figure import Figure  # beside the table only

    figure = Figure(figsize=(10, 6.5), layout="constrained", dpi=100)
    for axes, (title, (numbers, curves)) in zip(
        figure.subplots(2, 2).flat, panels.items(), strict=True
    ):
        for name, counts in curves.items():
            axes.plot(list(numbers), counts, marker=".", label=name)
        axes.set(xlabel=title, ylim=(0, None), xlim=(0, None))
        axes.set_ylabel("equations" if title == "depth" else "operations")
        axes.legend(frameon=False, fontsize="small")
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="keep table and picture")
    write = parser.parse_args().write
    jax.config.update("jax_enable_compilation_cache", False)  # compile times
    deep, long = depth(), segments()
    of_arrays, array_rows = measured(ARRAYS, arrays)
    of_layers, layer_rows = measured(LAYERS, whole, compiled=trained)
    of_groups, group_rows = measured(GROUPS, groups)
    of_rules, rule_rows = measured(RULES, ruled, max(RULES))

    def head(first: str, curves: Curves) -> list[str]:
        return [first, *(x for name in curves for x in (name, "CPU s"))]

    text = "\n".join(
        [
            "# How costs grow",
            "",
            f"Made by `python -m benchmarks.growth --write` with jax {jax.__version__} "
            f"and optax {optax.__version__} on a CPU. Operations are those of compiled "
            "programs; seconds are CPU time to trace + to compile.",
            "",
            "![Four plots of straight lines](growth.png)",
            "",
            "## A schedule around a schedule: traced equations by depth",
            "",
            *counted("", DEPTHS, deep),
            "## Segments: operations",
            "",
            *counted("", SEGMENTS, long),
            "## Parameter arrays: operations of a donated update",
            "",
            *as_table(head("arrays", of_arrays), array_rows),
            "## A training step of the example's transformer, by layers: operations",
            "",
            *as_table(head("layers", of_layers), layer_rows),
            "## Groups of `optax.partition`, an adamw with a schedule each: operations",
            "",
            *as_table(head("groups", of_groups), group_rows),
            "## Rules: operations of 60 arrays in so many groups",
            "",
            *as_table(head("groups", of_rules), rule_rows),
            "With one group all arrays of a shape share one compiled kernel; with many "
            "there is a kernel for each, which takes its time to compile.",
        ]
    )
    print(text)
    if write:
        panels = {
            "depth": (DEPTHS, deep),
            "segments": (SEGMENTS, long),
            "parameter arrays": (ARRAYS, of_arrays),
            "groups of optax.partition": (GROUPS, of_groups),
        }
        draw(panels, RESULTS / "growth.png")
        save("growth.md", text)


if __name__ == "__main__":
    main()
