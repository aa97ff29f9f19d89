"""Evaluation shared by the examples, as the field reports it.

    Run               the runs of one way of training, over seeds
    sweep_runs        trains several ways of training in one program
    table             final and best metric, steps and time to a target, divergence
    sensitivities     the cost of a wrong peak learning rate
    seconds_per_step  the time of an update, and so the cost of a schedule or a record

Nothing here knows a model or a task.
"""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import jax
import numpy as np
from rich import box
from rich.table import Table

import optax_warmup as ow

Key = TypeVar("Key")
Way = TypeVar("Way")


class Run(NamedTuple):
    """One way of training, over several seeds.

    A metric at step n is that of the parameters after n updates.
    """

    name: str
    loss: np.ndarray  # of each update, shape (seeds, updates)
    steps: np.ndarray  # of the evaluations, shape (evaluations,)
    metric: np.ndarray  # shape (seeds, evaluations); NaN after a divergence
    seconds_per_step: float = np.nan  # without compilation

    def final(self) -> np.ndarray:
        """The last metric of each seed."""
        return self.metric[:, -1]

    def best(self, largest: bool) -> np.ndarray:
        """The best metric of each seed; NaN if it has none."""
        worst = -np.inf if largest else np.inf
        found = np.where(np.isfinite(self.metric), self.metric, worst)
        found = found.max(axis=1) if largest else found.min(axis=1)
        return np.where(np.isfinite(found), found, np.nan)

    def steps_to(self, target: float, largest: bool) -> np.ndarray:
        """The first evaluation of each seed that reached the target; inf if none."""
        reached = self.metric >= target if largest else self.metric <= target
        steps = np.where(reached, self.steps, np.inf)
        return steps.min(axis=1)

    def diverged(self) -> int:
        """The number of seeds with a loss or a metric that is not finite."""
        finite = np.isfinite(self.loss).all(axis=1) & np.isfinite(self.metric).all(1)
        return int((~finite).sum())


def sweep_runs(
    train: Callable,
    cells: Mapping[Key, tuple[str, dict[str, Any]]],
    seeds: int,
    metric: str,
    **options: Any,
) -> dict[Key, Run]:
    """Trains every cell with every seed, all of them in one program.

    Args:
        train: a training that JAX can trace. It takes the arguments of a cell and a
            `seed`, and returns curves with `loss`, `steps` and the metric as fields.
        cells: the name and the arguments of each way of training.
        seeds: runs of each cell.
        metric: the field of the curves by which they are compared.
        options: of `optax_warmup.sweeps.sweep`.
    """
    points = [
        arguments | {"seed": seed}
        for _, arguments in cells.values()
        for seed in range(seeds)
    ]
    curves = ow.sweeps.sweep(train, points, **options)
    rows = np.arange(len(points)).reshape(len(cells), seeds)
    values = getattr(curves, metric)
    return {
        key: Run(name, curves.loss[row], curves.steps[0], values[row])
        for (key, (name, _)), row in zip(cells.items(), rows, strict=True)
    }


def table(
    runs: Sequence[Run], metric: str, target: float, *, largest: bool, digits: int = 3
) -> Table:
    """A row for each run: mean over seeds, and its standard error."""
    seeds = len(runs[0].metric)
    what = f"Mean of {seeds} seeds ± standard error" if seeds > 1 else "One seed"
    any_diverged = any(run.diverged() for run in runs)
    title = f"{what}; updates and time until the {metric} is {target:.4g}"
    result = Table(
        title=title,
        min_width=len(title),
        caption=None if any_diverged else "None diverged.",
        title_justify="left",
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),  # so that it fits into 80 characters
    )
    for head in ("", metric, "best", "updates", "time", *["diverged"] * any_diverged):
        result.add_column(head, justify="right" if head else "left")
    for run in runs:
        steps = run.steps_to(target, largest)
        count = f"{run.diverged()} of {seeds}" if run.diverged() else "none"
        result.add_row(
            run.name,
            mean_and_error(run.final(), digits),
            mean_and_error(run.best(largest), digits),
            reached(steps),
            reached(steps * run.seconds_per_step, " s", 1),
            *[count] * any_diverged,
        )
    return result


def mean_and_error(values: np.ndarray, digits: int) -> str:
    """Mean and standard error of the finite values."""
    values = values[np.isfinite(values)]
    if not len(values):
        return "none"
    mean = f"{values.mean():.{digits}f}"
    if len(values) == 1:
        return mean
    return f"{mean} ± {standard_error(values):.{digits}f}"


def standard_error(values: np.ndarray) -> float:
    """The standard error of the mean, ignoring NaN; 0 for one value."""
    spread = np.nanstd(values, ddof=min(1, len(values) - 1))
    return float(spread / len(values) ** 0.5)


def reached(values: np.ndarray, unit: str = "", digits: int = 0) -> str:
    """The median over seeds; a seed that never reached the target counts as latest."""
    middle = np.median(values)
    if np.isnan(middle):
        return "not timed"
    return f"{middle:.{digits}f}{unit}" if np.isfinite(middle) else "never"


def sensitivity(
    losses: Mapping[float, float], *, worst: float, best: float | None = None
) -> float:
    """The learning-rate sensitivity: the mean excess loss over a range of peaks.

    S = mean over peaks of min(loss, worst) - best

    A run that diverged counts as `worst`, the loss before any training. `best` is the
    lowest loss of all ways of training; otherwise one that is equally bad at every
    peak would seem robust. Wortsman et al., "Small-scale proxies for large-scale
    Transformer training instabilities", 2023, arXiv:2309.14322.
    """
    values = np.array(list(losses.values()), float)
    values = np.where(np.isfinite(values), np.minimum(values, worst), worst)
    return float(np.mean(values) - (values.min() if best is None else best))


def sensitivities(
    losses: Mapping[tuple[float, Way], float],
    *,
    worst: float,
    best: float | None = None,
) -> dict[Way, float]:
    """The sensitivity of each way of training, from the losses by (peak, way)."""
    if best is None:
        best = np.nanmin(list(losses.values()))
    ways = dict.fromkeys(way for _, way in losses)
    return {
        way: sensitivity(
            {peak: loss for (peak, other), loss in losses.items() if other == way},
            worst=worst,
            best=best,
        )
        for way in ways
    }


def use_all_cores() -> None:
    """Makes each CPU core a JAX device, so that small models train in parallel.

    Call it before anything else uses JAX.
    """
    jax.config.update("jax_num_cpu_devices", os.cpu_count() or 1)


class Timed(NamedTuple):
    """A jitted call that makes several updates."""

    call: Callable[[], object]
    updates: int


def seconds_per_step(calls: Mapping[str, Timed], rounds: int = 40) -> dict[str, float]:
    """Seconds per update of each call: the fastest of several rounds.

    The calls take turns, and the minimum counts, since other work on the machine can
    only add to a time. The first call, which compiles, does not count.
    """
    for timed in calls.values():
        jax.block_until_ready(timed.call())
    best = dict.fromkeys(calls, np.inf)
    for _ in range(rounds):
        for name, timed in calls.items():
            begin = time.perf_counter()
            jax.block_until_ready(timed.call())
            seconds = (time.perf_counter() - begin) / timed.updates
            best[name] = min(best[name], seconds)
    return best


def cost(seconds: Mapping[str, float], without: str, with_: str) -> str:
    """What `with_` adds to the time of an update, in percent."""
    return f"{100 * (seconds[with_] / seconds[without] - 1):+.1f}% per update"
