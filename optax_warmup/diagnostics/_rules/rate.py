"""Rules about the rate itself: whether it is known, and what became of it."""

from collections.abc import Iterator

import numpy as np

from optax_warmup._drawing.numbers import number
from optax_warmup.diagnostics._advice import Advice
from optax_warmup.diagnostics._evidence import Evidence

_AHEAD = 1.5  # updates that a schedule counts for each of the moments


def rate_unknown(e: Evidence) -> Iterator[Advice]:
    """rate-unknown."""
    if np.isnan(e.history.learning_rate).all():
        yield Advice(
            "rate-unknown",
            "note",
            "Neither the optimizer's state nor its updates tell a learning rate: "
            "nothing can be said about the length of the warmup or the peak rate.",
            "Put record_moments around the whole optimizer, or pass the rate: "
            "read_moments(opt_state, schedule=schedule).",
        )


def rate_estimated(e: Evidence) -> Iterator[Advice]:
    """rate-estimated."""
    rates, exact = e.history.learning_rate, e.history.learning_rate_exact
    # Updates that are not finite say nothing of it.
    seen = np.isfinite(e.history.overall["update_explained"])
    unsure = np.isfinite(rates) & ~exact & seen
    if not unsure.sum() > 0.5 * np.isfinite(rates).sum():
        return
    alone = [n for n in e.history.scalars if n.startswith("learning_rate/")]
    yield Advice(
        "rate-estimated",
        "note",
        f"The learning rate is not confirmed by the updates at {unsure.sum()} of "
        f"{len(rates)} recorded steps: "
        + (
            "groups of parameters have rates of their own, and what is called the "
            "learning rate here is about their mean."
            if alone
            else "they are no multiples of Adam's direction. Advice on the rate and "
            "the peak is as good as this estimate."
        ),
        f"history.scalars has {', '.join(alone)}."
        if alone
        else "Pass the rate if no state holds it: read_moments(opt_state, "
        "schedule=schedule).",
        steps=e.steps_of(unsure),
    )


def climbing(e: Evidence) -> Iterator[Advice]:
    """updates-climb."""
    rates = np.where(e.history.learning_rate_exact, e.history.learning_rate, np.nan)
    climbs = rates < 0
    if not climbs.sum() > 0.5 * (np.abs(rates) > 0).sum():
        return
    strongest = float(np.nanmin(rates))
    yield Advice(
        "updates-climb",
        "problem",
        f"At {climbs.sum()} recorded steps the updates went along Adam's direction and "
        f"not against it (learning rate {number(strongest)}): the loss is climbed.",
        "Keep one learning rate. Each flips the sign, and optax.adamw(...) has its "
        "own; for a second factor use scale_by_warmup(factor). If a later transform "
        "flips the sign, put record_moments around that, too.",
        steps=e.steps_of(climbs),
    )


def schedule_ahead(e: Evidence) -> Iterator[Advice]:
    """schedule-ahead."""
    counted, updates = e.history.schedule_counts, e.history.steps + 1
    rates = e.history.learning_rate[np.isfinite(e.history.learning_rate)]
    if not len(rates) or np.ptp(rates) <= 0.01 * np.max(np.abs(rates)):
        return  # a constant rate may count as it likes
    if counted[-1] < _AHEAD * updates[-1] or counted[-1] < updates[-1] + 2:
        return
    yield Advice(
        "schedule-ahead",
        "warning",
        f"After {updates[-1]:,} updates of the moments a schedule or a warmup had "
        f"counted {counted[-1]:,}: it counts microbatches, and ends "
        f"{number(counted[-1] / updates[-1])} times as early as its steps say.",
        "Put it inside the accumulation, as in optax.MultiSteps(optax.chain("
        "optimizer, scale_by_warmup(factor)), k), or make it that much longer.",
    )


RULES = (rate_unknown, rate_estimated, climbing, schedule_ahead)
