"""A sweep in one program, compared with training one by one.

    python -m benchmarks.sweep_speed [--write] [--processes N]

Each number of configurations is trained in three ways: by `sweeps.sweep`; by a loop
that passes the configuration as an argument of one jitted function, which compiles
once; and by a process for each configuration. One of the numbers is trained by
`sweeps.search`, too. Compilation is part of all. A sample is timed of the processes and
of a long loop, and multiplied. The processes find the compiled program in the cache of
JAX, which a first one has filled.

What has been measured is kept in runs/sweep_speed.json, so that an interrupted run goes
on. The ways at one number of configurations follow each other, and ratios are of CPU
time, which other work on the machine disturbs less than the time on the wall.
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
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax

import optax_warmup as ow
from benchmarks.tables import ROOT, TABLES, save
from examples.images import data
from examples.images.training import Size, train

SIZE = Size(width=16, layers=1, batch_size=32, total_steps=200, eval_every=200)
COUNTS = (8, 64, 256)
SEARCHED = 64  # of the counts, the one that a search is timed with
LOOPED = 64  # trainings of a loop that are timed at most
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


def by_sweep(count: int) -> np.ndarray:
    shared = (data.load(),)
    losses: np.ndarray = ow.sweeps.sweep(
        one, configurations(count), shared=shared, chunk=min(CHUNK, count)
    )
    return losses


def by_search(count: int) -> None:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))

    def space(trial: optuna.Trial) -> dict[str, Any]:
        return {
            "peak_value": trial.suggest_float("peak_value", *RANGE, log=True),
            "warmup_steps": trial.suggest_int("warmup_steps", 0, 200),
        }

    ow.sweeps.search(
        study, one, space, trials=count, chunk=CHUNK, shared=(data.load(),)
    )


def by_loop(count: int) -> tuple[np.ndarray, dict[str, float]]:
    """The losses of the first ones, and the seconds that all would take."""
    points = configurations(count)
    digits = data.load()
    jitted = jax.jit(lambda **configuration: one(digits, **configuration))
    first, compiling = timed(lambda: float(jitted(**points[0])))
    few = points[1:LOOPED]
    others, rest = timed(lambda: [float(jitted(**each)) for each in few])
    times = (count - 1) / len(few)
    return np.array([first, *others]), {
        name: compiling[name] + times * rest[name] for name in rest
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


def measure(count: int, few: int) -> dict[str, Any]:
    together, sweep = timed(lambda: by_sweep(count))
    looped, loop = by_loop(count)
    points = configurations(count)
    chosen = np.linspace(0, len(looped) - 1, few).astype(int)
    with tempfile.TemporaryDirectory() as cache:
        in_a_process(points[0], cache)  # fills the cache
        alone, some = timed(lambda: [in_a_process(points[i], cache) for i in chosen])
    processes = {name: seconds * count / few for name, seconds in some.items()}
    # The same trainings, but for the order of sums.
    same = (together[: len(looped)], looped), (np.array(alone), looped[chosen])
    for mine, wanted in same:
        assert np.median(np.abs(mine / wanted - 1)) < 0.02, (mine, wanted)
    found: dict[str, Any] = {"sweep": sweep, "loop": loop}
    found |= {"processes": processes, "timed": few}
    if count == SEARCHED:
        found["search"] = timed(lambda: by_search(count))[1]
    return found


def table(found: dict[str, Any]) -> str:
    rows = []
    for count, each in found.items():
        sweep = each["sweep"]
        cells = [count]
        for name in ("sweep", "loop", "processes"):
            cells.append(f"{each[name]['cpu']:.0f} ({each[name]['wall']:.0f})")
        cells += [
            f"**{each['loop']['cpu'] / sweep['cpu']:.2f}**",
            f"**{each['processes']['cpu'] / sweep['cpu']:.1f}**",
        ]
        rows.append(f"| {' | '.join(cells)} |")
    few = min(each["timed"] for each in found.values())
    searched = found.get(str(SEARCHED))
    return "\n".join(
        [
            "# Speed of a sweep",
            "",
            f"Made by `python -m benchmarks.sweep_speed --write` with jax "
            f"{jax.__version__}, Python {platform.python_version()}, on one CPU device "
            f"of {os.cpu_count()} cores, chunks of {CHUNK}. A vision transformer of "
            f"width {SIZE.width}, {SIZE.total_steps} updates of {SIZE.batch_size} "
            "digits: a short training.",
            "",
            "CPU seconds, and seconds on the wall in brackets; the machine had other "
            "work, so the ratios are of CPU seconds. Compilation is part of all. The "
            "loop jits one training with its configuration as an argument; at most "
            f"{LOOPED} of its trainings are timed. The "
            f"processes are extrapolated from {few} of each number, one after the "
            "other; they find the compiled program in JAX's cache. A ratio above 1 "
            "says that the sweep takes less.",
            "",
            "| configurations | sweep | loop | a process each | loop / sweep "
            "| processes / sweep |",
            "|---|---|---|---|---|---|",
            *rows,
            "",
            *(
                [
                    f"A search of {SEARCHED} random trials, in chunks of the same size "
                    f"and not pruned, took {searched['search']['cpu']:.0f} CPU seconds "
                    f"({searched['search']['wall']:.0f} on the wall), the sweep of as "
                    f"many {searched['sweep']['cpu']:.0f}.",
                    "",
                ]
                if searched
                else []
            ),
            "What a process costs beside its training is its start, the imports and "
            "reading the program: the longer a training, the less a sweep saves "
            "against processes. Against the loop a CPU gains nothing but what the "
            "table shows.",
            "",
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="keep the table")
    parser.add_argument("--processes", type=int, default=6, help="timed one by one")
    parser.add_argument("--one", type=json.loads, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(float(jax.jit(lambda **x: one(data.load(), **x))(**options.one)))
        return
    jax.config.update("jax_enable_compilation_cache", False)  # compilation counts
    sources = TABLES["sweep_speed.md"].fingerprint()
    found = kept(KEPT, sources)
    for count in COUNTS:
        if str(count) not in found:
            found[str(count)] = measure(count, options.processes)
            KEPT.parent.mkdir(exist_ok=True)
            KEPT.write_text(json.dumps({"sources": sources, "found": found}))
            print(count, found[str(count)], flush=True)
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
