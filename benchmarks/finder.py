"""How far a learning-rate finder's suggestions are from the best peak of a sweep.

    python -m benchmarks.finder [--write] [--tasks NAME ...]

On tasks of `benchmarks.warmup_quality`. The sweep has a linear warmup of 10 % and a
cosine decay. What a suggestion loses is read off the sweep's losses, interpolated over
log(peak). Trainings are kept in runs/finder.json, so an interrupted run goes on.
"""

import argparse
import dataclasses
import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import optax_warmup as ow
from benchmarks.warmup_quality.arms import BY_NAME as ARMS
from benchmarks.warmup_quality.optimizers import OPTIMIZERS
from benchmarks.warmup_quality.plan import score
from benchmarks.warmup_quality.tasks import BY_NAME as TASKS, Task
from benchmarks.warmup_quality.train import prepared, train

RESULT = Path(__file__).parent / "results" / "finder.md"
FIGURE = RESULT.with_suffix(".png")
KEPT = Path("runs") / "finder.json"
# Tasks, and the peaks below those that they have.
LOWER: dict[str, tuple[float, ...]] = {
    "gru": (3.16e-4, 1e-3),
    "linear-random": (3.16e-4, 1e-3),
    "conv-m90": (1e-3, 3.16e-3),
    "conv-adam": (1e-4, 3.16e-4),
    "pre-norm": (3.16e-4, 1e-3),
    "post-norm": (3.16e-4, 1e-3),
}
NAMES = tuple(LOWER)
SEEDS = (0, 1)  # of the sweep
TEST_SEEDS, TEST_STEPS = (10, 11, 12), 200
RULES = ow.finder.Suggestions._fields


def peaks(task: Task) -> list[float]:
    return [*LOWER[task.name], *task.peaks]


def sweep(task: Task, kept: dict[str, list[float]]) -> np.ndarray:
    """The mean score of each peak: the held-out loss, or that before training."""
    if task.name not in kept:
        rates, arm = peaks(task), ARMS["10 %"]
        wider = dataclasses.replace(task, peaks=tuple(rates))
        made = train(wider, arm, rates, SEEDS, arm.lengths * len(rates))
        kept[task.name] = score(made).mean(axis=1).tolist()
        KEPT.parent.mkdir(exist_ok=True)
        KEPT.write_text(json.dumps(kept))
    return np.array(kept[task.name])


def range_test(task: Task) -> ow.finder.RateCurve:
    """A range test of several seeds in one program."""
    it, optimizer = prepared(task.problem), OPTIMIZERS[task.optimizer]

    def step(state: Any, batch: Any, rate: jax.Array) -> tuple:
        (params, opt_state), (seed, number) = state, batch
        key = jax.random.fold_in(jax.random.key(seed), number + 1)
        examples = it.batch(key, task.batch)
        loss, gradients = jax.value_and_grad(it.loss)(params, examples)
        updates, opt_state = optimizer(rate).update(gradients, opt_state, params)
        return (optax.apply_updates(params, updates), opt_state), loss

    seeds = jnp.array(TEST_SEEDS)
    params = jax.vmap(lambda seed: it.init(jax.random.key(seed)))(seeds)
    states = params, jax.vmap(optimizer(0.0).init)(params)
    batches = [(seeds, jnp.full(len(seeds), step)) for step in range(TEST_STEPS)]
    low, high = (1e-4, 100.0) if "momentum" in task.optimizer else (1e-6, 10.0)
    return ow.finder.find_rate(
        step, states, batches, min_value=low, max_value=high, steps=TEST_STEPS,
        seeds=len(seeds),
    )  # fmt: skip


def lost(task: Task, scores: np.ndarray, rate: float) -> float:
    """Nats from the best of the sweep; the ends of the grid count beyond it."""
    if not np.isfinite(rate):
        return float("nan")
    return float(np.interp(np.log(rate), np.log(peaks(task)), scores) - scores.min())


def measure(names: list[str]) -> tuple[dict, dict]:
    kept = json.loads(KEPT.read_text()) if KEPT.exists() else {}
    curves = {}
    for name in names:
        file = KEPT.with_name(f"finder_{name}.csv")
        if not file.exists():
            range_test(TASKS[name]).save(file)
        curves[name] = ow.finder.load_curve(file)
    return curves, {name: sweep(TASKS[name], kept) for name in names}


def report(curves: dict, scores: dict) -> str:
    rows: list[list[str]] = []
    single: dict[str, list[float]] = {rule: [] for rule in RULES}
    mean: dict[str, list[float]] = {rule: [] for rule in RULES}
    for name, curve in curves.items():
        task, found = TASKS[name], scores[name]
        best = peaks(task)[found.argmin()]
        cells = [name, f"{best:.2g}", f"{found.min():.3f}"]
        for rule in RULES:
            rate = getattr(ow.finder.suggest(curve), rule).rate
            nats = lost(task, found, rate)
            mean[rule].append(nats)
            alone = [
                getattr(ow.finder.suggest(one), rule).rate for one in singles(curve)
            ]
            single[rule] += [lost(task, found, each) for each in alone]
            cells.append(f"{rate:.2g}: {nats:.3f}")
        rows.append(cells)
    for text, values in (("three seeds: mean", mean), ("one seed: mean", single)):
        rows.append([text, "", "", *(f"{np.nanmean(values[r]):.3f}" for r in RULES)])
    rows.append(
        ["one seed: worst", "", "", *(f"{np.nanmax(single[r]):.3f}" for r in RULES)]
    )
    unknown = [f"{np.isnan(single[r]).sum()} of {len(single[r])}" for r in RULES]
    rows.append(["one seed: no suggestion", "", "", *unknown])
    head = ["task", "best peak", "its loss", *RULES]
    lines = [
        "| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *rows)
    ]
    return TEXT.format(table="\n".join(lines))


def singles(curve: ow.finder.RateCurve) -> list[ow.finder.RateCurve]:
    return [
        ow.finder.RateCurve(curve.rates, losses, curve.diverged)
        for losses in curve.losses
    ]


def draw(curves: dict) -> None:
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    rows = -(-len(curves) // 3)
    figure, grid = plt.subplots(
        rows, 3, figsize=(12, 3.6 * rows), layout="constrained", squeeze=False
    )
    for axes, (name, curve) in zip(grid.flat, curves.items(), strict=False):
        ow.finder.plot_curve(curve, axes=axes)
        axes.set_ylabel(f"{name}: loss")
    figure.savefig(FIGURE, dpi=90)


TEXT = """# What the rules of the learning-rate finder lose

Made by `python -m benchmarks.finder --write`. Each cell of a task has the suggested
peak and what it loses: held-out loss after training with that peak minus that with the
best peak of a sweep, in nats. The sweep has peaks half a decade apart, 2 seeds, a
linear warmup of 10 % and a cosine decay to 0; between its peaks, losses are
interpolated.
A range test has 200 updates and 3 seeds in one program, or one of those seeds alone.

{table}

![The curves and suggestions](finder.png)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", nargs="+", default=list(NAMES), choices=NAMES)
    parser.add_argument("--write", action="store_true", help=f"write {RESULT.name}")
    options = parser.parse_args()
    curves, scores = measure(options.tasks)
    text = report(curves, scores)
    print(text)
    if options.write:
        RESULT.write_text(text)
        draw(curves)


if __name__ == "__main__":
    main()
