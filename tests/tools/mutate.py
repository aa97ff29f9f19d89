"""Counts the small mistakes in the package that its tests notice: the mutation score.

    python tests/tools/mutate.py [ROOM ...] [--sample N] [--seed N] [--again]
                                 [--tests NAME ...]

A room is a folder or file of the package, such as `shapes` or `_schedules/cycle.py`;
without any, all folders and files at its top. Of each room a seeded sample of mutants
is tried (see mutants.py), each in a copy of the repository against the quick test files
that run its function; `--tests test_finder` leaves it those files alone, which is
quicker and can only lower the score. A run may be stopped and goes on: the file
mutants.jsonl in benchmarks/results/ keeps a line for each mutant, and mutants.md is
the table.

Survivors wait for a judgement in the field "reason" of their line: why no test can see
them, with "equivalent": true, or which test is missing. It is kept while the function's
line stays the same. `--again` tries the survivors that have none against the tests as
they are now.
"""

import argparse
import concurrent.futures
import contextlib
import dataclasses
import hashlib
import json
import queue
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).parent)]

from mutant_tests import chosen, copy_of, judge, measure  # noqa: E402
from mutants import Mutant, mutants  # noqa: E402
from scipy import stats  # noqa: E402

ROOT = Path(__file__).parents[2]
RESULTS = "benchmarks/results/mutants.jsonl"
NOTICED = ("killed", "timeout")
# Tests of examples, benchmarks, pages and of the source as text, not of the package.
OTHERS = [f"test_{name}*" for name in ("example", "compare", "cost", "docs", "house")]
OTHERS += [f"test_{name}*" for name in ("mutants", "promises", "site", "types")]
OTHERS += ["test_training_speed*", "test_warmup_quality*"]
Row = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Options:
    rooms: list[str]
    sample: int = 40
    seed: int = 0
    jobs: int = 1
    seconds: float = 300.0
    again: bool = False
    tests: Sequence[str] = ()
    root: Path = ROOT
    package: str = "optax_warmup"


def all_rooms(package: Path) -> list[str]:
    paths = [p for p in package.iterdir() if p.suffix == ".py" or p.is_dir()]
    return sorted(
        path.name for path in paths if path.is_file() or any(path.rglob("*.py"))
    )


def files(package: Path, room: str) -> list[Path]:
    path = package / room
    if not path.exists():
        path = package / f"{room}.py"
    if not path.exists():
        names = ", ".join(all_rooms(package))
        raise SystemExit(f"mutate: there is no room {room!r}; the rooms are {names}.")
    return sorted(path.rglob("*.py")) if path.is_dir() else [path]


def sample(options: Options, room: str) -> list[Mutant]:
    """The mutants of a room in the order of the seed, which edits hardly change."""

    def place(mutant: Mutant) -> str:
        return hashlib.sha256(f"{options.seed}:{mutant.name}".encode()).hexdigest()

    found: list[Mutant] = []
    for file in files(options.root / options.package, room):
        path = str(file.relative_to(options.root))
        found += mutants(path, file.read_text())
    return sorted(found, key=place)[: options.sample]


def test_files(options: Options) -> list[str]:
    return sorted(
        str(path.relative_to(options.root))
        for path in (options.root / "tests").rglob("test_*.py")
        if not any(path.match(other) for other in OTHERS)
        and (not options.tests or path.stem in options.tests)
    )


def digest(root: Path, path: str) -> str:
    return hashlib.sha256((root / path).read_bytes()).hexdigest()[:16]


def load(path: Path) -> dict[str, Row]:
    if not path.exists():
        return {}
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    return {key(row["room"], row["name"]): row for row in rows}


def key(room: str, name: str) -> str:
    return f"{room}:{name}"


def save(path: Path, rows: dict[str, Row]) -> None:
    ordered = sorted(rows.values(), key=lambda r: (r["room"], r["path"], r["line"]))
    text = "".join(json.dumps(row, sort_keys=True) + "\n" for row in ordered)
    partial = path.with_suffix(".partial")
    partial.write_text(text)
    partial.replace(path)


def is_done(row: Row | None, source: str, again: bool) -> bool:
    if row is None or row["source"] != source:
        return False
    return not again or row["verdict"] in NOTICED or bool(row["reason"])


def run(options: Options) -> dict[str, Row]:
    """Tries what is not known of the samples; returns all rows that are."""
    path = options.root / RESULTS
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = load(path)
    rooms = options.rooms or all_rooms(options.root / options.package)
    wanted = {
        key(room, mutant.name): (room, mutant)
        for room in rooms
        for mutant in sample(options, room)
    }
    todo = [
        (room, mutant)
        for name, (room, mutant) in wanted.items()
        if not is_done(rows.get(name), digest(options.root, mutant.path), options.again)
    ]
    for name, row in list(rows.items()):  # of code that has changed since
        file = options.root / row["path"]
        same = file.exists() and row["source"] == digest(options.root, row["path"])
        if not same and name not in wanted and row["room"] in rooms:
            del rows[name]
    if todo:
        _try_all(options, todo, rows, path)
    save(path, rows)
    return rows


