"""Reading a record on the host: statistics in float64, from the device's raw sums."""

from __future__ import annotations

from collections.abc import Mapping

import jax
import numpy as np
import optax
from jax.typing import ArrayLike

from optax_warmup import _check
from optax_warmup._record.layout import LOWEST_EXPONENT, Layout
from optax_warmup._record.record_moments import RecordMomentsState
from optax_warmup._state.find import bare, find
from optax_warmup._state.given_schedule import ScheduleOrSchedules
from optax_warmup._state.passed import require_state
from optax_warmup._state.rates_over_time import Visible, rates_over_time
from optax_warmup.diagnostics import _history_file as _file
from optax_warmup.diagnostics._history import MomentHistory, Statistics
from optax_warmup.diagnostics._statistics import (
    effective_sample_size,
    learning_rate,
    noise_rms,
    statistics,
)


def read_moments(
    opt_state: optax.OptState,
    *,
    schedule: ScheduleOrSchedules | None = None,
    sharpness: Mapping[int, ArrayLike] | None = None,
) -> MomentHistory:
    """Fetches the record that `record_moments` keeps in an optimizer's state.

    Args:
        opt_state: the state of an optimizer with `record_moments` in it, in any
            nesting, or a flax `nnx.Optimizer`.
        schedule: the learning rate of an optimizer such as `optax.adamw(schedule)`,
            whose state does not hold it, as for `learning_rate`. Without it the rate is
            measured from the updates.
        sharpness: what `sharpness` found on the way, if you asked it: its value with
            the optimizer's state, by the number of updates done before. The history
            keeps it, and advice and pictures set it against the edge of stability.

    Returns:
        A `MomentHistory`, with no rows before the first update.

    Raises:
        TypeError: `schedule` is neither a number nor a schedule, or `opt_state` is an
            optimizer.
        ValueError: there is no record in the state, or more than one, or the state is
            that of many replicas (a vmap) at once; `schedule` does not fit, as for
            `learning_rate`.

    Example:
        >>> import jax.numpy as jnp, optax, optax_warmup as ow
        >>> state = ow.record_moments(optax.adam(1e-3)).init({"w": jnp.ones(3)})
        >>> ow.read_moments(state).steps.shape
        (0,)
    """
    require_state("read_moments", opt_state)
    found = find(opt_state, RecordMomentsState)
    if len(found) != 1:
        places = f", at {', '.join(found)}" if found else ""
        raise ValueError(
            f"read_moments: opt_state must hold one record, it holds {len(found)}"
            f"{places}. Wrap the optimizer in optax_warmup.record_moments, and pass "
            f"the part of the state with the record that you want."
        )
    (state,) = found.values()
    measured = _by_step({} if sharpness is None else sharpness)
    tables = {name: getattr(state, name) for name in _TABLES}
    for field in _BY_NAME:
        tables |= {f"{field}/{n}": x for n, x in getattr(state, field).items()}
    tables = jax.device_get({n: bare(x) for n, x in tables.items()})
    if state.histogram is not None:
        tables["histogram"] = jax.device_get(bare(state.histogram))
    steps = tables["steps"]
    if steps.ndim != 1:
        raise ValueError(
            f"read_moments: the record has axes of a vmap, {steps.shape[:-1]}. "
            "Read one replica: read_moments(jax.tree.map(lambda x: x[i], opt_state))."
        )
    rows = np.flatnonzero(steps[:-1] >= 0)
    rows = rows[np.argsort(steps[rows])]
    layout = Layout.decode(jax.device_get(bare(state.layout)))
    tables = {name: table[rows] for name, table in tables.items()}
    seen = Visible(
        _under(tables, "rates"), _under(tables, "schedule_counts"), tables["clock"]
    )
    rates = rates_over_time("read_moments", state.inner_state, seen, schedule)
    return _history(layout, tables, rates, *measured)


_TABLES = ("steps", "counts", "clock", "sums")
_BY_NAME = ("rates", "schedule_counts", "scalars")


def _under(tables: dict[str, np.ndarray], field: str) -> dict[str, np.ndarray]:
    """The tables of a field of the state that is a dictionary."""
    return {
        name.removeprefix(f"{field}/"): table
        for name, table in tables.items()
        if name.startswith(f"{field}/")
    }


