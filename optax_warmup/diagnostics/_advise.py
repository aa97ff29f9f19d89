"""Advice from a record."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import numpy as np

from optax_warmup import _check
from optax_warmup.diagnostics._advice import Advice, AdviceList
from optax_warmup.diagnostics._arguments import LossesLike, as_losses
from optax_warmup.diagnostics._evidence import Evidence
from optax_warmup.diagnostics._history import MomentHistory
from optax_warmup.diagnostics._rules import (
    automatic,
    batch,
    gradients,
    moments,
    peak,
    rate,
    warmup,
)
from optax_warmup.diagnostics._rules.suggestion import suggestion

RULES = (
    *gradients.RULES,
    *moments.RULES,
    *rate.RULES,
    *warmup.RULES,
    *automatic.RULES,
    *peak.RULES,
    *batch.RULES,
)
SEVERITIES = ("problem", "warning", "note")


def advise(
    history: MomentHistory,
    *,
    losses: LossesLike | None = None,
    batch_size: int | None = None,
) -> tuple[Advice, ...]:
    """Lists what a record shows about the warmup and the moments, most serious first.

    A healthy run gets notes at most. Only recorded steps are seen: a spike between two
    of them goes unnoticed. `Advice.explanation` says what an advice rests on and where
    its thresholds come from. They are rules of thumb, set on small networks.

    Args:
        history: the record, from `read_moments` or `load_moments`. More can be said if
            it was made with `gradients` and `parameters`.
        losses: the training loss of each step, or a mapping of steps to losses if only
            some were kept. The loss of step n is the one before update n.
        batch_size: examples per update, for the suggested length of a warmup and
            the critical batch.

    Returns:
        A tuple of `Advice`, empty if no issues were found. A notebook shows cards.

    Raises:
        TypeError: `history` is not a `MomentHistory`, or a loss is not a number.
        ValueError: `losses` has more than one axis or a key that is not a step, or
            `batch_size` is below 1.

    Example:
        >>> import jax.numpy as jnp, optax, optax_warmup as ow
        >>> schedule = ow.warmup_constant(1e-3, 10)
        >>> optimizer = ow.record_moments(
        ...     optax.chain(optax.scale_by_adam(), ow.scale_by_learning_rate(schedule))
        ... )
        >>> params = {"w": jnp.ones(3)}
        >>> state = optimizer.init(params)
        >>> for _ in range(12):
        ...     _, state = optimizer.update(params, state)
        >>> for advice in ow.diagnostics.advise(ow.read_moments(state)):
        ...     print(advice.severity, advice.code)
        note first-update-zero
    """
    if not isinstance(history, MomentHistory):
        raise TypeError(
            f"advise: history must be a MomentHistory, got {type(history).__name__}; "
            f"read_moments(opt_state) and load_moments(path) return one."
        )
    if batch_size is not None:
        _check.count("advise", "batch_size", batch_size, minimum=1)
    evidence = Evidence(history, as_losses("advise", losses), batch_size)
    if not len(history.steps):
        empty = Advice(
            "empty-record",
            "note",
            "No update is recorded yet.",
            "If there were updates, look for record=False, or for `steps` that come "
            "later.",
        )
        return AdviceList([empty])
    found: list[Advice] = []
    with np.errstate(invalid="ignore", over="ignore"):
        for rule in RULES:
            found.extend(rule(evidence))
        faults = {advice.code for advice in found if advice.severity != "note"}
        found.extend(suggestion(evidence, faults))
    return AdviceList(sorted(found, key=lambda a: SEVERITIES.index(a.severity)))


def counted(advice: Iterable[Advice]) -> list[str]:
    """How many there are of each severity, the worst first: "2 warnings"."""
    counts = Counter(each.severity for each in advice)
    present = [(counts[s], s) for s in SEVERITIES if counts[s]]
    return [f"{n} {severity}{'s' * (n > 1)}" for n, severity in present]
