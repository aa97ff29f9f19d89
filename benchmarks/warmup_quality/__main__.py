"""Compares warmup methods over peak rates and tasks; see docs/automatic.md.

    python -m benchmarks.warmup_quality run [--half choosing] [--tasks gru,lion]
    python -m benchmarks.warmup_quality report

Results are saved as they come: stop `run` at any time, and start it again.
"""

import argparse
import os
import time
from collections.abc import Sequence
from pathlib import Path

from .arms import BY_NAME as ARMS
from .plan import MORE, SCORING, Comparison, arms_for, missing
from .store import RESULTS, Store
from .tasks import BY_NAME as TASKS, CHOOSING, HELD_OUT


def names(text: str) -> tuple[str, ...]:
    return tuple(filter(None, text.split(",")))


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.warmup_quality",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", choices=("run", "report"))
    parser.add_argument("--half", choices=(CHOOSING, HELD_OUT), help="default: both")
    parser.add_argument(
        "--tasks", type=names, default=tuple(TASKS), help="default: all"
    )
    parser.add_argument("--arms", type=names, default=tuple(ARMS), help="default: all")
    parser.add_argument("--more-seeds", action="store_true", help="five, not three")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder")
    chosen = parser.parse_args(arguments)
    for given, known in ((chosen.tasks, TASKS), (chosen.arms, ARMS)):
        for name in given:
            if name not in known:
                parser.error(f"{name!r} is none of {', '.join(known)}")
    return chosen


def main(arguments: Sequence[str] | None = None) -> None:
    chosen = parse(arguments)
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", ".cache/jax")
    store = Store(chosen.results / "runs.jsonl")
    seeds = MORE if chosen.more_seeds else SCORING
    tasks = [TASKS[name] for name in chosen.tasks]
    tasks = [task for task in tasks if chosen.half in (None, task.half)]
    if chosen.command == "run":
        for task in tasks:
            for arm in arms_for(task, chosen.arms):
                if missing(task, arm, store, seeds):
                    begin = time.perf_counter()
                    Comparison(task, store, seeds).scored(arm)
                    taken = time.perf_counter() - begin
                    print(f"{task.name}: {arm.name} ({taken:.0f} s)", flush=True)
    from .report import write

    print(write(store, tasks, chosen.results))


if __name__ == "__main__":
    main()
