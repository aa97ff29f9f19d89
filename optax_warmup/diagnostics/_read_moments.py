"""Reading a record on the host: statistics in float64, from the device's raw sums."""

from collections.abc import Mapping, Sequence

import jax
import numpy as np
import optax
from jax.typing import ArrayLike

from optax_warmup import _check
from optax_warmup._record.layout import LOWEST_EXPONENT, Layout
from optax_warmup._record.record_moments import RecordMomentsState
from optax_warmup._state.find import bare, find
from optax_warmup.diagnostics import _history_file as _file
from optax_warmup.diagnostics._history import MomentHistory, Statistics
from optax_warmup.diagnostics._statistics import (
    effective_sample_size,
    noise_rms,
    statistics,
)


def read_moments(
    opt_state: optax.OptState, *, sharpness: Mapping[int, ArrayLike] | None = None
) -> MomentHistory:
    """Fetches the record that `record_moments` keeps in an optimizer's state.

    Args:
        opt_state: the state of an optimizer with `record_moments` in it, in any
            nesting, or a flax `nnx.Optimizer`.
        sharpness: what `sharpness` found on the way, if you asked it: its value with
            the optimizer's state, by the number of updates done before. The history
            keeps it, and advice and pictures set it against the edge of stability.

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
    measured = _by_step(sharpness or {})
    record = jax.device_get([bare(getattr(state, name)) for name in _RECORDED])
    if record[0].ndim != 1:
        raise ValueError(
            f"read_moments: the record has axes of a vmap, {record[0].shape[:-1]}. "
            "Read one replica: read_moments(jax.tree.map(lambda x: x[i], opt_state))."
        )
    rows = np.flatnonzero(record[0][:-1] >= 0)
    rows = rows[np.argsort(record[0][rows])]
    layout = Layout.decode(jax.device_get(bare(state.layout)))
    return _history(layout, [table[rows] for table in record], *measured)


_RECORDED = ("steps", "learning_rate", "warmup", "sums", "histogram")


def _by_step(values: Mapping[int, ArrayLike]) -> tuple[np.ndarray, np.ndarray]:
    """Steps and values of a mapping, in the order of the steps."""
    owner = "read_moments"
    found = {
        int(_check.length(owner, "a step of sharpness", step)): float(
            _check.number(owner, f"sharpness[{step}]", jax.device_get(value))
        )
        for step, value in values.items()
    }
    steps = sorted(found)
    return np.array(steps, np.int64), np.array([found[s] for s in steps], np.float64)


def _history(
    layout: Layout,
    record: Sequence[np.ndarray],
    sharpness_steps: np.ndarray,
    sharpness: np.ndarray,
) -> MomentHistory:
    """The history of the rows of a record, in the order of their steps."""
    steps, rate, warmup, sums, histogram = record
    steps, count = steps.astype(np.int64), steps + 1.0
    rate, sums = rate.astype(np.float64), sums.astype(np.float64)
    sizes = np.array(layout.sizes, np.int64)
    columns = dict(zip(layout.columns, np.moveaxis(sums, -1, 0), strict=True))
    totals = {
        name: x.max(axis=1) if name.endswith("_max") else x.sum(axis=1)
        for name, x in columns.items()
    }
    samples = effective_sample_size(layout.b2, count)
    bias = 1 - layout.b2**count
    bins = histogram.shape[-1]
    return MomentHistory(
        steps=steps,
        groups=tuple(layout.groups),
        sizes=sizes,
        sampled=np.array(layout.sampled, np.int64),
        dtypes=tuple(layout.dtypes),
        learning_rate=rate,
        warmup_factor=warmup[:, 0].astype(np.float64),
        coherence=warmup[:, 1].astype(np.float64),
        effective_sample_size=samples,
        relative_error=np.sqrt(2 / samples),
        bias_correction=bias,
        noise_rms=noise_rms(layout.b1, count) if layout.corrected else bias**-0.5,
        statistics=Statistics(
            statistics(layout, count[:, None], rate[:, None], columns, sizes)
        ),
        overall=Statistics(statistics(layout, count, rate, totals, sizes.sum())),
        histogram=histogram.astype(np.int64),
        histogram_edges=LOWEST_EXPONENT + 2 * np.arange(bins + 1 if bins else 0),
        sharpness_steps=sharpness_steps,
        sharpness=sharpness,
        b1=layout.b1,
        b2=layout.b2,
        eps=layout.eps,
        corrected=layout.corrected,
        meta=_file.versions(),
    )
