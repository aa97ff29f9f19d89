"""Ranks schedules under a fitted law, and chooses the length of a cooldown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from optax_warmup import _check, shapes
from optax_warmup._drawing import notebook
from optax_warmup._drawing.numbers import number
from optax_warmup._schedules.schedule import Schedule, ScheduleLike
from optax_warmup._schedules.warmup import cooldown
from optax_warmup.loss_laws import _formula as formula
from optax_warmup.loss_laws._law import ERROR_OF_DIFFERENCES, LossLaw
from optax_warmup.shapes._shape import ShapeLike

_FRACTIONS = (0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
_PEAKS = 1.25  # how far a peak may lie outside of the fitted ones


class RankedSchedule(NamedTuple):
    """A schedule and what a law says about it.

    Attributes:
        name: its name among the candidates; its `repr` if they have no names.
        schedule: the schedule.
        loss: the predicted loss at the end.
        behind: how much higher that is than the best candidate's.
        standard_error: the standard error of `behind`: twice the spread of the refits,
            since the law's errors on public runs were that large.
        tied: whether the data cannot tell that it is not the best: `behind` is at most
            twice its standard error.
        extrapolation: its sum of rates over the largest one of the fitted runs.

    Example:
        >>> import optax_warmup as ow
        >>> one = ow.constant(1e-3)
        >>> ow.loss_laws.RankedSchedule("a", one, 3.1, 0.0, 0.0, True, 2.0).loss
        3.1
    """

    name: str
    schedule: Schedule
    loss: float
    behind: float
    standard_error: float
    tied: bool
    extrapolation: float


class Ranking(list[RankedSchedule]):
    """What `rank` returns: a list that a notebook shows as a table."""

    @notebook.never_raises
    def _repr_html_(self) -> str:
        head = ["name", "loss", "behind", "standard error", "tied", "extrapolation"]
        rows = [
            [
                each.name,
                number(each.loss, 4),
                number(each.behind, 2),
                number(each.standard_error, 2),
                "yes" if each.tied else "no",
                number(each.extrapolation, 2),
            ]
            for each in self
        ]
        return notebook.output(notebook.table(head, rows))


def rank(
    law: LossLaw,
    candidates: Mapping[str, ScheduleLike] | Sequence[ScheduleLike],
    steps: int,
) -> list[RankedSchedule]:
    """Ranks schedules for a run of `steps` updates by the loss that a law predicts.

    behind = loss - loss of the best
    tied = behind <= 2 standard_error

    Args:
        law: from `fit_loss_law`, of runs with the same peak rate as the candidates.
        candidates: schedules by name, or a list of them.
        steps: the length of the run in updates, >= 1.

    Returns:
        A list of `RankedSchedule`, best first. A notebook shows a table.

    Raises:
        TypeError: an argument has a wrong type.
        ValueError: there is no candidate, or one has a peak rate that is more than 25 %
            outside of the fitted ones: the law does not carry over to other peaks.

    Example:
        >>> import optax_warmup as ow
        >>> law = ow.loss_laws.LossLaw(3.04, 0.525, 0.508, 364.0, 2.07, 0.583, 0.641)
        >>> found = ow.loss_laws.rank(law, {
        ...     "constant": ow.warmup_constant(3e-4, 1000),
        ...     "linear": ow.warmup_linear(3e-4, 1000, 20_000),
        ... }, steps=20_000)
        >>> [(each.name, round(each.loss, 2)) for each in found]
        [('linear', 3.35), ('constant', 3.36)]
    """
    _require_law("rank", law)
    total = _check.count("rank", "steps", steps, minimum=1)
    named = _named(candidates)
    for name, schedule in named.items():
        _require_peak("rank", law, name, schedule, total)
    paths = [
        formula.path(formula.rates_of(schedule, total), np.array([total]))
        for schedule in named.values()
    ]
    losses = np.array([formula.loss(law.constants, path)[0] for path in paths])
    best = int(losses.argmin())
    refits = [formula.Constants(*each) for each in law.refits]
    several = np.array([[formula.loss(c, p)[0] for p in paths] for c in refits])
    several = several.reshape(len(refits), len(paths))
    spread = (several - several[:, [best]]).std(axis=0) if len(refits) else 0 * losses
    errors, behind = ERROR_OF_DIFFERENCES * spread, losses - losses[best]
    found = [
        RankedSchedule(
            name,
            schedule,
            loss=float(losses[i]),
            behind=float(behind[i]),
            standard_error=float(errors[i]),
            tied=bool(behind[i] <= 2 * errors[i]),
            extrapolation=float(law.extrapolation(schedule, total)),
        )
        for i, (name, schedule) in enumerate(named.items())
    ]
    return Ranking(sorted(found, key=lambda each: each.loss))


class Cooldown(NamedTuple):
    """The cooldown that a law chooses.

    Attributes:
        fraction: its share of the run.
        steps: its length in updates.
        schedule: the schedule with that cooldown, ready to be used.
        ranked: all lengths that were compared, best first, by their share.

    Example:
        >>> import optax_warmup as ow
        >>> law = ow.loss_laws.LossLaw(3.04, 0.525, 0.508, 364.0, 2.07, 0.583, 0.641)
        >>> ow.loss_laws.best_cooldown(law, 3e-4, 20_000).fraction > 0.1
        True
    """

    fraction: float
    steps: int
    schedule: Schedule
    ranked: list[RankedSchedule]


def best_cooldown(
    law: LossLaw,
    schedule: ScheduleLike,
    steps: int,
    *,
    fractions: Sequence[float] = _FRACTIONS,
    end_value: float = 0.0,
    shape: ShapeLike = shapes.linear,
) -> Cooldown:
    """Chooses the length of the cooldown at the end of a run.

    Args:
        law: from `fit_loss_law`.
        schedule: what runs until the cooldown begins, such as
            `warmup_constant(peak_value, warmup_steps)`.
        steps: the length of the run in updates, >= 2.
        fractions: the shares of the run that are compared, in (0, 1]. A cooldown begins
            behind the warmup: where a share reaches into it, the rest of the run
            after the warmup takes its place.
        end_value: the rate at the end.
        shape: the shape of the cooldown.

    Returns:
        A `Cooldown`.

    Raises:
        TypeError: an argument has a wrong type.
        ValueError: a fraction is not in (0, 1], the run ends within the warmup, or the
            peak of the schedule lies outside of the fitted ones; see `rank`.

    Example:
        >>> import optax_warmup as ow
        >>> law = ow.loss_laws.LossLaw(3.04, 0.525, 0.508, 364.0, 2.07, 0.583, 0.641)
        >>> base = ow.warmup_constant(3e-4, 1000)
        >>> best = ow.loss_laws.best_cooldown(law, base, 20_000, fractions=(0.2, 0.6))
        >>> best.fraction, best.schedule
        (0.2, cooldown(warmup(constant(0.0003), steps=1000), begin=16000, steps=4000))
    """
    _require_law("best_cooldown", law)
    total = _check.count("best_cooldown", "steps", steps, minimum=2)
    base = formula.one_schedule(schedule, "best_cooldown", "schedule")
    end_value = _check.scalar("best_cooldown", "end_value", end_value, minimum=0.0)
    rates = formula.rates_of(base, total)
    if rates.peak <= 0:
        raise ValueError(
            f"best_cooldown: schedule must be above 0 somewhere, got {schedule!r}."
        )
    longest = total - rates.top  # a cooldown begins behind the warmup
    if longest < 1:
        raise ValueError(
            f"best_cooldown: steps={total} ends within the warmup of {schedule!r}: "
            f"nothing is left to cool down. Give more steps, or a shorter warmup."
        )
    lengths: dict[str, int] = {}
    for each in _shares(fractions):
        share = _check.scalar(
            "best_cooldown", "fractions", each, above=0.0, maximum=1.0
        )
        length = max(1, round(share * total))
        if length > longest:
            length, share = longest, float(f"{longest / total:.3g}")
        lengths[f"{100 * share:g} %"] = length
    candidates: dict[str, Any] = {
        name: cooldown(base, total - length, length, end_value=end_value, shape=shape)
        for name, length in lengths.items()
    }
    ranked = rank(law, candidates, total)
    length = lengths[ranked[0].name]
    return Cooldown(length / total, length, ranked[0].schedule, ranked)


def _shares(fractions: Any) -> list[Any]:
    if isinstance(fractions, np.ndarray) and fractions.ndim == 1:
        fractions = fractions.tolist()
    if not isinstance(fractions, list | tuple) or not fractions:
        raise ValueError(
            f"best_cooldown: fractions must be a list of shares of the run, got "
            f"{fractions!r}; leave it out for usual ones."
        )
    return list(fractions)


def _named(candidates: Any) -> dict[str, Schedule]:
    if isinstance(candidates, Mapping):
        named = {
            name: formula.one_schedule(each, "rank", f"candidates[{name!r}]")
            for name, each in candidates.items()
        }
    elif isinstance(candidates, list | tuple):
        schedules = [
            formula.one_schedule(each, "rank", f"candidates[{i}]")
            for i, each in enumerate(candidates)
        ]
        named = {repr(each): each for each in schedules}
    else:
        raise TypeError(
            f"rank: candidates must be a mapping of names to schedules or a list of "
            f"schedules, got {type(candidates).__name__}."
        )
    if not named:
        raise ValueError("rank: candidates must hold at least one schedule, got none.")
    return named


def _require_law(owner: str, law: Any) -> None:
    if not isinstance(law, LossLaw):
        raise TypeError(
            f"{owner}: law must be a LossLaw, which fit_loss_law returns, got "
            f"{type(law).__name__}."
        )


def _require_peak(
    owner: str, law: LossLaw, name: str, schedule: Schedule, steps: int
) -> None:
    peak = formula.rates_of(schedule, steps).peak
    if peak <= 0:
        raise ValueError(
            f"{owner}: candidates must be above 0 somewhere, {name!r} is 0 for "
            f"{steps:,} updates."
        )
    if law.fitted is None:
        return
    low, high = law.fitted.lowest_peak, law.fitted.highest_peak
    if not low / _PEAKS <= peak <= high * _PEAKS:
        fitted = f"{low:.3g}" if low == high else f"{low:.3g} to {high:.3g}"
        raise ValueError(
            f"{owner}: the peak of {name!r} must be near those that the law was fitted "
            f"to, {fitted}, got {peak:.3g}; the law does not carry over to other "
            "peaks. Fit it to short runs at this peak."
        )
