"""The cost of recording Adam's moments, compared with common ways of doing it.

    python -m benchmarks.diagnostics_cost [--quick] [--rounds N] [--write]

Every variant trains its own copy of one model with donated state. In each round the
variants take turns in a shuffled order. Each figure is a median over the rounds of the
variant's time divided by the plain step's time in the same round, since the machine may
be shared. Process time (all threads) suffers less from other processes than wall time.
The error is that of the median of the process times, from the quartiles. Two programs
that do the same still differ by some per cent: the plain step is compiled several times
with other rates, and a difference that is no larger than theirs is not claimed.
"""

import argparse
import random
import re
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import optax_warmup as ow
from benchmarks.tables import save
from examples.transformer.core.config import ModelConfig
from examples.transformer.core.sharding import make_mesh
from examples.transformer.core.train_step import init_params, loss_of

NEVER = [2**30]  # a step that no run reaches
ALWAYS = range(100_000)
B2 = 0.95
Step = Callable[[Any, Any, Any], tuple[Any, Any, Any]]
Ratios = dict[str, tuple[float, float, float]]


PLAIN = "plain adamw"
AGAIN = "plain adamw, compiled again"


def adamw(learning_rate: float = 1e-3) -> optax.GradientTransformation:
    return optax.adamw(learning_rate, b2=B2)


def plain(
    grads: Callable, optimizer: optax.GradientTransformation, **extra: Any
) -> Step:
    def step(params: Any, state: Any, batch: Any) -> tuple[Any, Any, Any]:
        g = grads(params, batch)
        updates, state = optimizer.update(g, state, params, **extra)
        return optax.apply_updates(params, updates), state, 0.0

    return step


def watched(grads: Callable, watch: Callable) -> Step:
    """A step that also returns `watch(nu, updates, gradients)`."""

    def step(params: Any, state: Any, batch: Any) -> tuple[Any, Any, Any]:
        g = grads(params, batch)
        updates, state = adamw().update(g, state, params)
        return (
            optax.apply_updates(params, updates),
            state,
            watch(state[0].nu, updates, g),
        )

    return step


def norms(*trees: Any) -> Any:
    return jax.tree.map(lambda x: jnp.sqrt(jnp.sum(x * x)), trees)


def histograms(nu: Any, updates: Any, gradients: Any) -> Any:
    return jax.tree.map(lambda x: jnp.histogram(jnp.log2(x + 1e-30), 32)[0], nu)


def called_back(nu: Any, updates: Any, gradients: Any) -> float:
    jax.debug.callback(lambda *x: None, *jax.tree.leaves(norms(nu)))
    return 0.0


def variants(grads: Callable) -> dict[str, tuple[Any, Step, Callable | None]]:
    """name -> (optimizer, step, what the host does after the step)."""

    def recorded(**options: Any) -> optax.GradientTransformation:
        return ow.record_moments(adamw(), b2=B2, **options)

    eager = lambda out: jnp.linalg.norm(  # noqa: E731
        jnp.concatenate([x.reshape(-1) for x in jax.tree.leaves(out[1][0].nu)])
    )
    apart = jax.jit(norms)
    fetched = lambda out: jax.device_get(apart(out[1][0].nu))  # noqa: E731
    rows: dict[str, tuple[Any, Step, Callable | None]] = {}

    def ours(name: str, optimizer: optax.GradientTransformation, **extra: Any) -> None:
        rows[name] = optimizer, plain(grads, optimizer, **extra), None

    def theirs(name: str, step: Step, host: Callable | None = None) -> None:
        rows[name] = adamw(), step, host

    ours(PLAIN, adamw())
    for i in range(1, 4):
        ours(f"{AGAIN} ({i})", adamw(1e-3 + i * 1e-5))
    ours("record_moments, step not due", recorded(steps=NEVER))
    ours("record_moments, step due", recorded(steps=ALWAYS))
    ours("... of all coordinates, due", recorded(steps=ALWAYS, samples=None))
    ours("... switched off by the host", recorded(), record=False)
    theirs("norms of nu, updates, gradients in the step", watched(grads, norms))
    theirs("norms of nu in a jit of their own, fetched", plain(grads, adamw()), fetched)
    theirs("jnp.histogram of nu in the step", watched(grads, histograms))
    theirs("debug.callback with norms of nu", watched(grads, called_back))
    theirs("eager norm of nu", plain(grads, adamw()), eager)
    return rows


