"""Reading a record on the host: statistics in float64, from the device's raw sums."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax

from optax_warmup._record.record_moments import RecordMomentsState
from optax_warmup._state import bare, find

_FORMAT = 1


@dataclass(frozen=True, eq=False)
class MomentHistory:
    """How Adam's moments warmed up: one row a recorded step, oldest first.

    T recorded steps and G parameter groups. After n = step + 1 updates, with
    nu_hat = nu / (1 - b2**n):

    Attributes:
        steps: indices of the recorded updates, 0 for the first, int64, shape (T,).
        groups: the names of the parameter groups, G of them.
        sizes: the coordinates with a second moment in each group, int64, shape (G,).
        learning_rate: the rate each update used, NaN where none was remembered.
            float64, shape (T,).
        effective_samples: how many gradients nu_hat is worth,
            (1 + b2) / (1 - b2) * (1 - b2**n) / (1 + b2**n). Shape (T,).
        bias_correction: 1 - b2**n, the share of nu that is not still the zero it
            started from. Shape (T,).
        statistics: float64 arrays of shape (T, G), NaN where a group has no moments:
            `nu_hat_rms`, sqrt(mean nu_hat), the gradient's size as Adam believes it;
            `update_rms`, RMS of mu_hat / (sqrt(nu_hat) + eps), Adam's step before the
            rate (1 at the first step, (1 - b1) / (1 + b1) under its root in noise);
            `lag`, RMS of g / max(sqrt(nu_hat), eps), 1 where nu_hat fits the gradients
            and more where it is behind; `eps_dominated`, the share of coordinates with
            sqrt(nu_hat) < eps; `gradient_rms`; `parameter_rms`; `update_to_weight`,
            learning_rate * update_rms / parameter_rms (weight decay is not in it).
        overall: the same over all groups, arrays of shape (T,).
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
    bias_correction: np.ndarray
    statistics: dict[str, np.ndarray]
    overall: dict[str, np.ndarray]
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
    "bias_correction",
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
    layout = state.layout
    fields = (state.steps, state.learning_rate, state.sums)
    steps, rate, sums = jax.device_get(tuple(bare(x) for x in fields))
    if steps.ndim != 1:
        raise ValueError(
            f"read_moments: the record has axes of a vmap, {steps.shape[:-1]}. Read "
            "one replica: read_moments(jax.tree.map(lambda x: x[i], opt_state))."
        )
    rows = np.flatnonzero(steps[:-1] >= 0)
    rows = rows[np.argsort(steps[rows])]
    steps = steps[rows].astype(np.int64)
    rate, sums = rate[rows].astype(np.float64), sums[rows].astype(np.float64)
    sizes = np.array(layout.sizes, np.int64)
    power = layout.b2 ** (steps + 1.0)
    columns = dict(zip(layout.columns, np.moveaxis(sums, -1, 0), strict=True))
    totals = {name: x.sum(axis=1) for name, x in columns.items()}
    return MomentHistory(
        steps=steps,
        groups=layout.groups,
        sizes=sizes,
        learning_rate=rate,
        effective_samples=(1 + layout.b2) / (1 - layout.b2) * (1 - power) / (1 + power),
        bias_correction=1 - power,
        statistics=_statistics(columns, sizes, 1 - power[:, None], rate[:, None]),
        overall=_statistics(totals, sizes.sum(), 1 - power, rate),
        b1=layout.b1,
        b2=layout.b2,
        eps=layout.eps,
    )


def _statistics(
    sums: dict[str, np.ndarray], size: Any, correction: np.ndarray, rate: np.ndarray
) -> dict[str, np.ndarray]:
    """Statistics of each group from its sums; NaN where a group has no coordinates."""
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = {name: x / np.where(size > 0, size, np.nan) for name, x in sums.items()}
        statistics = {
            "nu_hat_rms": np.sqrt(mean["nu"] / correction),
            "update_rms": np.sqrt(mean["direction_squared"]),
            "eps_dominated": mean["eps_dominated"],
        }
        if "lag_squared" in mean:
            statistics["lag"] = np.sqrt(mean["lag_squared"])
            statistics["gradient_rms"] = np.sqrt(mean["gradient_squared"])
        if "parameter_squared" in mean:
            size_of_weights = np.sqrt(mean["parameter_squared"])
            statistics["parameter_rms"] = size_of_weights
            statistics["update_to_weight"] = (
                rate * statistics["update_rms"] / size_of_weights
            )
    return statistics