def _try_all(
    options: Options, todo: list[tuple[str, Mutant]], rows: dict[str, Row], path: Path
) -> None:
    cache = options.root / ".cache" / "mutants"
    lock = threading.Lock()
    with contextlib.ExitStack() as stack:
        copies: queue.Queue[Path] = queue.Queue()
        for _ in range(options.jobs):
            copies.put(stack.enter_context(copy_of(options.root)))
        tree = copies.queue[0]
        measured = measure(tree, options.package, test_files(options), cache, 900.0)

        def attempt(room: str, mutant: Mutant) -> None:
            tree = copies.get()
            began = time.monotonic()
            try:
                found = judge(tree, mutant, chosen(mutant, measured, options.seconds))
            finally:
                copies.put(tree)
            with lock:
                name = key(room, mutant.name)
                old = rows.get(name, {})
                missed = found.verdict not in NOTICED
                rows[name] = {
                    **dataclasses.asdict(mutant),
                    **dataclasses.asdict(found),
                    "room": room,
                    "source": digest(options.root, mutant.path),
                    "equivalent": missed and old.get("equivalent", False),
                    "reason": old.get("reason", ""),
                }
                del rows[name]["text"]
                save(path, rows)
                where = f"{mutant.path}:{mutant.line}"
                what = f"{mutant.before}  ->  {mutant.after}"
                seconds = time.monotonic() - began
                print(
                    f"{found.verdict:8} {seconds:4.0f} s  {where}  {what}", flush=True
                )

        with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
            waiting = [pool.submit(attempt, *each) for each in todo]
            for each in concurrent.futures.as_completed(waiting):
                each.result()


def score(some: list[Row]) -> str:
    """The share that was noticed, and its interval; equivalent mutants do not count."""
    noticed = sum(row["verdict"] in NOTICED for row in some)
    equivalent = sum(row["equivalent"] for row in some)
    tried = len(some) - equivalent
    if not tried:
        return f"{len(some)} | {noticed} | {equivalent} | - | - |"
    interval = stats.binomtest(noticed, tried).proportion_ci(method="wilson")
    share = f"{noticed / tried:.0%} | {interval.low:.0%} to {interval.high:.0%} |"
    return f"{len(some)} | {noticed} | {equivalent} | {share}"


def table(rows: list[Row]) -> str:
    """The page: the score of each room, and the mutants that no test noticed."""
    lines = [
        "# Mutation score",
        "",
        "The share of small mistakes in the package that its tests notice, by room.",
        "Written by `make mutants`, from a sample of mutants; tests/tools/mutants.py",
        "lists the kinds of mistakes. A mutant that is equivalent to the program does",
        "not count. The interval is Wilson's, 95 %.",
        "",
        "| room | mutants | noticed | equivalent | score | interval |",
        "|---|---|---|---|---|---|",
    ]
    by_room: dict[str, list[Row]] = {}
    for row in rows:
        by_room.setdefault(row["room"], []).append(row)
    for room, some in sorted(by_room.items()):
        lines.append(f"| {room} | {score(some)}")
    lines += [
        "",
        "## Not noticed",
        "",
        "| where | mistake | judgement |",
        "|---|---|---|",
    ]
    for row in rows:
        if row["verdict"] in NOTICED:
            continue
        kind = "equivalent: " if row["equivalent"] else ""
        reason = row["reason"] or f"none yet ({row['verdict']}, {row['tests']} files)"
        mistake = f"`{row['before']}` → `{row['after']}`".replace("|", "\\|")
        where = f"{row['path']}:{row['line']} {row['function']}"
        lines.append(f"| {where} | {mistake} | {kind}{reason} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("rooms", nargs="*", metavar="ROOM")
    parser.add_argument("--sample", type=int, default=40, help="mutants of each room")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1, help="mutants tried at a time")
    parser.add_argument(
        "--seconds", type=float, default=300.0, help="of tests for one mutant, at most"
    )
    parser.add_argument(
        "--tests", nargs="+", default=(), metavar="NAME", help="test files to use"
    )
    parser.add_argument("--again", action="store_true", help="try survivors again")
    options = Options(**vars(parser.parse_args()))
    rows = run(options)
    page = (options.root / RESULTS).with_suffix(".md")
    page.write_text(table(list(rows.values())))
    print(f"wrote {page.relative_to(options.root)}: {len(rows)} mutants")


if __name__ == "__main__":
    main()
