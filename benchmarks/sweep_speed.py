"""A sweep in one program, compared with training one by one.

    python -m benchmarks.sweep_speed [--write] [--processes N]
    python -m benchmarks.sweep_speed --on-device N

Three ways to train 8, 64 and 256 configurations: `sweeps.sweep`; a loop that passes the
configuration as an argument of one jitted function, which compiles once; and a process
for each configuration, which finds the compiled program in JAX's cache. A training
costs the loop and the processes the same, however many there are, so a sample of each
is timed and multiplied. `sweeps.search` is timed for one of the numbers.

`--on-device` compares one sweep of N with the loop on the machine's own device, by the
time on the wall, and keeps nothing.

What has been measured is kept in runs/sweep_speed.json, so that an interrupted run goes
on. Ratios are of CPU time, which other work on the machine disturbs less than the time
on the wall.
"""

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax

import optax_warmup as ow
from benchmarks.tables import ROOT, TABLES, save
from examples.images import data
from examples.images.training import Size, train

SIZE = Size(width=16, layers=1, batch_size=32, total_steps=100, eval_every=100)
COUNTS = (8, 64, 256)
SEARCHED = 64  # of the counts, the one that a search is timed with
LOOPED = 33  # trainings of the loop that are timed, the first with its compilation
CHUNK = 32
RANGE = 3e-4, 1e-2
KEPT = ROOT / "runs" / "sweep_speed.json"


def one(digits: data.Digits, peak_value: Any, warmup_steps: Any) -> jax.Array:
    schedule = ow.warmup_cosine(peak_value, warmup_steps, SIZE.total_steps)
    optimizer = optax.adamw(schedule, b1=0.9, b2=0.95)
    return train(digits, optimizer, SIZE, seed=0).validation_loss[-1]


def configurations(count: int) -> list[dict[str, Any]]:
    peaks = ow.sweeps.log_space(*RANGE, count // 4)
    return ow.sweeps.grid(peak_value=peaks, warmup_steps=[0, 10, 100, 200])


def by_sweep(count: int) -> dict[str, Any]:
    shared, points = (data.load(),), configurations(count)
    chunk = min(CHUNK, count)
    losses, seconds = timed(
        lambda: ow.sweeps.sweep(one, points, shared=shared, chunk=chunk)
    )
    return {"losses": losses.tolist(), **seconds}


def by_search(count: int) -> dict[str, float]:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))

    def space(trial: optuna.Trial) -> dict[str, Any]:
        return {
            "peak_value": trial.suggest_float("peak_value", *RANGE, log=True),
            "warmup_steps": trial.suggest_int("warmup_steps", 0, 200),
        }

    shared = (data.load(),)
    return timed(
        lambda: ow.sweeps.search(
            study, one, space, trials=count, chunk=CHUNK, shared=shared
        )
    )[1]


def by_loop() -> dict[str, Any]:
    """The losses of the first ones, and the seconds of the first and of each other."""
    first, *others = configurations(max(COUNTS))[:LOOPED]
    digits = data.load()
    jitted = jax.jit(lambda **configuration: one(digits, **configuration))
    loss, compiling = timed(lambda: float(jitted(**first)))
    losses, rest = timed(lambda: [float(jitted(**each)) for each in others])
    each = {name: seconds / len(others) for name, seconds in rest.items()}
    return {"losses": [loss, *losses], "first": compiling, "each": each}


def by_processes(few: int) -> dict[str, Any]:
    """The losses of a few, and the seconds of each."""
    points = configurations(max(COUNTS))[:few]
    with tempfile.TemporaryDirectory() as cache:
        in_a_process(points[0], cache)  # fills the cache
        losses, some = timed(lambda: [in_a_process(each, cache) for each in points])
    return {
        "losses": losses,
        "each": {name: seconds / few for name, seconds in some.items()},
    }


