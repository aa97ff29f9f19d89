"""The page of reproduced results."""

from typing import Any

import jax

from benchmarks.loss_law.table import as_table
from benchmarks.tables import commit

from .edge_of_stability import CASES as ADAMS, EVERY, LAST, UPDATES
from .sharpness_and_loss import CASES as NETWORKS, EVERY as BETWEEN, POINTS, SEEDS

# Theirs: from running the authors' package, scheduled, at these settings.
BOUNDS = {
    "linear": 0.203608,
    "cosine": 0.209114,
    "WSD, 20 %": 0.223028,
    "constant": 0.248543,
}


def page(found: dict[str, Any]) -> str:
    return TEXT.format(
        commit=commit(),
        jax=jax.__version__,
        updates=f"{UPDATES:,}",
        last=LAST,
        every=EVERY,
        points=POINTS,
        between=BETWEEN,
        seeds=SEEDS,
        elsewhere=as_table(["result", "where"], ELSEWHERE),
        edge=edge(found),
        bounds=bounds(found),
        seesaw=seesaw(found),
        sharpness=sharpness(found),
        **descent(found),
    )


def edge(found: dict[str, Any]) -> str:
    rows = []
    for b1, b2, rate in ADAMS:
        seen = found[f"edge {b1:g} {b2:g} {rate:g}"]
        published = 2 * (1 + b1) / (1 - b1)
        mean = sum(seen) / len(seen)
        rows.append([
            *(f"{x:g}" for x in (b1, b2, rate, round(published, 6))),
            f"{mean:.1f} ({min(seen):.1f} to {max(seen):.1f})",
            f"{100 * (mean / published - 1):+.0f} %",
        ])  # fmt: skip
    return as_table(["b1", "b2", "rate", "paper", "here", "difference"], rows)


def bounds(found: dict[str, Any]) -> str:
    rows = [
        [name, f"{theirs:.6f}", f"{found[f'bound {name}']:.6f}"]
        for name, theirs in BOUNDS.items()
    ]
    return as_table(["schedule", "authors' package", "here"], rows)


def descent(found: dict[str, Any]) -> dict[str, str]:
    bound, shares = found["bound optimised"]
    return {
        "optimised": f"{bound:.4f}",
        "shares": ", ".join(f"{x:.2f}" for x in shares),
    }


def seesaw(found: dict[str, Any]) -> str:
    names = {
        "decayed": "rate halved five times",
        "grown": "batch doubled five times (`seesaw`, power 1)",
        "grown, power 0.5": "batch doubled, rate / sqrt(2) (Adam's rule)",
        "neither": "neither",
    }
    rows = []
    for name, words in names.items():
        risk, updates = found[f"seesaw {name}"]
        rows.append([words, f"{updates:,}", f"{risk:.5f}"])
    return as_table(["run", "updates", "excess risk"], rows)


def sharpness(found: dict[str, Any]) -> str:
    rows = []
    for case in NETWORKS:
        seen = found[f"sharpness {case}"]
        mean = sum(seen) / len(seen)
        rows.append([case, f"{mean:.2f} ({min(seen):.2f} to {max(seen):.2f})"])
    return as_table(["network and loss", "correlation"], rows)


ELSEWHERE = (
    (
        "the errors of the multi-power law, within 0.3 % (Luo et al. 2025, "
        "arXiv:2503.12811)",
        "[loss_law.md](loss_law.md)",
    ),
    (
        "gradient norms with AdamW and AdamC (Defazio 2025, arXiv:2506.02285)",
        "[adamc.md](adamc.md)",
    ),
    (
        "two regimes of the best schedule (Li et al. 2026, arXiv:2602.06797; Bordelon "
        "and Mori 2026, arXiv:2602.04774)",
        "[optimal_shape](../../examples/optimal_shape/README.md)",
    ),
    (
        "the growth of the gradient noise scale (McCandlish et al. 2018, "
        "arXiv:1812.06162)",
        "[noise_scale.md](noise_scale.md)",
    ),
)

TEXT = """# Published results, reproduced

Made by `python -m benchmarks.reproduce` (or `make reproduce`) at commit `{commit}` on a
CPU with jax {jax}, in a few minutes. Figures are kept in `reproductions.json` as they
come.

Reproduced elsewhere:

{elsewhere}

## The edge of stability of Adam

Full-batch Adam settles where its rate times the largest eigenvalue of the
preconditioned Hessian is (2 + 2 b1) / (1 - b1), which is
`curvature.stability_threshold`. A network of 64, 32, 32 and 10 units (tanh) on 500
digits, squared loss, {updates} updates, `curvature.sharpness` every {every}. The mean
of the last {last} measurements, and their range:

{edge}

Source: J. Cohen et al., "Adaptive Gradient Methods at the Edge of Stability", 2022,
arXiv:2207.14484, figure 1.

## The convex bound of a schedule

The bound of 100 updates with gradients and a distance of norm 1, at the best peak rate,
for schedules of this library. The authors' package was run once at the same settings.

{bounds}

Gradient descent on the 100 rates themselves, from a constant, comes to {optimised}. At
25, 50 and 75 % of the run its rates are {shares} of the first: a straight line, as in
the paper.

Source: F. Schaipp et al., "The Surprising Agreement Between Convex Optimization Theory
and Learning-Rate Scheduling for Large Model Training", 2025, arXiv:2501.18965, theorem
1; its code, fabian-sp/lr-scheduling.

## Seesaw: a growing batch in place of a decay

One-pass SGD on a linear regression of 400 dimensions, eigenvalues 1 / k, six phases
with equal data, batch 8 at first, rate 0.1. The expected risk follows an exact
recursion. The theorem says that the first two are equal up to a constant:

{seesaw}

Source: A. Meterez et al., "Seesaw: Accelerating Training by Balancing Learning Rate and
Batch Size Scheduling", 2025, arXiv:2510.14717, theorem 1.

## Sharpness and loss

If the curvature is a linear function of the loss, the rate may rise as the loss falls.
The network of the first section, with tanh or relu, under full-batch gradient descent
at a rate far below its edge: the correlation of `curvature.sharpness` with the loss
over {points} points, {between} updates apart. Means over {seeds} seeds, and their
range.

{sharpness}

With squared loss the two go together. With cross-entropy they do not: with tanh the
sharpness first rises while the loss falls. The paper claims only an upper bound on the
curvature, which this does not contradict.

Source: F. Alimisis et al., "Why Do We Need Warm-up? A Theoretical Perspective", 2025,
arXiv:2510.03164.
"""
