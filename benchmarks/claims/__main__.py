"""Tests ten claims about warmup on the tasks of benchmarks.warmup_quality.

    python -m benchmarks.claims [--only abc]

Runs are kept as they come: stop at any time, and start again. From nothing but the
committed runs of warmup_quality it takes about an hour of one core.
"""

import argparse
import os
import time
from collections.abc import Sequence
from pathlib import Path

from .page import page
from .picture import draw
from .table import CLAIMS
from .trials import RESULTS, Trials


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.claims",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    letters = "".join(claim.letter for claim in CLAIMS)
    parser.add_argument("--only", default=letters, help="letters; writes no page")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder")
    chosen = parser.parse_args(arguments)
    if unknown := set(chosen.only) - set(letters):
        parser.error(f"--only {''.join(sorted(unknown))}: claims are {letters}")
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", ".cache/jax")
    runs = Trials(chosen.results / "claims.jsonl")
    found = {}
    for claim in CLAIMS:
        if claim.letter in chosen.only:
            begin = time.perf_counter()
            found[claim] = claim.judge(runs)
            taken = time.perf_counter() - begin
            print(
                f"({claim.letter}) {found[claim].verdict} ({taken:.0f} s)", flush=True
            )
    if len(found) == len(CLAIMS):
        path = chosen.results / "claims.md"
        path.write_text(page(found), "utf-8")
        draw(runs, path.with_suffix(".png"))
        print(f"written: {path}")


if __name__ == "__main__":
    main()
