"""The curve that a range test gives: the loss at each learning rate."""

from __future__ import annotations

import csv
import dataclasses
from pathlib import Path

import numpy as np
from jax.typing import ArrayLike

from optax_warmup import _check
from optax_warmup._files import as_path, as_saved, with_ending, write_atomically

_SMOOTHING = 0.02  # of the test: the time constant of the average
FEWEST = 10  # updates that a curve must have


@dataclasses.dataclass(frozen=True, eq=False)
class RateCurve:
    """The losses of a learning-rate range test.

    Args:
        rates: the learning rate of each update, increasing; shape (updates,).
        losses: the loss of each update, computed before the update was applied; shape
            (updates,), or (seeds, updates).
        diverged: whether the test stopped because the loss diverged.

    Raises:
        TypeError: rates or losses are not numbers.
        ValueError: there are fewer than 10 updates, the rates are not above 0 or do not
            increase, or the shapes do not fit together.

    Example:
        >>> import numpy as np, optax_warmup as ow
        >>> rates = np.geomspace(1e-4, 1, 50)
        >>> curve = ow.finder.RateCurve(rates, 3 - rates)
        >>> curve.losses.shape, curve.mean.shape
        ((1, 50), (50,))
    """

    rates: np.ndarray
    losses: np.ndarray
    diverged: bool = False

    def __post_init__(self) -> None:
        """Checks the arrays, and converts them to float64."""
        rates, losses = _numbers("rates", self.rates), _numbers("losses", self.losses)
        losses = np.atleast_2d(losses)
        if rates.ndim != 1 or losses.ndim != 2 or losses.shape[1] != len(rates):
            raise ValueError(
                f"RateCurve: losses must have one loss for each rate, got rates of "
                f"shape {rates.shape} and losses of shape {np.shape(self.losses)}."
            )
        if len(rates) < FEWEST:
            raise ValueError(
                f"RateCurve: rates must have at least {FEWEST} updates, got "
                f"{len(rates)}; take more steps."
            )
        if not (
            np.isfinite(rates).all() and rates[0] > 0 and np.all(np.diff(rates) > 0)
        ):
            raise ValueError(
                "RateCurve: rates must be above 0 and increase from update to update, "
                f"got {rates[0]:g} to {rates[-1]:g}; sort them with their losses."
            )
        _check.flag("RateCurve", "diverged", self.diverged)
        object.__setattr__(self, "rates", rates)
        object.__setattr__(self, "losses", losses)

    @property
    def mean(self) -> np.ndarray:
        """The mean loss over the seeds; NaN where that of any seed is not finite."""
        finite = np.isfinite(self.losses).all(axis=0)
        losses = np.where(finite, self.losses, 0.0).mean(axis=0)
        return np.where(finite, losses, np.nan)

    @property
    def smoothed(self) -> np.ndarray:
        """The mean loss, smoothed; NaN from the first loss that is not finite."""
        return smoothed(self.mean, time_constant(len(self.rates)))

    def save(self, path: str | Path) -> Path:
        """Writes the curve as CSV: learning_rate, then the loss of each seed.

        Args:
            path: the file; .csv is appended if it is missing.

        Returns:
            The path.
        """
        names = [f"loss_{seed}" for seed in range(len(self.losses))]
        rows = [["learning_rate", *names]]
        for rate, losses in zip(self.rates, self.losses.T, strict=True):
            rows.append([repr(float(x)) for x in (rate, *losses)])
        text = "".join(",".join(row) + "\n" for row in rows)
        target = with_ending(as_path("RateCurve.save", path), ".csv")
        with write_atomically(target) as file:
            file.write(text.encode())
        return target


def load_curve(path: str | Path) -> RateCurve:
    """Loads a curve from a CSV file, of `RateCurve.save` or of another program.

    Args:
        path: a CSV file with a column `learning_rate` (or `lr`); every column whose
            name begins with `loss` is a seed.

    Returns:
        A `RateCurve`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a column is missing, or holds something else than numbers.

    Example:
        >>> import tempfile, numpy as np, optax_warmup as ow
        >>> curve = ow.finder.RateCurve(np.geomspace(1e-4, 1, 50), np.ones((2, 50)))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     ow.finder.load_curve(curve.save(f"{folder}/curve")).losses.shape
        (2, 50)
    """
    file_path = as_saved(as_path("load_curve", path), ".csv")
    with file_path.open(newline="") as file:
        rows = list(csv.reader(file))
    head = [name.strip() for name in rows[0]] if rows else []
    rate = next(
        (i for i, name in enumerate(head) if name in ("learning_rate", "lr")), -1
    )
    losses = [i for i, name in enumerate(head) if name.startswith("loss")]
    if rate < 0 or not losses:
        raise ValueError(
            f"load_curve: {path} must have the columns learning_rate and loss, got "
            f"{', '.join(head) or 'an empty file'}."
        )
    try:
        table = np.array([[float(x) for x in row] for row in rows[1:] if row])
        table = table.reshape(-1, len(head))
    except ValueError as error:
        raise ValueError(
            f"load_curve: {path} must hold numbers, {len(head)} in each line: {error}."
        ) from None
    ended = np.flatnonzero(~np.isfinite(table[:, losses]).all(axis=1))
    return RateCurve(table[:, rate], table[:, losses].T, diverged=bool(len(ended)))


def time_constant(updates: int) -> float:
    """Over how many updates the loss is averaged."""
    return max(1.0, _SMOOTHING * updates)


def smoothed(losses: np.ndarray, updates: float) -> np.ndarray:
    """Exponential moving average, with the bias of its start corrected.

    average[k] = sum_j decay**(k-j) losses[j] / sum_j decay**(k-j)
    """
    decay, total, weight = 1 - 1 / (1 + updates), 0.0, 0.0
    found = np.empty(len(losses))
    for index, loss in enumerate(losses):
        total, weight = decay * total + loss, decay * weight + 1
        found[index] = total / weight
    return found


def noise(losses: np.ndarray) -> float:
    """The standard deviation of the losses around their course, from differences."""
    finite = losses[np.isfinite(losses)]
    if len(finite) < 3:
        return 0.0
    second = np.diff(finite, 2)  # neither a slope nor single spikes count
    return float(1.4826 * np.median(np.abs(second)) / 6**0.5)


def _numbers(name: str, values: ArrayLike) -> np.ndarray:
    try:
        array = np.asarray(values)
    except (TypeError, ValueError) as error:
        raise TypeError(f"RateCurve: {name} must be real numbers: {error}.") from None
    if not _check.is_real(array.dtype):
        raise TypeError(
            f"RateCurve: {name} must be real numbers, got an array of {array.dtype}."
        )
    return array.astype(np.float64)
