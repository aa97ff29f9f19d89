"""What an example ends with: how its runs compare, as the field compares them.

    Run            what one way of training did, over some seeds
    table(...)     final and best metric, steps and time to a target, divergence
    sensitivity    what a wrong peak rate costs
    overhead       what a schedule or a diagnostic adds to a step
    draw_losses    the loss trajectories

Nothing here knows a model or a task.
"""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import numpy as np
from rich import box
from rich.table import Table

if TYPE_CHECKING:  # a second to import, and not every example draws with it
    from matplotlib.axes import Axes


class Run(NamedTuple):
    """One way of training. A metric at step n is that after n updates."""

    name: str
    loss: np.ndarray  # of each update, shape (seeds, updates)
    steps: np.ndarray  # at which it was evaluated, shape (evaluations,)
    metric: np.ndarray  # shape (seeds, evaluations); NaN where it diverged
    seconds_a_step: float = np.nan  # without compilation

    @classmethod
    def swept(
        cls, name: str, curves: Any, metric: np.ndarray, rows: slice = slice(None)
    ) -> "Run":
        """Some rows of a sweep, which evaluates all of them at the same steps."""
        return cls(name, curves.loss[rows], curves.steps[0], metric[rows])

    def final(self) -> np.ndarray:
        return self.metric[:, -1]

    def best(self, largest: bool) -> np.ndarray:
        """Of each seed, on the way; NaN where there was none."""
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
        """How many seeds had a loss or a metric that is not a number."""
        finite = np.isfinite(self.loss).all(axis=1) & np.isfinite(self.metric).all(1)
        return int((~finite).sum())


def table(
    runs: Sequence[Run], metric: str, target: float, *, largest: bool, digits: int = 3
) -> Table:
    """A row for each run: mean over seeds, and its standard error."""
    seeds = len(runs[0].metric)
    what = f"Mean of {seeds} seeds ± standard error" if seeds > 1 else "One seed"
    lost = any(run.diverged() for run in runs)
    title = f"{what}; updates and time until the {metric} is {target:.4g}"
    result = Table(
        title=title,
        min_width=len(title),
        caption=None if lost else "None diverged.",
        title_justify="left",
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),  # so that 80 characters hold it
    )
    for head in ("", metric, "best", "updates", "time", *["diverged"] * lost):
        result.add_column(head, justify="right" if head else "left")
    for run in runs:
        steps = run.steps_to(target, largest)
        count = f"{run.diverged()} of {seeds}" if run.diverged() else "none"
        result.add_row(
            run.name,
            mean_and_error(run.final(), digits),
            mean_and_error(run.best(largest), digits),
            reached(steps),
            reached(steps * run.seconds_a_step, " s", 1),
            *[count] * lost,
        )
    return result


def mean_and_error(values: np.ndarray, digits: int) -> str:
    """Of the values that are finite."""
    values = values[np.isfinite(values)]
    if not len(values):
        return "none"
    mean = f"{values.mean():.{digits}f}"
    if len(values) == 1:
        return mean
    return f"{mean} ± {values.std(ddof=1) / len(values) ** 0.5:.{digits}f}"


def reached(values: np.ndarray, unit: str = "", digits: int = 0) -> str:
    """The median seed: one that never got there is later than all others."""
    middle = np.median(values)
    if np.isnan(middle):
        return "not timed"
    return f"{middle:.{digits}f}{unit}" if np.isfinite(middle) else "never"


def sensitivity(
    losses: Mapping[float, float], *, worst: float, best: float | None = None
) -> float:
    """What a wrong peak rate costs: the mean excess loss over a range of peaks.

    S = mean over peaks of min(loss, worst) - best

    A run that diverged counts as `worst`, the loss before any training. `best` is the
    lowest loss of all the ways compared, so that a way that is equally bad everywhere
    does not pass for robust. Wortsman et al., "Small-scale proxies for large-scale
    Transformer training instabilities", 2023, arXiv:2309.14322.
    """
    values = np.array(list(losses.values()), float)
    values = np.where(np.isfinite(values), np.minimum(values, worst), worst)
    return float(np.mean(values) - (values.min() if best is None else best))


def use_all_cores() -> None:
    """On a CPU, one device for each core: small models then train side by side.

    To be called before JAX has looked for its devices.
    """
    jax.config.update("jax_num_cpu_devices", os.cpu_count() or 1)


def overhead(
    steps: Mapping[str, Callable[[], object]], rounds: int = 40
) -> dict[str, float]:
    """Seconds of each call, the fastest; they take turns on a busy machine.

    Other work can only add to a time. The first call of each, which compiles, is not
    counted.
    """
    for call in steps.values():
        jax.block_until_ready(call())
    times = dict.fromkeys(steps, np.inf)
    for _ in range(rounds):
        for name, call in steps.items():
            begin = time.perf_counter()
            jax.block_until_ready(call())
            times[name] = min(times[name], time.perf_counter() - begin)
    return times


STYLE = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "axes.linewidth": 0.6,
    "lines.linewidth": 1.8,
}
COLORS = ("#c4432b", "#d08a1d", "#1f6f8b", "#4c7f2e", "#8a5ba6", "#4a4a4a")


def draw_losses(ax: "Axes", runs: Sequence[Run], window: int = 1) -> None:
    """The median loss of the seeds, a moving average, and the range between them."""
    for run, color in zip(runs, COLORS, strict=False):
        kernel = np.ones(window) / window
        loss = np.array([np.convolve(x, kernel, "valid") for x in run.loss])
        x = np.arange(loss.shape[1]) + window
        finite = np.where(np.isfinite(loss), loss, np.nan)
        shown = np.isfinite(finite).any(axis=0)
        finite, x = finite[:, shown], x[shown]
        ax.fill_between(
            x, np.nanmin(finite, 0), np.nanmax(finite, 0), color=color, alpha=0.15, lw=0
        )
        ax.plot(x, np.nanmedian(finite, axis=0), color=color, label=run.name)
        if len(x) and not shown.all():
            ax.plot(x[-1], np.nanmedian(finite[:, -1]), "x", color=color, ms=8)


def draw_metric(ax: "Axes", runs: Sequence[Run], target: float) -> None:
    """The mean metric of the seeds at each evaluation, and the target."""
    for run, color in zip(runs, COLORS, strict=False):
        ax.plot(run.steps, np.nanmean(run.metric, 0), color=color, label=run.name)
    ax.axhline(target, color="#8a8a8a", lw=0.8, ls=":")