def in_a_process(point: dict[str, Any], cache: str) -> float:
    command = [
        sys.executable,
        "-m",
        "benchmarks.sweep_speed",
        "--one",
        json.dumps(point),
    ]
    kept = {
        "JAX_COMPILATION_CACHE_DIR": cache,
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    found = subprocess.run(
        command, cwd=ROOT, env=os.environ | kept, capture_output=True, check=True
    )
    return float(found.stdout)


def timed(call: Callable[[], Any]) -> tuple[Any, dict[str, float]]:
    """The result, and the seconds on the wall and of the CPU, children included."""

    def cpu() -> float:
        used = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        return sum(each.ru_utime + each.ru_stime for each in used)

    wall, begin = time.perf_counter(), cpu()
    result = call()
    return result, {"wall": time.perf_counter() - wall, "cpu": cpu() - begin}


def on_device(count: int) -> str:
    """Seconds of a sweep of `count`, and of the loop over as many."""
    swept, looped = by_sweep(count)["wall"], by_loop()
    loop = looped["first"]["wall"] + (count - 1) * looped["each"]["wall"]
    return (
        f"A sweep of {count} on {jax.devices()[0].device_kind}, in chunks of {CHUNK}: "
        f"{swept:.1f} s with its compilation. The loop that takes the configuration as "
        f"an argument ({LOOPED} timed): {loop:.1f} s, {loop / swept:.2f} times as long."
    )


def ways(few: int) -> dict[str, Callable[[], Any]]:
    """What is measured, in this order."""
    sweeps = {str(count): partial(by_sweep, count) for count in COUNTS}
    return {
        "loop": by_loop,
        "processes": partial(by_processes, few),
        **sweeps,
        "search": partial(by_search, SEARCHED),
    }


def check(found: dict[str, Any]) -> None:
    """The same trainings have the same losses, but for the order of sums."""
    together = np.array(found[str(max(COUNTS))]["losses"])
    for name in ("loop", "processes"):
        losses = np.array(found[name]["losses"])
        difference = np.abs(together[: len(losses)] / losses - 1)
        assert np.median(difference) < 0.02, (name, difference)


def table(found: dict[str, Any]) -> str:
    loop, alone, search = found["loop"], found["processes"], found["search"]
    each, process = loop["each"]["cpu"], alone["each"]["cpu"]

    def ratios(count: int) -> tuple[float, float]:
        sweep = found[str(count)]["cpu"]
        looped = loop["first"]["cpu"] + (count - 1) * each
        return looped / sweep, count * process / sweep

    def row(count: int) -> str:
        sweep = found[str(count)]
        cells = [str(count), f"{sweep['cpu']:.1f} ({sweep['wall']:.0f})"]
        first, later = loop["first"], loop["each"]
        total = {name: first[name] + (count - 1) * later[name] for name in first}
        cells.append(f"{total['cpu']:.1f} ({total['wall']:.0f})")
        own = {name: count * alone["each"][name] for name in total}
        cells.append(f"{own['cpu']:.0f} ({own['wall']:.0f})")
        against_loop, against_processes = ratios(count)
        cells += [f"**{against_loop:.2f}**", f"**{against_processes:.1f}**"]
        return f"| {' | '.join(cells)} |"

    swept = found[str(SEARCHED)]
    small, large = (found[str(count)]["cpu"] for count in COUNTS[1:])
    one_swept = (large - small) / (COUNTS[2] - COUNTS[1])  # without the compilation
    beside = process - each
    # (beside + T) / (T one_swept / each) = 5, for a training of T seconds
    longest = beside / (5 * one_swept / each - 1)
    return "\n".join(
        [
            "# Speed of a sweep",
            "",
            f"Made by `python -m benchmarks.sweep_speed --write --processes "
            f"{len(alone['losses'])}` with jax {jax.__version__}, Python "
            f"{platform.python_version()}, on one CPU device of {os.cpu_count()} "
            f"cores, chunks of {CHUNK}. A vision transformer of width {SIZE.width}, "
            f"{SIZE.total_steps} updates of {SIZE.batch_size} digits.",
            "",
            "CPU seconds, and seconds on the wall in brackets; the machine had other "
            "work, so the ratios are of CPU seconds, from one run. Compilation is part "
            "of all. The loop jits one training with its configuration as an argument: "
            f"{LOOPED} are timed, the first with its compilation, and extrapolated. "
            f"The processes are extrapolated from {len(alone['losses'])}, one after "
            "the other; they find the compiled program in JAX's cache. A ratio above 1 "
            "says that the sweep takes less.",
            "",
            "| configurations | sweep | loop | a process each | loop / sweep "
            "| processes / sweep |",
            "|---|---|---|---|---|---|",
            *map(row, COUNTS),
            "",
            f"A training takes {each:.3f} CPU seconds in the loop, {one_swept:.3f} in "
            f"the sweep and {process:.2f} in a process: {beside:.1f} beside the "
            "training itself, for its start, the imports and reading the program. So "
            "the longer a training, the less a sweep saves against processes: about 5 "
            f"times for a training of {longest:.1f} CPU seconds, and less above.",
            "",
            f"A search of {SEARCHED} random trials in chunks of the same size, without "
            f"a pruner, took {search['cpu']:.1f} CPU seconds ({search['wall']:.0f}), "
            f"the sweep of as many {swept['cpu']:.1f}.",
            "",
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="keep the table")
    parser.add_argument("--processes", type=int, default=6, help="timed one by one")
    parser.add_argument("--on-device", type=int, help="a multiple of 4")
    parser.add_argument("--one", type=json.loads, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(float(jax.jit(lambda **x: one(data.load(), **x))(**options.one)))
        return
    jax.config.update("jax_enable_compilation_cache", False)  # compilation counts
    if options.on_device:
        print(on_device(options.on_device))
        return
    sources = TABLES["sweep_speed.md"].fingerprint()
    found = kept(KEPT, sources)
    for name, way in ways(options.processes).items():
        if name not in found:
            found[name] = way()
            KEPT.parent.mkdir(exist_ok=True)
            KEPT.write_text(json.dumps({"sources": sources, "found": found}))
            print(name, {k: v for k, v in found[name].items() if k != "losses"})
            sys.stdout.flush()
    check(found)
    text = table(found)
    print(text)
    if options.write:
        save("sweep_speed.md", text)


def kept(path: Path, sources: str) -> dict[str, Any]:
    """What an interrupted run of the same sources has measured."""
    if path.exists():
        before = json.loads(path.read_text())
        if before["sources"] == sources:
            return dict(before["found"])
    return {}


if __name__ == "__main__":
    main()
