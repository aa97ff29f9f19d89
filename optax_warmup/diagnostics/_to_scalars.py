"""A record as named numbers, for any logger."""

from __future__ import annotations

import optax

from optax_warmup import _check
from optax_warmup.diagnostics._history import MomentHistory
from optax_warmup.diagnostics._read_moments import read_moments


def to_scalars(
    record: MomentHistory | optax.OptState, *, step: int | None = None
) -> dict[str, float]:
    """Returns one recorded step as named floats, for TensorBoard, W&B or MLflow.

    Args:
        record: a history, or an optimizer state with one record in it.
        step: takes the last recorded step that is not after it; by default the last of
            all.

    Returns:
        A dictionary of floats: `moments/step` is the recorded step,
        `moments/<statistic>` a statistic over all parameters, and
        `moments/<group>/<statistic>` that of a group with a second moment. NaN if it is
        not defined at that step. Empty if no update is recorded by then.

    Raises:
        TypeError: `step` is not an integer.
        ValueError: the state holds no record or several, or `step` is negative.

    Example:
        >>> import jax.numpy as jnp, optax, optax_warmup as ow
        >>> optimizer = ow.record_moments(optax.adam(1e-3))
        >>> params = {"w": jnp.ones(3)}
        >>> _, state = optimizer.update(params, optimizer.init(params))
        >>> scalars = ow.diagnostics.to_scalars(state)
        >>> scalars["moments/effective_sample_size"], round(scalars["moments/w/snr"], 3)
        (1.0, 1.0)
    """
    history = record if isinstance(record, MomentHistory) else read_moments(record)
    rows = len(history.steps)
    if step is not None:
        rows = int((history.steps <= _check.count("to_scalars", "step", step)).sum())
    if not rows:
        return {}
    row = rows - 1
    named = {"step": float(history.steps[row])}
    alone = history.by_step() | history.overall
    named |= {name: float(values[row]) for name, values in alone.items()}
    for index, (group, size) in enumerate(
        zip(history.groups, history.sizes, strict=True)
    ):
        if size:
            named |= {
                f"{group}/{name}": float(values[row, index])
                for name, values in history.statistics.items()
            }
    return {f"moments/{name}": value for name, value in named.items()}
