"""What the rules of advice and the charts look at: a record and its losses."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from optax_warmup.curvature import stability_threshold
from optax_warmup.diagnostics._history import MomentHistory


@dataclass(frozen=True, eq=False)
class Evidence:
    """A record, its losses, and what several rules derive from them.

    Rows are those of the record, oldest first. What was not recorded is None.

    Attributes:
        history: the record.
        losses: the loss by step; empty if none were given.
        batch_size: examples per update, None if unknown.
    """

    history: MomentHistory
    losses: Mapping[int, float]
    batch_size: int | None

    def overall(self, name: str) -> np.ndarray | None:
        """Returns a statistic over all groups, shape (T,); None if it is all NaN."""
        values = self.history.overall.get(name)
        return None if values is None or np.isnan(values).all() else values

    def by_group(self, name: str) -> np.ndarray | None:
        """Returns a statistic of each group, shape (T, G)."""
        return self.history.statistics.get(name)

    @cached_property
    def updates(self) -> int:
        """How many updates of the run are known: from the record, or the losses."""
        steps = [*self.history.steps[-1:], *([max(self.losses)] if self.losses else [])]
        return int(max(steps, default=-1)) + 1

    @cached_property
    def most_samples(self) -> float:
        """The largest effective sample size that b2 allows."""
        return (1 + self.history.b2) / (1 - self.history.b2)

    @cached_property
    def peak(self) -> float:
        """The highest rate used, NaN if none is known."""
        rates = self.history.learning_rate
        return float(np.nanmax(rates)) if np.isfinite(rates).any() else np.nan

    @cached_property
    def peak_row(self) -> int | None:
        """The first recorded row at the peak rate; None while the rate still rises."""
        rates = self.history.learning_rate
        if not self.peak > 0:
            return None
        row = int(np.argmax(rates >= 0.99 * self.peak))
        still_rising = row == len(rates) - 1 and row > 0
        return None if still_rising else row

    @cached_property
    def at_peak(self) -> np.ndarray:
        """The rows from the peak on whose rate is within 10% of it, shape (T,)."""
        rows = np.zeros(len(self.history.steps), bool)
        if self.peak_row is not None:
            rows[self.peak_row :] = True
            rows &= self.history.learning_rate >= 0.9 * self.peak
        return rows

    @cached_property
    def stability_ratio(self) -> np.ndarray:
        """The measured sharpness over its stability threshold, shape (S,).

        The rate of an unrecorded step is interpolated.
        """
        history = self.history
        known = np.isfinite(history.learning_rate)
        if not known.any():
            return np.full(len(history.sharpness), np.nan)
        rates = np.interp(
            history.sharpness_steps,
            history.steps[known],
            history.learning_rate[known],
        )
        ratio: np.ndarray = (
            history.sharpness * rates / stability_threshold(1.0, history.b1)
        )
        return ratio

    @cached_property
    def nu_sum(self) -> np.ndarray:
        """The sum of nu itself in each group, shape (T, G)."""
        mean = self.history.statistics["nu_hat_rms"] ** 2
        total: np.ndarray = mean * self._bias[:, None] * self.history.sizes
        return total

    @cached_property
    def nu_max(self) -> np.ndarray:
        """The largest nu in each group, shape (T, G)."""
        largest: np.ndarray = (
            self.history.statistics["nu_hat_max"] ** 2 * self._bias[:, None]
        )
        return largest

    @cached_property
    def root_sum(self) -> np.ndarray:
        """The sum of sqrt(nu) in each group, shape (T, G)."""
        roots = self.history.statistics["denominator"] - self.history.eps
        total: np.ndarray = roots * np.sqrt(self._bias)[:, None] * self.history.sizes
        return total

    @property
    def _bias(self) -> np.ndarray:
        corrected = self.history.corrected
        return self.history.bias_correction if corrected else np.ones(len(self.gaps))

    @cached_property
    def gaps(self) -> np.ndarray:
        """The number of updates since the previous row, shape (T,)."""
        return np.diff(self.history.steps, prepend=-1)

    @cached_property
    def decay(self) -> np.ndarray:
        """The factor by which nu decays from row to row without gradients, (T,)."""
        factors: np.ndarray = self.history.b2**self.gaps
        return factors

    def names(self, which: np.ndarray) -> tuple[str, ...]:
        """Returns the names of the groups where a mask of shape (G,) is set."""
        return tuple(n for n, w in zip(self.history.groups, which, strict=True) if w)

    def steps_of(self, which: np.ndarray | slice) -> tuple[int, ...]:
        """Returns the steps of some rows: a mask of shape (T,), indices or a slice."""
        return tuple(int(step) for step in self.history.steps[which])

    @cached_property
    def loss_spikes(self) -> tuple[int, ...]:
        """Steps whose loss is 3.2 standard deviations above the mean of the 20 before.

        The criterion of Wortsman et al. 2023, arXiv:2304.13013. NaN is a spike too.
        """
        steps = sorted(self.losses)
        if not steps:
            return ()
        values = np.array([self.losses[step] for step in steps], np.float64)
        known = np.concatenate([np.full(20, np.nan), values])
        before = sliding_window_view(np.where(np.isfinite(known), known, np.nan), 20)
        before = before[: len(values)]  # row i: the 20 before value i
        count = np.isfinite(before).sum(axis=1)
        means = np.where(count, np.nansum(before, axis=1) / np.maximum(count, 1), 0)
        squares = np.nansum((before - means[:, None]) ** 2, axis=1)
        limits = means + 3.2 * np.sqrt(squares / np.maximum(count, 1))
        limits += 1e-6 * np.abs(means)
        spikes = (count >= 5) & ~(values <= limits)
        return tuple(step for step, spike in zip(steps, spikes, strict=True) if spike)


def mean(values: np.ndarray) -> np.ndarray:
    """Returns the mean over rows of the finite values; NaN where there are none."""
    finite = np.isfinite(values)
    with np.errstate(invalid="ignore"):
        means: np.ndarray = np.where(finite, values, 0).sum(axis=0) / finite.sum(axis=0)
    return means


def join_names(names: tuple[str, ...], most: int = 3) -> str:
    """Joins names for a sentence, the first few of them."""
    rest = len(names) - most
    if rest > 0:
        return f"{', '.join(names[:most])} and {rest} more"
    return " and ".join([", ".join(names[:-1]), names[-1]] if names[1:] else names)
