"""What the rules of advice look at: a record, the losses, and where the rate peaks."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from optax_warmup.curvature._critical import stability_threshold
from optax_warmup.diagnostics._history import MomentHistory


@dataclass(frozen=True)
class Advice:
    """One thing that a record shows, in words.

    Attributes:
        code: its short name, and that of its section in docs/diagnostics.md.
        severity: "note" (nothing is wrong), "warning" or "problem".
        finding: what was seen, a sentence with its numbers.
        change: what to change; empty where there is nothing to change.
        groups: the parameter groups concerned; none where it is about all of them.
        steps: the recorded steps concerned.

    Example:
        >>> import jax.numpy as jnp, optax, optax_warmup as ow
        >>> optimizer = ow.record_moments(optax.adam(1e-3))
        >>> for advice in ow.diagnostics.advise(ow.read_moments(optimizer.init(jnp.ones(3)))):
        ...     print(advice.severity, advice.link)
        note docs/diagnostics.md#empty-record
    """

    code: str
    severity: str
    finding: str
    change: str = ""
    groups: tuple[str, ...] = ()
    steps: tuple[int, ...] = ()

    @property
    def link(self) -> str:
        """The section of the documentation that explains it."""
        return f"docs/diagnostics.md#{self.code}"

    def __str__(self) -> str:
        return f"{self.severity}: {self.finding} {self.change}".rstrip()


@dataclass(frozen=True, eq=False)
class Evidence:
    """A record, with what more than one rule derives from it.

    Rows are those of the record, oldest first. A rule asks for what it needs; what was
    not recorded is None.

    Attributes:
        history: the record.
        losses: loss by step; empty where none was given.
        batch_size: examples of an update, None where it is not known.
    """

    history: MomentHistory
    losses: Mapping[int, float]
    batch_size: int | None

    def overall(self, name: str) -> np.ndarray | None:
        """A statistic over all groups, shape (T,); None too where it is all NaN."""
        values = self.history.overall.get(name)
        return None if values is None or np.isnan(values).all() else values

    def by_group(self, name: str) -> np.ndarray | None:
        """A statistic of each group, shape (T, G)."""
        return self.history.statistics.get(name)

    @cached_property
    def peak(self) -> float:
        """The highest rate used, NaN where none was remembered."""
        rates = self.history.learning_rate
        return float(np.nanmax(rates)) if np.isfinite(rates).any() else np.nan

    @cached_property
    def peak_row(self) -> int | None:
        """The first recorded row at the peak; None while the rate still rises."""
        rates = self.history.learning_rate
        if not self.peak > 0:
            return None
        row = int(np.argmax(rates >= 0.99 * self.peak))
        still_rising = row == len(rates) - 1 and row > 0
        return None if still_rising else row

    @cached_property
    def at_peak(self) -> np.ndarray:
        """The rows from the peak on whose rate is still about the highest."""
        rows = np.zeros(len(self.history.steps), bool)
        if self.peak_row is not None:
            rows[self.peak_row :] = True
            rows &= self.history.learning_rate >= 0.9 * self.peak
        return rows

    @cached_property
    def edge(self) -> np.ndarray:
        """The measured sharpness as a share of what the rate allows, shape (S,).

        The rate of a step that was not recorded lies between those around it, and after
        the last record it is the last.
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
        return history.sharpness * rates / stability_threshold(1.0, history.b1)

    @cached_property
    def nu_sum(self) -> np.ndarray:
        """The sum of nu itself in each group, shape (T, G)."""
        mean = self.history.statistics["nu_hat_rms"] ** 2
        return mean * self._bias[:, None] * self.history.sizes

    @cached_property
    def nu_max(self) -> np.ndarray:
        """The largest nu in each group, shape (T, G)."""
        return self.history.statistics["nu_hat_max"] ** 2 * self._bias[:, None]

    @cached_property
    def root_sum(self) -> np.ndarray:
        """The sum of sqrt(nu) in each group, shape (T, G)."""
        roots = self.history.statistics["denominator"] - self.history.eps
        return roots * np.sqrt(self._bias)[:, None] * self.history.sizes

    @property
    def _bias(self) -> np.ndarray:
        corrected = self.history.corrected
        return self.history.bias_correction if corrected else np.ones(len(self.gaps))

    @cached_property
    def gaps(self) -> np.ndarray:
        """The updates since the row before, shape (T,); the first counts from 0."""
        return np.diff(self.history.steps, prepend=-1)

    @cached_property
    def fade(self) -> np.ndarray:
        """What a nu without gradients would keep of its last row, shape (T,)."""
        return self.history.b2**self.gaps

    def names(self, which: Any) -> tuple[str, ...]:
        """The names of the groups where a mask of shape (G,) is set."""
        return tuple(n for n, w in zip(self.history.groups, which, strict=True) if w)

    def steps_of(self, which: Any) -> tuple[int, ...]:
        """The steps of some rows: a mask of shape (T,), indices or a slice."""
        return tuple(int(step) for step in self.history.steps[which])

    @cached_property
    def loss_spikes(self) -> tuple[int, ...]:
        """Steps whose loss lies more than 3.2 deviations above those before it.

        The criterion of Wortsman et al. 2023, arXiv:2304.13013.
        """
        steps = sorted(self.losses)
        values = np.array([self.losses[step] for step in steps], np.float64)
        spikes = []
        for i, step in enumerate(steps):
            before = values[max(i - 20, 0) : i]
            before = before[np.isfinite(before)]
            if len(before) < 5:
                continue
            limit = before.mean() + 3.2 * before.std() + 1e-6 * abs(before.mean())
            if not values[i] <= limit:
                spikes.append(step)
        return tuple(spikes)


def mean(values: np.ndarray) -> np.ndarray:
    """The mean over rows of what is finite; NaN where nothing is."""
    finite = np.isfinite(values)
    with np.errstate(invalid="ignore"):
        return np.where(finite, values, 0).sum(axis=0) / finite.sum(axis=0)


def listed(names: tuple[str, ...], most: int = 3) -> str:
    """Names in a sentence, the first few of them."""
    rest = len(names) - most
    if rest > 0:
        return f"{', '.join(names[:most])} and {rest} more"
    return " and ".join([", ".join(names[:-1]), names[-1]] if names[1:] else names)
