"""The fitted law: its constants, how sure they are, and what it predicts."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.typing import ArrayLike

from optax_warmup import _check
from optax_warmup._schedules.schedule import Schedule, ScheduleLike
from optax_warmup.diagnostics._forecast import Forecast
from optax_warmup.loss_laws import _formula as formula
from optax_warmup.loss_laws._formula import Constants

# Measured on public runs (benchmarks/results/loss_law.md): the errors of differences
# between schedules are twice as large as the spread of the refits, and the level is
# wrong by about 1 % of the loss, for runs up to three times as long as the fitted ones.
ERROR_OF_DIFFERENCES = 2.0
LEVEL_ERROR = 0.01
_POINTS = 200  # of a forecast


class Fitted(NamedTuple):
    """What a law was fitted to.

    Attributes:
        runs: the number of runs.
        points: the number of losses that were used.
        longest: the largest number of updates of a run.
        sum_of_rates: the largest sum of learning rates of a run.
        lowest_peak: the lowest peak rate of the runs.
        highest_peak: the highest.
        error: the root of the mean squared error, as a share of the loss.

    Example:
        >>> import optax_warmup as ow
        >>> ow.loss_laws.Fitted(3, 180, 25_000, 24.9, 1e-3, 1e-3, 0.001).longest
        25000
    """

    runs: int
    points: int
    longest: int
    sum_of_rates: float
    lowest_peak: float
    highest_peak: float
    error: float


@dataclasses.dataclass(frozen=True, eq=False)
class LossLaw:
    """The multi-power law: the loss after t updates, from the schedule alone.

    L(t) = L0 + A S(t)**-alpha
           - B sum_k (eta_(k-1) - eta_k) (1 - (1 + C eta_k**-gamma (S(t) - S_k))**-beta)

    eta_k is the rate of update k, with 0 before the first; S(t) the sum of the rates of
    the first t updates; S_k the sum before update k. `fit_loss_law` makes one.

    The law ranks schedules. Its level is less certain: see `band`. It holds for one
    model, batch size, optimizer and data set, and near the peak rates it was fitted to.

    Args:
        L0: the loss that is left at the end of training, when the rate is 0.
        A: the size of the part that falls with the sum of the rates.
        alpha: the exponent of its fall.
        B: what a decrease of the rate brings, per unit of the rate.
        C: how soon it brings that.
        beta: the exponent with which it does.
        gamma: how much sooner at a low rate.
        refits: constants fitted to resampled losses, shape (refits, 7).
        determined: for each constant, whether the losses determine it. The others are
            what the priors say, or at a bound.
        fitted: what the law was fitted to; None if the constants were given.
        warnings: what is doubtful about the fit, in words.

    Example:
        >>> import optax_warmup as ow
        >>> law = ow.loss_laws.LossLaw(3.04, 0.525, 0.508, 364.0, 2.07, 0.583, 0.641)
        >>> wsd = ow.wsd(3e-4, 2160, 24_000, 4000)
        >>> law(wsd, [12_000, 24_000]).round(2).tolist()
        [3.44, 3.26]

    Source: K. Luo et al., "A Multi-Power Law for Loss Curve Prediction Across Learning
    Rate Schedules", 2025, arXiv:2503.12811, equation 1.
    """

    L0: float
    A: float
    alpha: float
    B: float
    C: float
    beta: float
    gamma: float
    refits: np.ndarray = dataclasses.field(
        default_factory=lambda: np.zeros((0, 7)), repr=False
    )
    determined: dict[str, bool] = dataclasses.field(default_factory=dict, repr=False)
    fitted: Fitted | None = None
    warnings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Checks the constants."""
        for name, value in self.constants._asdict().items():
            low = -math.inf if name == "L0" else 0.0
            _check.scalar("LossLaw", name, value, minimum=low)

    @property
    def constants(self) -> Constants:
        """The seven constants."""
        return Constants(*(getattr(self, name) for name in Constants._fields))

    def __call__(self, schedule: ScheduleLike, steps: ArrayLike) -> Any:
        """The loss that the law gives after `steps` updates.

        Where the rate changes at more than 256 updates, changes that follow each other
        are summed in groups. With the constants of a published model, for warmup with
        cosine, linear and WSD schedules of 8,000 and 24,000 updates, the loss was
        within 1e-3 of the formula during the decay, and within 4e-4 at its end. For a
        traced schedule the sum is exact.

        Args:
            schedule: the schedule, or any function of the step. If its numbers are
                traced, `steps` must be one Python int; the loss is then differentiable.
            steps: numbers of updates, >= 1, in an array of any shape.

        Returns:
            A float64 NumPy array of the shape of `steps`; for a traced schedule a JAX
            scalar. It is infinite while the sum of the rates is 0.

        Raises:
            TypeError: an argument has a wrong type.
            ValueError: a number of steps is below 1 or not whole.
        """
        schedule = formula.one_schedule(schedule, "LossLaw", "schedule")
        if any(_check.is_traced(x) for x in jax.tree.leaves(schedule)):
            total = _check.count("LossLaw", "steps", steps, minimum=1)
            path = formula.traced_path(schedule, total)
            return formula.loss(self.constants, path, jax.numpy)[0]
        return self._predictions(schedule, steps, [self.constants])[0]

    def band(self, schedule: ScheduleLike, steps: ArrayLike) -> tuple[Any, Any]:
        """The lowest and the highest loss that are likely after `steps` updates.

        loss -/+ 2 sqrt(spread**2 + (0.01 * loss)**2)

        The spread is that of the refits. The second term is the error that the level
        had on public runs, of which the fitted ones were a third as long or longer.

        Args:
            schedule: the schedule.
            steps: numbers of updates, >= 1, in an array of any shape.

        Returns:
            (low, high), float64 arrays of the shape of `steps`.
        """
        schedule = formula.one_schedule(schedule, "LossLaw", "schedule")
        loss = self._predictions(schedule, steps, [self.constants])[0]
        several = self._predictions(schedule, steps, map(Constants._make, self.refits))
        spread = several.std(axis=0) if len(several) else np.zeros_like(loss)
        error = max(LEVEL_ERROR, self.fitted.error if self.fitted else 0.0)
        width = 2 * np.sqrt(spread**2 + (error * loss) ** 2)
        return loss - width, loss + width

    def forecast(self, schedule: ScheduleLike, begin: int, end: int) -> Forecast:
        """What a run is expected to do between two steps, for a report.

        Args:
            schedule: the schedule of the run.
            begin: the number of updates that are done, >= 1.
            end: the number of updates at the end, above `begin`.

        Returns:
            A `diagnostics.Forecast` of up to 200 points, for
            `diagnostics.write_report(..., forecasts=...)`.
        """
        first = _check.count("LossLaw", "begin", begin, minimum=1)
        last = _check.count("LossLaw", "end", end, minimum=first + 1)
        steps = np.unique(np.geomspace(first, last, _POINTS).round().astype(int))
        return Forecast(steps, self(schedule, steps), *self.band(schedule, steps))

    def extrapolation(self, schedule: ScheduleLike, steps: ArrayLike) -> Any:
        """How far a prediction reaches: its sum of rates over that of the fitted runs.

        Args:
            schedule: the schedule.
            steps: numbers of updates, >= 1, in an array of any shape.

        Returns:
            A float64 array of the shape of `steps`; above 1 the law extrapolates. NaN
            if the constants were given and not fitted.
        """
        schedule = formula.one_schedule(schedule, "LossLaw", "schedule")
        counts = _counts(steps)
        longest = self.fitted.sum_of_rates if self.fitted else math.nan
        rates = formula.rates_of(schedule, int(counts.max()))
        sums = formula.path(rates, counts.ravel()).sums / longest
        return sums.reshape(counts.shape)[()]

    def _predictions(
        self, schedule: Schedule, steps: ArrayLike, laws: Any
    ) -> np.ndarray:
        """The losses for several sets of constants, shape (laws, *steps)."""
        counts = _counts(steps)
        rates = formula.rates_of(schedule, int(counts.max()))
        path = formula.path(rates, counts.ravel())
        found = [formula.loss(constants, path) for constants in laws]
        return np.array(found, np.float64).reshape(len(found), *counts.shape)

    def __str__(self) -> str:
        """The constants with their uncertainty, and what is doubtful, as text."""
        lines = []
        for index, (name, value) in enumerate(self.constants._asdict().items()):
            line = f"{name:6}{value:>12.5g}"
            if len(self.refits):
                low, high = np.quantile(self.refits[:, index], [0.16, 0.84])
                line += f"  {low:.4g} to {high:.4g}"
            if not self.determined.get(name, True):
                line += "  not determined by the losses"
            lines.append(line)
        if self.fitted:
            lines.append(
                f"{self.fitted.runs} runs of up to {self.fitted.longest:,} updates, "
                f"error {100 * self.fitted.error:.2g} %"
            )
        return "\n".join([*lines, *self.warnings])


def _counts(steps: ArrayLike) -> np.ndarray:
    checked = _check.length(
        "LossLaw",
        "steps",
        np.asarray(steps) if isinstance(steps, list | tuple) else steps,
        minimum=1,
    )
    return np.asarray(checked, np.int64)
