"""The schedule that a loss law likes best, found by gradient descent on the schedule.

    python -m benchmarks.optimal_schedule [--write]

An experiment: a schedule of this library is a differentiable value, so the loss that a
law predicts for it has a gradient in its numbers. The schedule is a warmup and 60
pieces, whose rates are free between 0 and the peak.
"""

import argparse
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import optax_warmup as ow
from benchmarks.loss_law.published import PEAK, PUBLISHED
from benchmarks.loss_law.table import as_table
from optax_warmup.loss_laws import LossLaw, best_cooldown

RESULT = Path(__file__).parent / "results" / "optimal_schedule.md"
STEPS, WARMUP, PIECES = 24_000, 2160, 60
UPDATES = 600


def build(free: Any) -> ow.Schedule:
    """A schedule from free numbers, one for each piece."""
    rates = PEAK * jax.nn.sigmoid(free)
    # Pieces are shorter towards the end, where the rate falls.
    ends = WARMUP + (STEPS - WARMUP) * (1 - (1 - np.arange(PIECES + 1) / PIECES) ** 2)
    lengths = np.diff(ends.round().astype(int))
    pieces = [(int(n), rate) for n, rate in zip(lengths, rates, strict=True)]
    return ow.piecewise(0.0, [(WARMUP, PEAK), *pieces])


def optimise(law: LossLaw) -> ow.Schedule:
    """Minimises the predicted loss at the end, from a rate that falls a little."""
    optimizer = optax.adam(ow.warmup_cosine(0.2, 20, UPDATES))
    free = jnp.linspace(3.0, 0.0, PIECES)

    @jax.jit
    def descend(free: jax.Array) -> jax.Array:
        def update(carry: tuple, _: None) -> tuple[tuple, None]:
            free, state = carry
            grads = jax.grad(lambda free: law(build(free), STEPS))(free)
            updates, state = optimizer.update(grads * 100, state)
            return (optax.apply_updates(free, updates), state), None

        (free, _), _ = jax.lax.scan(
            update, (free, optimizer.init(free)), length=UPDATES
        )
        return free

    return build(np.asarray(descend(free)))


def compare(law: LossLaw) -> dict[str, ow.Schedule]:
    base = ow.warmup_constant(PEAK, WARMUP)
    fractions = np.arange(0.05, 0.91, 0.05).tolist()
    best = best_cooldown(law, base, STEPS, fractions=fractions)
    root = best_cooldown(
        law, base, STEPS, fractions=fractions, shape=ow.shapes.power(0.5)
    )
    return {
        "cosine": ow.warmup_cosine(PEAK, WARMUP, STEPS),
        "linear": ow.warmup_linear(PEAK, WARMUP, STEPS),
        "WSD, 20 %": ow.wsd(PEAK, WARMUP, STEPS, STEPS // 5),
        f"WSD, best ({best.fraction:.0%})": best.schedule,
        f"1-sqrt, best ({root.fraction:.0%})": root.schedule,
        "optimised": optimise(law),
    }


def draw(found: dict[int, dict[str, ow.Schedule]], path: Path) -> None:
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    figure, grid = plt.subplots(1, len(found), figsize=(13, 3.4), layout="constrained")
    for axes, (size, schedules) in zip(grid, found.items(), strict=True):
        hidden = ("cosine", "linear", "WSD, 20 %")
        shown = {name: x for name, x in schedules.items() if name not in hidden}
        ow.plot(shown, STEPS, axes=axes)
        axes.set_xlim(0.8 * STEPS, STEPS)
        axes.locator_params(axis="x", nbins=3)
        axes.set_title(f"{size} M parameters", loc="left", fontsize=10)
    figure.savefig(path, dpi=100)


TEXT = """# The schedule that a loss law likes best

Made by `python -m benchmarks.optimal_schedule --write`: predicted losses after
{steps:,} updates under the published laws of three models (see
[loss_law.md](loss_law.md)), minus that of the optimised schedule, in nats. No model
was trained here. The law was fitted to runs that end at a tenth of the peak, and
schedules that end at 0 lie outside of them.

{table}

![The schedules](optimal_schedule.png)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help=f"write {RESULT.name}")
    options = parser.parse_args()
    found = {size: compare(law) for size, law in PUBLISHED.items()}
    rows = []
    for size, schedules in found.items():
        losses = [float(PUBLISHED[size](s, STEPS)) for s in schedules.values()]
        cells = zip(schedules, losses, strict=True)
        rows += [
            [f"{size} M", name, f"{loss - losses[-1]:+.4f}"] for name, loss in cells
        ]
    text = TEXT.format(
        steps=STEPS, table=as_table(["model", "schedule", "behind, nats"], rows)
    )
    print(text)
    if options.write:
        RESULT.write_text(text)
        draw(found, RESULT.with_suffix(".png"))


if __name__ == "__main__":
    main()
