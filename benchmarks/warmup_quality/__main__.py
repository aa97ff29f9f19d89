"""Compares warmup methods over peak rates and tasks; see docs/automatic.md.

    python -m benchmarks.warmup_quality run [--tasks base,digits] [--quick]
    python -m benchmarks.warmup_quality report [--quick]

Each run is saved as soon as it finishes: stop `run` at any time, and run it again.
"""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from .arms import ARMS
from .plan import QUICK, Plan, Seeds
from .store import RESULTS, Store
from .tasks import SCALES, TASKS, Task
from .work import Workers, grouped

# FLOP/s of a core, or of an accelerator; used until a run has been timed.
FLOPS = {"cpu": 2e10, "gpu": 2e13}


def names(text: str) -> tuple[str, ...]:
    return tuple(filter(None, text.split(",")))


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.warmup_quality",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", choices=("run", "report"))
    parser.add_argument("--scale", choices=tuple(SCALES), default="cpu")
    parser.add_argument("--tasks", type=names, help=f"of {', '.join(TASKS)}")
    parser.add_argument(
        "--arms", type=names, default=tuple(arm.name for arm in ARMS),
        help=f"of {', '.join(arm.name for arm in ARMS)}; default: all",
    )  # fmt: skip
    parser.add_argument("--quick", action="store_true", help="2 + 3 seeds, not 3 + 5")
    parser.add_argument(
        "--workers", type=int, help="processes; default: one for each core"
    )
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder")
    chosen = parser.parse_args(arguments)
    chosen.tasks = chosen.tasks or tuple(task.name for task in SCALES[chosen.scale])
    for given, known in ((chosen.tasks, TASKS), (chosen.arms, [a.name for a in ARMS])):
        for name in given:
            if name not in known:
                parser.error(f"{name!r} is none of {', '.join(known)}")
    return chosen


def run(
    tasks: Sequence[Task], arms: tuple[str, ...], seeds: Seeds, store: Store,
    workers: Workers, scale: str = "cpu",
) -> int:  # fmt: skip
    """Makes the missing runs; returns their number."""
    plans = [Plan(task, arms, seeds, store) for task in tasks]
    missing = [plan.remaining() for plan in plans]
    estimate = sum(
        count * seconds(plan.task, store, scale) / workers.count
        for plan, count in zip(plans, missing, strict=True)
    )
    print(
        f"{sum(missing)} runs to do on {workers.count} worker(s), {len(store.runs)} "
        f"are kept in {store.path}: about {estimate / 60:.0f} minutes.",
        flush=True,
    )
    done = 0
    with Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
        TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(),
        speed_estimate_period=300,
    ) as bar:  # fmt: skip
        for plan, count in zip(plans, missing, strict=True):
            row, before = bar.add_task(plan.task.name, total=count), done
            while jobs := plan.jobs():  # the next ones depend on these
                units = grouped(plan.task, jobs, plan.factors, workers.many)
                for result in workers.perform(units):
                    store.add(result)
                    done += 1
                    bar.update(row, advance=1, total=max(count, done - before))
            bar.update(row, total=bar.tasks[row].completed)
    return done


def seconds(task: Task, store: Store, scale: str) -> float:
    """The time of a run: the median of the kept ones, or a guess from its FLOPs."""
    kept = sorted(r.seconds for r in store.runs.values() if r.job.task == task.name)
    return kept[len(kept) // 2] if kept else task.cost / FLOPS[scale]


def main(arguments: Sequence[str] | None = None) -> None:
    chosen = parse(arguments)
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", ".cache/jax")
    store = Store(chosen.results / "runs.jsonl")
    seeds = QUICK if chosen.quick else Seeds()
    tasks = [TASKS[name] for name in chosen.tasks]
    if chosen.command == "run":
        try:
            with Workers(chosen.workers) as workers:
                run(tasks, chosen.arms, seeds, store, workers, chosen.scale)
        except KeyboardInterrupt:
            raise SystemExit("Stopped. The same command continues from here.") from None
    from .report import write

    print(write(store, tasks, seeds, chosen.results))


if __name__ == "__main__":
    main()