def measure(rows: dict, params: Any, batch: Any, rounds: int, steps: int) -> Ratios:
    """name -> median ratio of process time to the first row's, its error, wall time."""
    running = {}
    for name, (optimizer, step, host) in rows.items():
        jitted = jax.jit(step, donate_argnums=(0, 1))
        running[name] = [jitted, host, *fresh(params, optimizer)]
        advance(running[name], batch, 2)
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in rows}
    order = list(rows)
    for done in range(rounds):
        random.Random(done).shuffle(order)
        for name in order:
            began = time.process_time(), time.perf_counter()
            advance(running[name], batch, steps)
            ended = time.process_time(), time.perf_counter()
            times[name].append((ended[0] - began[0], ended[1] - began[1]))
        progress(f"round {done + 1}/{rounds}")
    base = np.array(times[next(iter(rows))])
    ratios = {name: np.array(own) / base for name, own in times.items()}
    result = {}
    for name, ratio in ratios.items():
        low, cpu, high = np.quantile(ratio[:, 0], (0.25, 0.5, 0.75))
        error = 0.93 * (high - low) / rounds**0.5
        result[name] = float(cpu), float(error), float(np.median(ratio[:, 1]))
    return result


def advance(running: list, batch: Any, steps: int) -> None:
    jitted, host, params, state = running
    for _ in range(steps):
        out = jitted(params, state, batch)
        params, state = out[:2]
        if host:
            host(out)
    jax.block_until_ready(out)
    running[2:] = params, state


def progress(text: str) -> None:
    print(f"\r{text}  ", end="", file=sys.stderr, flush=True)


def training_step(quick: bool) -> tuple[str, Callable, Any, Any]:
    config = ModelConfig(
        length=128,
        width=128 if quick else 256,
        layers=2 if quick else 4,
        heads=4,
        mlp_width=1024,
    )
    graphdef, params = init_params(config, make_mesh(batch_size=8))
    rng = np.random.default_rng(0)
    batch = jnp.asarray(rng.integers(0, 256, (8, config.length + 1), np.int32))
    size = sum(x.size for x in jax.tree.leaves(params))
    name = (
        f"a training step: transformer, {size / 1e6:.1f} M parameters, 8 x 128 tokens"
    )
    return name, jax.grad(loss_of(graphdef)), params, batch


def optimizer_alone(quick: bool) -> tuple[str, Callable, Any, Any]:
    width = 512 if quick else 1024
    params = {f"w{i}": jnp.full((width, width), 0.1) for i in range(10)}
    size = sum(x.size for x in params.values())
    name = f"the optimizer alone: {size / 1e6:.1f} M parameters in 10 matrices"
    return name, lambda params, batch: batch, params, params


