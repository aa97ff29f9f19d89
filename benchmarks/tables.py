"""Makes the tables of costs, and says which of them are out of date.

    python -m benchmarks.tables            makes all of them (about ten minutes)
    python -m benchmarks.tables --only N   makes those whose name has N in it
    python -m benchmarks.tables --stale    lists those whose sources have changed since

Each table carries the commit and a hash of the sources that it measures. A change of
these makes it out of date, which is listed and fails no test: a change would otherwise
need ten minutes of measurements, on a machine that is quiet enough. What must not get
worse unseen has a budget, which is counted in seconds: tests/test_budget.py.
"""

import argparse
import hashlib
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
SCHEDULES = tuple(
    f"optax_warmup/{name}"
    for name in ("_check.py", "_numerics.py", "values", "shapes", "_schedules")
) + ("optax_warmup/_presets",)
OPTIMIZERS = (*SCHEDULES, *(f"optax_warmup/{x}" for x in ("_sample.py", "_state")))
RECORD = (*OPTIMIZERS, "optax_warmup/_gate.py", "optax_warmup/_record")


class Table(NamedTuple):
    """How a table is made: a module that takes --write, and what it measures."""

    module: str
    sources: tuple[str, ...]

    def fingerprint(self, root: Path = ROOT) -> str:
        """A hash of the sources: of the package's, and of the benchmark's own."""
        total = hashlib.sha256()
        for source in (f"benchmarks/{self.module}.py", *self.sources):
            path = root / source
            files = sorted(path.rglob("*.py")) if path.is_dir() else [path]
            for file in files:
                total.update(str(file.relative_to(root)).encode())
                total.update(file.read_bytes())
        return total.hexdigest()[:12]


TABLES = {
    "schedule_speed.md": Table("schedule_speed", SCHEDULES),
    "growth.md": Table("growth", RECORD),
    "gpu_program.md": Table("gpu_program", (*RECORD, "optax_warmup/_transforms")),
    "automatic_cost.md": Table("automatic_cost", (*RECORD, "optax_warmup/_transforms")),
    "diagnostics_cost.md": Table("diagnostics_cost", RECORD),
    "sweep_speed.md": Table("sweep_speed", ("optax_warmup/sweeps", *SCHEDULES)),
}
# Of the sources as they are when a benchmark starts, which are those that it imports.
_AT_START = {name: table.fingerprint() for name, table in TABLES.items()}
STAMP = re.compile(r"^Commit `(\w+)`, sources `(\w+)`\.$", re.MULTILINE)


def save(name: str, text: str) -> None:
    """Writes a table with its stamp, below the title."""
    title, rest = text.split("\n", 1)
    stamp = f"Commit `{commit()}`, sources `{_AT_START[name]}`."
    (RESULTS / name).write_text(f"{title}\n\n{stamp}\n{rest}", encoding="utf-8")


def commit() -> str:
    """The commit of this checkout."""
    command = ["git", "rev-parse", "--short=12", "HEAD"]
    asked = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    return asked.stdout.strip() or "unknown"


def stale(root: Path = ROOT) -> list[str]:
    """The tables that were measured with other sources than these."""
    old = []
    for name, table in TABLES.items():
        found = STAMP.search((root / "benchmarks/results" / name).read_text("utf-8"))
        if found is None or found[2] != table.fingerprint(root):
            old.append(name)
    return old


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--stale", action="store_true", help="list them, make none")
    parser.add_argument("--only", default="", help="part of a table's name")
    options = parser.parse_args()
    if options.stale:
        for name in stale():
            print(f"benchmarks/results/{name} is out of date: make bench ARGS='--only "
                  f"{TABLES[name].module}'")  # fmt: skip
        return
    failed = []
    for name, table in TABLES.items():
        if options.only in name:
            print(f"==> {name}", flush=True)
            command = [sys.executable, "-m", f"benchmarks.{table.module}", "--write"]
            if subprocess.run(command, cwd=ROOT).returncode:
                failed.append(name)
    if failed:
        sys.exit(f"not made: {', '.join(failed)}")


if __name__ == "__main__":
    main()
