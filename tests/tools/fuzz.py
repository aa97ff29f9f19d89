"""Tries random input for some minutes, and adds to a table of what was found.

    python tests/tools/fuzz.py [--seed N] [--minutes N] [--kind KIND ...] [--goal N]

- schedules: random nested expressions against the float64 oracle in tests/support.
- chains: random optimizers; the rate that is reported is the rate that is applied.
- configs: configurations with random damage; only TypeError and ValueError may come.
- texts: damaged expressions for the command line; only its own error may come.
- files: damaged records, curves, logs and sweeps; only ValueError and TypeError.

A run goes on where the last one with its seed stopped, and may be stopped at any time:
fuzz.json in benchmarks/results/ keeps what each seed has tried, and fuzz.md is the
table. What fails is printed with what reproduces it, and becomes a test.
"""

import argparse
import json
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "support")]

import jax  # noqa: E402
from fuzz_chains import try_chains  # noqa: E402
from fuzz_input import try_config, try_file, try_text  # noqa: E402
from fuzz_schedules import Outcome, try_schedules  # noqa: E402

TABLE = ROOT / "benchmarks" / "results" / "fuzz.json"
SLOW = 60.0  # seconds of CPU time that no round may take
SAVED = 20.0  # seconds after which the table is written
KINDS: dict[str, Callable[[random.Random, int], list[Outcome]]] = {
    "schedules": try_schedules,
    "chains": try_chains,
    "configs": try_config,
    "texts": try_text,
    "files": try_file,
}
Totals = dict[str, int]


def run(
    kind: str,
    seed: int,
    minutes: float,
    totals: Totals,
    save: Callable[[], None],
    goal: float = float("inf"),
) -> int:
    """Tries inputs where the totals end, and adds to them; returns how many failed.

    Each that fails is printed.
    """
    failed, saved = 0, time.monotonic()
    ends = saved + 60 * minutes
    while time.monotonic() < ends and totals.get("tried", 0) < goal:
        index = totals.get("rounds", totals.get("tried", 0))
        began = time.process_time()
        outcomes = KINDS[kind](random.Random(f"{kind} {seed} {index}"), index)
        if (took := time.process_time() - began) > SLOW:
            outcomes.append((f"slow, {took:.0f} s", outcomes[0][1]))
        for found, what in outcomes:
            verdict = found if found in ("right", "refused") else "failed"
            totals[verdict] = totals.get(verdict, 0) + 1
            totals["tried"] = totals.get("tried", 0) + 1
            if verdict == "failed":
                failed += 1
                print(f"{kind} {seed} {index}: {found[:300]}\n    {what}", flush=True)
        totals["rounds"] = index + 1
        if time.monotonic() - saved > SAVED:
            save()
            saved = time.monotonic()
    save()
    return failed


def page(table: dict[str, dict[str, Totals]]) -> str:
    lines = [
        "# Random input",
        "",
        "What `make fuzz` has tried, over all seeds; tests/tools/fuzz.py says what",
        "each kind is. Refused: with an error that names its function. Failed: a wrong",
        "value, another exception, or an error that does not say what is wrong; what",
        "fails is mended, and becomes a test.",
        "",
        "| input | seeds | tried | right | refused | failed |",
        "|---|---|---|---|---|---|",
    ]
    for kind, seeds in sorted(table.items()):
        sums = [
            f"{sum(totals.get(name, 0) for totals in seeds.values()):,}"
            for name in ("tried", "right", "refused", "failed")
        ]
        lines.append(f"| {kind} | {len(seeds)} | {' | '.join(sums)} |")
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=1.0, help="for each kind")
    parser.add_argument("--kind", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument(
        "--goal", type=float, default=float("inf"), help="inputs of a kind to stop at"
    )
    options = parser.parse_args()
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_enable_compilation_cache", False)  # no program comes again
    table = json.loads(TABLE.read_text()) if TABLE.exists() else {}

    def save() -> None:
        TABLE.write_text(json.dumps(table, indent=1, sort_keys=True) + "\n")
        TABLE.with_suffix(".md").write_text(page(table))

    failed = 0
    for kind in options.kind:
        totals = table.setdefault(kind, {}).setdefault(str(options.seed), {})
        failed += run(kind, options.seed, options.minutes, totals, save, options.goal)
        print(f"{kind}: {totals}", flush=True)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