def large(quick: bool, rounds: int) -> tuple[str, Ratios]:
    """The optimizer alone on a large tree: about 7 GiB for all copies."""
    width = 1024 if quick else 5000
    params = {f"w{i}": jnp.full((width, width), 0.1) for i in range(4)}
    rows = variants(lambda params, batch: batch)
    kept = (
        PLAIN,
        f"{AGAIN} (1)",
        "record_moments, step not due",
        "record_moments, step due",
    )
    size = sum(x.size for x in params.values())
    name = f"the optimizer alone: {size / 1e6:.0f} M parameters in 4 matrices"
    chosen = {n: rows[n] for n in kept}
    return name, measure(chosen, params, params, max(rounds // 2, 3), 1)


def fresh(params: Any, optimizer: optax.GradientTransformation) -> tuple[Any, Any]:
    copy = jax.tree.map(jnp.copy, params)
    return copy, jax.jit(optimizer.init)(copy)


def replicas(rounds: int, steps: int) -> Ratios:
    """64 replicas under vmap, each with its own optimizer state."""
    params = {f"w{i}": jnp.full((64, 64, 64), 0.1) for i in range(8)}
    rows = {}
    for name, optimizer in {
        PLAIN: adamw(),
        f"{AGAIN} (1)": adamw(1.1e-3),
        "record_moments, step not due": ow.record_moments(adamw(), b2=B2, steps=NEVER),
        "record_moments, step due": ow.record_moments(adamw(), b2=B2, steps=ALWAYS),
    }.items():
        step = jax.vmap(plain(lambda p, b: b, optimizer), out_axes=(0, 0, None))
        batched = optimizer._replace(init=jax.vmap(optimizer.init))
        rows[name] = batched, step, None
    return measure(rows, params, params, rounds, steps)


def spread(ratios: Ratios) -> float:
    """By how much the same step differs from itself when it is compiled again."""
    again = [r for name, r in ratios.items() if name.startswith(AGAIN)]
    return max((abs(cpu - 1) + error for cpu, error, _ in again), default=0.0)


def table(title: str, ratios: Ratios) -> str:
    unresolved = spread(ratios)
    lines = [
        f"### {title}",
        "",
        f"The plain step, compiled again, differs by up to {unresolved:.3f}; smaller "
        "differences are left out.",
        "",
        "| variant | process time | error | wall time |",
        "|---|---|---|---|",
    ]
    for name, (cpu, error, wall) in ratios.items():
        if name == PLAIN or name.startswith(AGAIN) or abs(cpu - 1) > unresolved:
            lines.append(f"| {name} | {cpu:.3f} | {error:.3f} | {wall:.3f} |")
        else:
            lines.append(f"| {name} | not resolved | | |")
    return "\n".join(lines)


def counted() -> str:
    """What the programs of one update hold: no times, so they repeat."""
    params = {f"w{i}": jnp.full((512, 512), 0.1) for i in range(10)}
    size = sum(x.nbytes for x in params.values())
    rows = [
        "### what one update is compiled to: 2.6 M parameters in 10 matrices",
        "",
        "| variant | operations | conditionals | temporary, of the parameters' bytes "
        "| state, bytes beside Adam's | compile, CPU s |",
        "|---|---|---|---|---|---|",
    ]
    base = 0
    for name, optimizer, extra in (
        (PLAIN, adamw(), {}),
        ("record_moments", ow.record_moments(adamw(), b2=B2), {}),
        (
            "... of all coordinates",
            ow.record_moments(adamw(), b2=B2, samples=None),
            {},
        ),
        (
            "... switched off by the host",
            ow.record_moments(adamw(), b2=B2),
            {"record": False},
        ),
    ):
        step = plain(lambda params, batch: batch, optimizer, **extra)
        state = jax.eval_shape(optimizer.init, params)
        held = sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(state))
        base = base or held
        lowered = jax.jit(step, donate_argnums=(0, 1)).lower(params, state, params)
        began = time.process_time()
        program = lowered.compile()
        spent = time.process_time() - began
        text = program.as_text() or ""
        count = len(re.findall(r"^\s+(?:ROOT )?\S+ = ", text, re.MULTILINE))
        memory = program.memory_analysis()
        assert memory is not None, "this backend does not say"
        temporary = memory.temp_size_in_bytes / size
        rows.append(
            f"| {name} | {count:,} | {text.count(' conditional(')} | {temporary:.3f} "
            f"| {held - base:,} | {spent:.2f} |"
        )
    return "\n".join(rows)


def report(quick: bool, rounds: int) -> Iterator[str]:
    """The tables and sentences of the page, each printed when it is ready."""

    def told(part: str) -> str:
        print(f"\r{part}\n", flush=True)
        return part

    yield told(counted())
    for make, steps in ((training_step, 1), (optimizer_alone, 2)):
        title, grads, params, batch = make(quick)
        progress(title)
        ratios = measure(variants(grads), params, batch, rounds, steps)
        yield told(table(title, ratios))
    yield told(table(*large(quick, rounds)))
    title = "64 replicas under vmap, 32,768 parameters each, the optimizer alone"
    yield told(table(title, replicas(rounds, 3)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small, for a test")
    parser.add_argument("--rounds", type=int, default=12, help="default: 12")
    parser.add_argument("--write", action="store_true", help="keep the tables")
    options = parser.parse_args()
    jax.config.update("jax_enable_compilation_cache", False)  # compile times
    rounds = 3 if options.quick else options.rounds
    parts = list(report(options.quick, rounds))
    if options.write:
        head = (
            "# What the record costs\n\nRatios to the plain step, medians over "
            f"{rounds} alternating rounds in one run, on {jax.devices()[0].device_kind}"
            f" with jax {jax.__version__}. Made by `python -m "
            f"benchmarks.diagnostics_cost --write --rounds {rounds}`.\n\n"
        )
        save("diagnostics_cost.md", head + "\n\n".join(parts) + "\n")


if __name__ == "__main__":
    main()
