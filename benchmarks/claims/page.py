"""The page of the ten claims."""

from collections.abc import Mapping

import jax
import numpy as np

from benchmarks.loss_law.table import as_table
from benchmarks.tables import commit
from benchmarks.warmup_quality.protocol import over_seeds

from .judge import SMALLEST, Finding
from .table import Claim


def page(found: Mapping[Claim, Finding]) -> str:
    return TEXT.format(
        commit=commit(),
        jax=jax.__version__,
        smallest=SMALLEST,
        summary=summary(found),
        claims="\n\n".join(section(*pair) for pair in found.items()),
    )


def summary(found: Mapping[Claim, Finding]) -> str:
    rows = [
        [
            f"({claim.letter})",
            claim.text,
            "; ".join(figure(finding, column) for column in claim.shown),
            f"{finding.agreeing} of {len(finding.rows)}",
            f"**{finding.verdict}**",
        ]
        for claim, finding in found.items()
    ]
    head = ["", "claim", "median over tasks (range)", "tasks that agree", "verdict"]
    return as_table(head, rows)


def figure(finding: Finding, column: int) -> str:
    """A column's median over tasks, with its range."""
    means = [row.effects[column].mean() for row in finding.rows]
    low, middle, high = np.min(means), np.median(means), np.max(means)
    return f"{finding.head[column]}: {middle:.1f} ({low:.1f} to {high:.1f})"


def section(claim: Claim, finding: Finding) -> str:
    rows = [
        [row.task, *map(cell, row.effects), "yes" if row.agrees else "no"]
        for row in finding.rows
    ]
    return SECTION.format(
        claim=claim,
        finding=finding,
        count=len(finding.rows),
        table=as_table(["task", *finding.head, "agrees"], rows),
    )


def cell(effect: np.ndarray) -> str:
    number = over_seeds(effect)
    return f"{number.mean:.1f}" + (f" ± {number.error:.1f}" if effect.size > 1 else "")


SECTION = """## ({claim.letter}) {claim.text}

Source: {claim.source}.

Experiment: {claim.experiment}

A task agrees if: {claim.rule}

{table}

Verdict: **{finding.verdict}** ({finding.agreeing} of {count} tasks agree)."""

TEXT = """# Ten claims about warmup, tested

Made by `python -m benchmarks.claims` (or `make claims`) at commit `{commit}` with jax
{jax}, from `warmup_quality/runs.jsonl` and `claims.jsonl`.

The tasks are small ones of [warmup_quality](warmup_quality/report.md), with its five
peak rates each, half a decade apart, and its held-out losses after the last update.
Numbers are in % of a task's progress, unless a column says otherwise: 100 % is what
linear warmup of the best length, at its best peak, takes off the loss before training.
Each is a mean over three seeds and its standard error, paired by seed. Usable peaks are
those up to three times the best one of that warmup. A run that fails counts as the loss
before training.

An effect is clear if it is beyond two standard errors and beyond {smallest} %. A claim
**holds** if at least three quarters of its tasks agree, and **fails** if at most half
of them do; otherwise it is **mixed**. Rules were committed before the runs were made;
those of (b) are older than its rule. Afterwards tasks were left out of (c) to (f) and
(h) to (j) where runs would have taken too long, before those runs were seen, and three
grids of (a) were raised. Networks of this size are no proof for large ones.

{summary}

![Gain against peak rate, and loss against length of the warmup](claims.png)

Each thin line is a task, the thick one their median. Left: the loss without warmup
minus that with linear warmup of the best length, for claim (b). Right: the loss with a
linear warmup of each length minus that with the best one, for claim (f).

{claims}
"""
