"""The history of a record: arrays on the host, as a table, as columns, as a file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from optax_warmup._config import fingerprint
from optax_warmup._drawing.notebook import never_raises
from optax_warmup._files import as_path, as_saved, with_ending
from optax_warmup._schedules.schedule import Schedule
from optax_warmup.diagnostics import _history_file, _table
from optax_warmup.diagnostics._history_checks import (
    require_sound_arrays,
    require_sound_description,
)


class Statistics(dict[str, np.ndarray]):
    """Arrays by name; the error about one that is missing lists those there are."""

    def __missing__(self, name: str) -> np.ndarray:
        raise KeyError(f"there is no {name}; recorded are {', '.join(sorted(self))}.")


@dataclass(frozen=True, eq=False)
class MomentHistory:
    """How Adam's moments warmed up: one row a recorded step, oldest first.

    T recorded steps and G parameter groups; n updates of the moments, u = mu_hat /
    (sqrt(nu_hat) + eps), Adam's step before the rate.

    Attributes:
        steps: indices of the recorded updates, 0 for the first, int64, shape (T,).
        counts: Adam's own count n of updates after each, int64, shape (T,). It is
            steps + 1 until the moments are reset; see `resets`.
        groups: the names of the parameter groups, G of them.
        sizes: the coordinates with a second moment in each group, int64, shape (G,).
        sampled: of those, the ones in the sampled statistics. (G,).
        dtypes: the dtype of nu in each group, "" where it has none.
        learning_rate: the rate that each update applied, over all groups. float64,
            shape (T,). It is what the optimizer's states tell where that is one number
            and agrees with the updates, else what was measured of these; NaN where
            neither is known. Each group's own is `statistics["applied_rate"]`; what the
            states tell of several groups is in `scalars`, as "learning_rate/body".
        learning_rate_exact: whether the updates confirm that rate to about 1%, bool,
            shape (T,). Elsewhere it is what the states tell and the updates cannot
            show (as for radam, whose direction is not Adam's), or an estimate: the mean
            of groups that have rates of their own, for example.
        schedule_counts: the most updates that any schedule or factor in the optimizer
            had counted, int64, shape (T,); 0 where none shows.
        warmup_factor, coherence: what `automatic_warmup` or another warmup in the
            optimizer multiplied each update by, and the cosine between a descent
            direction and the update before it, by which the automatic one goes with
            feedback; NaN without. Shape (T,).
        scalars: whatever else the optimizer's states declare, by name, shapes (T,):
            `relative_size`, the S of `automatic_warmup`, is 0 until it has started.
        effective_sample_size: how many gradients nu_hat is worth,
            (1 + b2) / (1 - b2) * (1 - b2**n) / (1 + b2**n). Shape (T,).
        relative_error: sqrt(2 / effective_sample_size), the standard error of nu_hat as
            a share of it, for Gaussian gradients. Shape (T,).
        bias_correction: 1 - b2**n, the share of nu that is not still the zero it
            started from. Shape (T,).
        noise_rms: what `update_rms` would be in nothing but noise,
            sqrt((1 - b1) / (1 + b1) * (1 + b1**n) / (1 - b1**n)); for rmsprop, which
            corrects no bias, 1 / sqrt(1 - b2**n). Shape (T,).
        statistics: float64 arrays of shape (T, G), NaN where a group has no moments;
            docs/diagnostics.md has the list. Of the moments: `nu_hat_rms`,
            `nu_hat_max`, `update_rms`, `snr`, `denominator`, `eps_dominated`,
            `nonfinite`, `drift`. Of the gradients that entered them: `gradient_rms`,
            `gradient_norm`, `normalized_gradient_rms`, `gradient_to_nu_ratio`,
            `alignment`, `signal_share`, `noise_scale`, `noise_scale_bound`. Of the
            final updates: `applied_rate`, `applied_decay`,
            `update_explained`, `parameter_rms`, `update_to_weight`, `angular_update`.
        overall: the same over all groups, arrays of shape (T,).
        histogram: about how many coordinates have log2(nu) in each bin, int64, shape
            (T, bins), with no bins where it was left out.
        histogram_edges: the exponents of 2 between the bins, shape (bins + 1,); the
            first and the last bin take all that is smaller, or larger.
        sharpness_steps, sharpness: what `read_moments` was given, shapes (S,).
        b1, b2, eps: Adam's own; b1 is 0 for rmsprop.
        corrected: whether the optimizer divides nu by its `bias_correction`; rmsprop
            does not, and its nu_hat is nu.
        meta: where the record comes from: `optax_warmup`, `jax`, `optax` and `numpy`
            are versions, `schedule` and `fingerprint` say what `save` was given.

    `str(history)` is a table of the groups, `history.summary()` one line.

    Example:
        >>> import jax.numpy as jnp, optax, optax_warmup as ow
        >>> optimizer = ow.record_moments(optax.adam(1e-3))
        >>> params = {"w": jnp.ones(3)}
        >>> _, state = optimizer.update(params, optimizer.init(params), params)
        >>> history = ow.read_moments(state)
        >>> history.groups, history.statistics["update_rms"].round(3).tolist()
        (('w',), [[1.0]])
    """

    steps: np.ndarray
    counts: np.ndarray
    groups: tuple[str, ...]
    sizes: np.ndarray
    sampled: np.ndarray
    dtypes: tuple[str, ...]
    learning_rate: np.ndarray
    learning_rate_exact: np.ndarray
    schedule_counts: np.ndarray
    warmup_factor: np.ndarray
    coherence: np.ndarray
    effective_sample_size: np.ndarray
    relative_error: np.ndarray
    bias_correction: np.ndarray
    noise_rms: np.ndarray
    statistics: Statistics
    overall: Statistics
    histogram: np.ndarray
    histogram_edges: np.ndarray
    sharpness_steps: np.ndarray
    sharpness: np.ndarray
    b1: float
    b2: float
    eps: float
    corrected: bool = True
    meta: Mapping[str, str] = field(default_factory=dict)
    scalars: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __str__(self) -> str:
        return _table.table(self)

    @never_raises
    def _repr_html_(self) -> str:
        # It draws a history, and so its room comes after this one.
        from optax_warmup.diagnostics._notebook import history_html

        return history_html(self)

    def summary(self) -> str:
        """Returns the last recorded step in one line, for a progress bar or a log."""
        return _table.line(self)

    @property
    def resets(self) -> np.ndarray:
        """The recorded steps before which the moments were reset, int64."""
        done = np.diff(self.counts) != np.diff(self.steps)
        steps: np.ndarray = self.steps[1:][done]
        return steps

    def by_step(self) -> dict[str, np.ndarray]:
        """What has one number a step, by name; of a warmup only if there was one."""
        numbers = {name: getattr(self, name) for name in _BY_STEP}
        for name in ("warmup_factor", "coherence"):
            if np.isnan(numbers[name]).all():
                del numbers[name]
        return numbers | dict(self.scalars)

    def tidy(self) -> dict[str, np.ndarray]:
        """Returns every number as a row of a long table, for `pandas.DataFrame`.

        Returns:
            A dictionary of equally long arrays: `step` (int64), `group` and `statistic`
            (str), `value` (float64). The group of values over all groups is "".
        """
        alone = self.by_step() | self.overall
        columns = [("", name, x) for name, x in alone.items()]
        for index, group in enumerate(self.groups):
            columns += [(group, n, x[:, index]) for n, x in self.statistics.items()]
        rows = len(self.steps)
        return {
            "step": np.tile(self.steps, len(columns)),
            "group": np.repeat([group for group, _, _ in columns], rows),
            "statistic": np.repeat([name for _, name, _ in columns], rows),
            "value": np.concatenate([x for _, _, x in columns]),
        }

    def save(self, path: str | Path, *, schedule: object = None) -> Path:
        """Writes the history to one .npz file, which `load_moments` reads.

        An existing file is replaced only once the new one is complete.

        Args:
            path: where to write; .npz is appended if it is missing.
            schedule: the schedule of the run, or any text that identifies it. It is
                kept in `meta` as text (for a schedule of this package, the code that
                rebuilds it), with its `fingerprint` if it has one.

        Returns:
            The path of the file.

        Raises:
            TypeError: `path` is neither a string nor a path.
            OSError: the file cannot be written.
        """
        file_path = with_ending(as_path("save", path), ".npz")
        meta = {name: getattr(self, name) for name in _META}
        meta["meta"] = dict(self.meta) | _identity(schedule)
        arrays = {name: getattr(self, name) for name in _ARRAYS}
        arrays |= {f"statistics/{name}": x for name, x in self.statistics.items()}
        arrays |= {f"overall/{name}": x for name, x in self.overall.items()}
        arrays |= {f"scalars/{name}": x for name, x in self.scalars.items()}
        return _history_file.write(file_path, meta, arrays)


def _identity(schedule: object) -> dict[str, str]:
    if schedule is None:
        return {}
    text = {"schedule": str(schedule)}
    if not isinstance(schedule, Schedule):
        return text
    try:
        return text | {"fingerprint": fingerprint(schedule)}
    except (TypeError, ValueError):
        return text  # it holds functions without a name, and so has no fingerprint


_META = ("groups", "dtypes", "b1", "b2", "eps", "corrected")
_COUNTED = ("counts", "learning_rate_exact", "schedule_counts")
_BY_STEP = (
    "learning_rate",
    "warmup_factor",
    "coherence",
    "effective_sample_size",
    "relative_error",
    "bias_correction",
    "noise_rms",
)
_ARRAYS = (
    *("steps", "sizes", "sampled", "histogram", "histogram_edges", *_COUNTED),
    *("sharpness_steps", "sharpness", *_BY_STEP),
)


def load_moments(path: str | Path) -> MomentHistory:
    """Reads what `MomentHistory.save` wrote.

    Args:
        path: the file, as `save` returns it or as `save` was given it.

    Returns:
        The `MomentHistory`.

    Raises:
        TypeError: `path` is neither a string nor a path.
        FileNotFoundError: there is no such file.
        ValueError: the file was not written by `MomentHistory.save`, or is damaged.

    Example:
        >>> import pathlib, tempfile, jax.numpy as jnp, optax, optax_warmup as ow
        >>> state = ow.record_moments(optax.adam(1e-3)).init(jnp.ones(3))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = ow.read_moments(state).save(pathlib.Path(folder) / "moments")
        ...     ow.diagnostics.load_moments(path).groups
        ('parameters',)
    """
    path = as_saved(as_path("load_moments", path), ".npz")
    meta, arrays = _history_file.read("load_moments", path)
    try:
        require_sound_description(meta)
        fields: dict[str, Any] = {name: meta[name] for name in _META}
        fields |= {name: arrays[name] for name in _ARRAYS}
        fields["groups"] = tuple(map(_history_file.printable, meta["groups"]))
        fields["dtypes"] = tuple(map(_history_file.printable, meta["dtypes"]))
        history = MomentHistory(
            statistics=Statistics(_under(arrays, "statistics/")),
            overall=Statistics(_under(arrays, "overall/")),
            scalars=_under(arrays, "scalars/"),
            meta={
                _history_file.printable(name): _history_file.printable(text)
                for name, text in meta["meta"].items()
            },
            **fields,
        )
        require_sound_arrays(history)
    except KeyError as error:
        raise ValueError(
            f"load_moments: {path} is not a complete file written by "
            f"MomentHistory.save: {error} is missing."
        ) from error
    except ValueError as error:
        raise ValueError(
            f"load_moments: {path} is not a complete file written by "
            f"MomentHistory.save: {error}."
        ) from error
    return history


def _under(arrays: dict[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    return {
        _history_file.printable(name.removeprefix(prefix)): array
        for name, array in arrays.items()
        if name.startswith(prefix)
    }