def _by_step(values: Mapping[int, ArrayLike]) -> tuple[np.ndarray, np.ndarray]:
    """Steps and values of a mapping, in the order of the steps."""
    owner = "read_moments"
    _check.mapping(owner, "sharpness", values, "a dict of values by step")
    found = {
        _check.count(owner, "each step of sharpness", step): _check.scalar(
            owner, f"sharpness[{step}]", jax.device_get(value)
        )
        for step, value in values.items()
    }
    steps = sorted(found)
    return np.array(steps, np.int64), np.array([found[s] for s in steps], np.float64)


def _history(
    layout: Layout,
    tables: dict[str, np.ndarray],
    rates: dict[str, np.ndarray],
    sharpness_steps: np.ndarray,
    sharpness: np.ndarray,
) -> MomentHistory:
    """The history of the rows of a record, in the order of their steps."""
    steps = tables["steps"].astype(np.int64)
    counts = tables["counts"].astype(np.int64)
    sums = tables["sums"].astype(np.float64)
    n = counts.astype(np.float64)
    sizes = np.array(layout.sizes, np.int64)
    columns = dict(zip(layout.columns, np.moveaxis(sums, -1, 0), strict=True))
    totals = {name: _total(name, x, sizes) for name, x in columns.items()}
    overall = statistics(layout, steps, n, totals, sizes.sum())
    scalars = {
        name: table.astype(np.float64)
        for name, table in _under(tables, "scalars").items()
    }
    for name in scalars:
        if name.rpartition("/")[2] == "coherence":  # exactly 0: it was not measured
            scalars[name] = np.where(scalars[name] == 0, np.nan, scalars[name])
    if len(rates) > 1:
        scalars |= {f"learning_rate/{name}": rate for name, rate in rates.items()}
    told = _common(rates, len(steps))
    rate, exact = learning_rate(layout.direction, told, overall)
    # Of several rates no single one is exact, however well it explains the updates.
    known = np.sum([np.isfinite(each) for each in rates.values()], axis=0)
    exact &= ~(np.isnan(told) & (known > 1))
    samples = effective_sample_size(layout.b2, n)
    bias = 1 - layout.b2**n
    histogram = tables.get("histogram", np.zeros((len(steps), 0)))
    bins = histogram.shape[-1]
    return MomentHistory(
        steps=steps,
        counts=counts,
        groups=tuple(map(_file.printable, layout.groups)),
        sizes=sizes,
        sampled=np.array(layout.sampled, np.int64),
        dtypes=tuple(layout.dtypes),
        learning_rate=rate,
        learning_rate_exact=exact,
        schedule_counts=tables["clock"].astype(np.int64),
        warmup_factor=scalars.pop("warmup_factor", np.full(len(steps), np.nan)),
        coherence=scalars.pop("coherence", np.full(len(steps), np.nan)),
        scalars=scalars,
        effective_sample_size=samples,
        relative_error=np.sqrt(2 / samples),
        bias_correction=bias,
        noise_rms=noise_rms(layout.b1, n) if layout.corrected else bias**-0.5,
        statistics=Statistics(statistics(layout, steps, n[:, None], columns, sizes)),
        overall=Statistics(overall),
        histogram=np.rint(histogram).astype(np.int64),
        histogram_edges=LOWEST_EXPONENT + 2 * np.arange(bins + 1 if bins else 0),
        sharpness_steps=sharpness_steps,
        sharpness=sharpness,
        b1=layout.b1,
        b2=layout.b2,
        eps=layout.eps,
        corrected=layout.corrected,
        meta=_file.versions(),
    )


def _common(rates: dict[str, np.ndarray], rows: int) -> np.ndarray:
    """The rate of all groups where it is one, NaN elsewhere."""
    several = np.stack([*rates.values(), np.full(rows, np.nan)][: len(rates) or 1])
    alike = np.abs(several - several[0]) <= 1e-6 * np.abs(several[0])
    return np.where(alike.all(axis=0), several[0], np.nan)


def _total(name: str, column: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """A column over all groups that have second moments."""
    measured = column[:, sizes > 0]
    if name.endswith("_max"):
        return np.asarray(np.max(measured, axis=1, initial=0.0))
    return np.asarray(np.sum(measured, axis=1))
