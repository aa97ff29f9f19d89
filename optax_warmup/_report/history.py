"""Reading a record on the host: statistics in float64, from the device's raw sums."""

import json
from dataclasses import dataclass
from pathlib import Path

import jax
import numpy as np
import optax

from optax_warmup._record.moments import LOWEST_EXPONENT, Layout
from optax_warmup._record.record_moments import RecordMomentsState
from optax_warmup._report.statistics import effective_samples, noise_rms, statistics
from optax_warmup._state import bare, find

_FORMAT = 1


@dataclass(frozen=True, eq=False)
class MomentHistory:
    """How Adam's moments warmed up: one row a recorded step, oldest first.

    T recorded steps and G parameter groups; n = step + 1 updates, u = mu_hat /
    (sqrt(nu_hat) + eps), Adam's step before the rate.

    Attributes:
        steps: indices of the recorded updates, 0 for the first, int64, shape (T,).
        groups: the names of the parameter groups, G of them.
        sizes: the coordinates with a second moment in each group, int64, shape (G,).
        learning_rate: the rate each update used, NaN where none was remembered.
            float64, shape (T,).
        effective_samples: how many gradients nu_hat is worth,
            (1 + b2) / (1 - b2) * (1 - b2**n) / (1 + b2**n). Shape (T,).
        relative_error: sqrt(2 / effective_samples), the standard error of nu_hat as a
            share of it, for Gaussian gradients. Shape (T,).
        bias_correction: 1 - b2**n, the share of nu that is not still the zero it
            started from. Shape (T,).
        noise_rms: what `update_rms` would be in nothing but noise,
            sqrt((1 - b1) / (1 + b1) * (1 + b1**n) / (1 - b1**n)). Shape (T,).
        statistics: float64 arrays of shape (T, G), NaN where a group has no moments;
            docs/diagnostics.md has the list. Always: `nu_hat_rms`, `nu_hat_max`,
            `update_rms`, `snr`, `denominator`, `eps_dominated`, `nonfinite`, `drift`.
            With gradients: `gradient_rms`, `gradient_norm`, `gradient_nonfinite`,
            `lag`, `lag_ratio`, `alignment`. With parameters: `parameter_rms`,
            `update_to_weight`, `angular_update`.
        overall: the same over all groups, arrays of shape (T,).
        histogram: counts of sampled coordinates by log2(nu), int64, shape (T, G, bins),
            with no bins where it was left out.
        histogram_edges: the exponents of 2 between the bins, shape (bins + 1,); the
            first and the last bin take all that is smaller, or larger.
        b1, b2, eps: Adam's own.

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
    groups: tuple[str, ...]
    sizes: np.ndarray
    learning_rate: np.ndarray
    effective_samples: np.ndarray
    relative_error: np.ndarray
    bias_correction: np.ndarray
    noise_rms: np.ndarray
    statistics: dict[str, np.ndarray]
    overall: dict[str, np.ndarray]
    histogram: np.ndarray
    histogram_edges: np.ndarray
    b1: float
    b2: float
    eps: float

    def save(self, path: str | Path) -> Path:
        """Writes the history to one .npz file; `load_moments` reads it again.

        The file is complete or absent: it is written beside its place and moved there.
        """
        path = Path(path).with_suffix(".npz")
        meta = {
            "format": _FORMAT,
            "groups": self.groups,
            "b1": self.b1,
            "b2": self.b2,
            "eps": self.eps,
        }
        arrays = {name: getattr(self, name) for name in _ARRAYS}
        arrays |= {f"statistics/{name}": x for name, x in self.statistics.items()}
        arrays |= {f"overall/{name}": x for name, x in self.overall.items()}
        partial = path.with_name(f"{path.name}.partial")
        with partial.open("wb") as file:
            np.savez_compressed(file, meta=np.array(json.dumps(meta)), **arrays)
        return partial.replace(path)


_ARRAYS = (
    "steps",
    "sizes",
    "learning_rate",
    "effective_samples",
    "relative_error",
    "bias_correction",
    "noise_rms",
    "histogram",
    "histogram_edges",
)


def load_moments(path: str | Path) -> MomentHistory:
    """Reads what `MomentHistory.save` wrote.

    Args:
        path: the .npz file.

    Returns:
        The `MomentHistory`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is none of ours, or it is damaged.

    Example:
        >>> import pathlib, tempfile, jax.numpy as jnp, optax, optax_warmup as ow
        >>> state = ow.record_moments(optax.adam(1e-3)).init(jnp.ones(3))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = ow.read_moments(state).save(pathlib.Path(folder) / "moments")
        ...     ow.load_moments(path).groups
        ('parameters',)
    """
    path = Path(path)
    try:
        with path.open("rb") as stream, np.load(stream) as file:
            meta = json.loads(str(file["meta"]))
            arrays = {name: file[name] for name in file.files if name != "meta"}
        if meta["format"] != _FORMAT:
            raise ValueError(f"its format is {meta['format']}, not {_FORMAT}")
        return MomentHistory(
            groups=tuple(meta["groups"]),
            statistics=_under(arrays, "statistics/"),
            overall=_under(arrays, "overall/"),
            b1=meta["b1"],
            b2=meta["b2"],
            eps=meta["eps"],
            **{name: arrays[name] for name in _ARRAYS},
        )
    except FileNotFoundError:
        raise
    except Exception as error:
        raise ValueError(
            f"load_moments: {path} is not a whole file written by MomentHistory.save: "
            f"{error}."
        ) from error


def _under(arrays: dict[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    return {
        name.removeprefix(prefix): array
        for name, array in arrays.items()
        if name.startswith(prefix)
    }


def read_moments(opt_state: optax.OptState) -> MomentHistory:
    """Fetches the record that `record_moments` keeps in an optimizer's state.

    Args:
        opt_state: the state of an optimizer with `record_moments` in it, in any
            nesting, or a flax `nnx.Optimizer`.

    Returns:
        A `MomentHistory`, with no rows before the first update.

    Raises:
        ValueError: there is no record in the state, or more than one, or the state is
            that of many replicas (a vmap) at once.

    Example:
        >>> import jax.numpy as jnp, optax, optax_warmup as ow
        >>> state = ow.record_moments(optax.adam(1e-3)).init({"w": jnp.ones(3)})
        >>> ow.read_moments(state).steps.shape
        (0,)
    """
    found = find(opt_state, RecordMomentsState)
    if len(found) != 1:
        places = f", at {', '.join(found)}" if found else ""
        raise ValueError(
            f"read_moments: opt_state must hold one record, it holds {len(found)}"
            f"{places}. Wrap the optimizer in optax_warmup.record_moments, and pass "
            f"the part of the state with the record that you want."
        )
    (state,) = found.values()
    record = jax.device_get([bare(getattr(state, name)) for name in _RECORDED])
    if record[0].ndim != 1:
        raise ValueError(
            f"read_moments: the record has axes of a vmap, {record[0].shape[:-1]}. "
            "Read one replica: read_moments(jax.tree.map(lambda x: x[i], opt_state))."
        )
    rows = np.flatnonzero(record[0][:-1] >= 0)
    rows = rows[np.argsort(record[0][rows])]
    layout = Layout.decode(jax.device_get(bare(state.layout)))
    return _history(layout, *(table[rows] for table in record))


_RECORDED = ("steps", "learning_rate", "sums", "histogram")


def _history(
    layout: Layout,
    steps: np.ndarray,
    rate: np.ndarray,
    sums: np.ndarray,
    histogram: np.ndarray,
) -> MomentHistory:
    """The history of the rows of a record, in the order of their steps."""
    steps, count = steps.astype(np.int64), steps + 1.0
    rate, sums = rate.astype(np.float64), sums.astype(np.float64)
    sizes = np.array(layout.sizes, np.int64)
    columns = dict(zip(layout.columns, np.moveaxis(sums, -1, 0), strict=True))
    totals = {
        name: x.max(axis=1) if name.endswith("_max") else x.sum(axis=1)
        for name, x in columns.items()
    }
    samples = effective_samples(layout.b2, count)
    bins = histogram.shape[-1]
    return MomentHistory(
        steps=steps,
        groups=tuple(layout.groups),
        sizes=sizes,
        learning_rate=rate,
        effective_samples=samples,
        relative_error=np.sqrt(2 / samples),
        bias_correction=1 - layout.b2**count,
        noise_rms=noise_rms(layout.b1, count),
        statistics=statistics(layout, count[:, None], rate[:, None], columns, sizes),
        overall=statistics(layout, count, rate, totals, sizes.sum()),
        histogram=histogram.astype(np.int64),
        histogram_edges=LOWEST_EXPONENT + 2 * np.arange(bins + 1 if bins else 0),
        b1=layout.b1,
        b2=layout.b2,
        eps=layout.eps,
    )
