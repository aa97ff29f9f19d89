"""Makes published results again with this library; see docs/claims.md.

    python -m benchmarks.reproduce [--again]

Figures are kept as they come: stop at any time, and start again. What is there is not
made again, unless asked for. The whole takes a few minutes of one core.
"""

import argparse
import json
import os
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from . import convex_bound, edge_of_stability, seesaw, sharpness_and_loss
from .page import page

FOLDER = Path(__file__).parents[1] / "results"
CASES: dict[str, Callable[[], Any]] = {
    **{
        f"edge {b1:g} {b2:g} {rate:g}": partial(
            edge_of_stability.at_the_end, b1, b2, rate
        )
        for b1, b2, rate in edge_of_stability.CASES
    },
    **{
        f"bound {name}": partial(convex_bound.tuned, schedule)
        for name, schedule in convex_bound.SCHEDULES.items()
    },
    "bound optimised": convex_bound.optimised,
    "seesaw decayed": partial(seesaw.decayed, seesaw.EACH),
    "seesaw grown": partial(seesaw.grown, seesaw.EACH, 1.0),
    "seesaw grown, power 0.5": partial(seesaw.grown, seesaw.EACH, 0.5),
    "seesaw neither": partial(seesaw.neither, seesaw.EACH),
    **{
        f"sharpness {case}": partial(sharpness_and_loss.correlations, case)
        for case in sharpness_and_loss.CASES
    },
}


def make(
    kept: Path, cases: dict[str, Callable[[], Any]] = CASES, again: bool = False
) -> dict[str, Any]:
    """Every figure by its name, made if it is not kept."""
    found = json.loads(kept.read_text("utf-8")) if kept.exists() and not again else {}
    for name, compute in cases.items():
        if name not in found:
            begin = time.perf_counter()
            found[name] = compute()
            partly = kept.with_suffix(".partial")  # a killed process leaves kept whole
            partly.write_text(json.dumps(found, indent=1) + "\n", "utf-8")
            os.replace(partly, kept)
            print(f"{name} ({time.perf_counter() - begin:.0f} s)", flush=True)
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--again", action="store_true", help="make what is kept, too")
    parser.add_argument("--results", type=Path, default=FOLDER, help="folder")
    chosen = parser.parse_args(arguments)
    chosen.results.mkdir(parents=True, exist_ok=True)
    found = make(chosen.results / "reproductions.json", again=chosen.again)
    text = page(found)
    (chosen.results / "reproductions.md").write_text(text, "utf-8")
    print(text)


if __name__ == "__main__":
    main()
