"""Advice in words, from a record."""

from collections.abc import Mapping

import numpy as np
from jax.typing import ArrayLike

from optax_warmup import _check
from optax_warmup.diagnostics._evidence import Advice, Evidence
from optax_warmup.diagnostics._history import MomentHistory
from optax_warmup.diagnostics._rules import gradients, moments, rate
from optax_warmup.diagnostics._run_folders import losses_by_step

SEVERITIES = ("problem", "warning", "note")


def advise(
    history: MomentHistory,
    *,
    losses: ArrayLike | Mapping[int, float] | None = None,
    batch_size: int | None = None,
) -> tuple[Advice, ...]:
    """Says in words what a record shows, the most serious first.

    A healthy run gets notes at most. Only recorded steps are seen, one in many later
    on: a spike between them goes unnoticed. What each advice rests on, and why its
    thresholds are where they are, is in docs/diagnostics.md.

    Args:
        history: the record, from `read_moments` or `load_moments`. With `gradients` and
            `parameters` in it more can be said.
        losses: the training loss at each step, or a mapping of steps to losses where
            only some were kept. The loss at step n is that before update n.
        batch_size: examples of an update, for the suggested length of a warmup.

    Returns:
        A tuple of `Advice`, empty where there is nothing to say.

    Raises:
        TypeError: `history` is no `MomentHistory`.
        ValueError: `losses` is not one number a step, or `batch_size` is below 1.

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
        note warmup-short
    """
    if not isinstance(history, MomentHistory):
        raise TypeError(
            f"advise: history must be a MomentHistory, got {type(history).__name__}; "
            f"read_moments(opt_state) and load_moments(path) return one."
        )
    if batch_size is not None:
        _check.length("advise", "batch_size", batch_size, minimum=1)
    evidence = Evidence(history, losses_by_step("advise", losses), batch_size)
    if not len(history.steps):
        return (
            Advice(
                "empty-record",
                "note",
                "No update is recorded yet.",
                "If there were updates, look for record=False, or for a `steps` list "
                "that they do not reach.",
            ),
        )
    found: list[Advice] = []
    with np.errstate(invalid="ignore", over="ignore"):
        for rule in (*gradients.RULES, *moments.RULES, *rate.RULES):
            found.extend(rule(evidence))
        faults = {advice.code for advice in found if advice.severity != "note"}
        found.extend(rate.suggestion(evidence, faults))
    return tuple(sorted(found, key=lambda advice: SEVERITIES.index(advice.severity)))
