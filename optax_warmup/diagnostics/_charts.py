"""The charts of a record: curves of all runs over the number of updates.

`CHARTS` is the table of them. `charts` fills it with the runs at hand.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from optax_warmup._drawing.numbers import number, percent
from optax_warmup._drawing.panel import Chart, Line, Mark
from optax_warmup.diagnostics._evidence import Evidence
from optax_warmup.diagnostics._history import MomentHistory
from optax_warmup.diagnostics._rules.gradients import spike_threshold

Curve: TypeAlias = tuple[np.ndarray, np.ndarray]  # number of updates, value

_POINTS = 400  # of a loss curve; a panel has no more columns of pixels


def _no_references(runs: Sequence[Evidence], last: float) -> list[Line]:
    return []


@dataclass(frozen=True)
class ChartSpec:
    """One chart: where its curves come from.

    Attributes:
        key, title, caption, include: as in `Chart`.
        curve: the curve of a run.
        references: the reference lines, given the runs and the largest x.
        dots: more values of a run, drawn as dots; None where there are none.
        mark: what to write at the first record at the peak rate; None for no mark.
        log: whether the y axis is logarithmic, given the curves' values.
        always: whether the chart is there even with nothing to draw.
    """

    key: str
    title: str
    caption: str
    curve: Callable[[Evidence], Curve]
    references: Callable[[Sequence[Evidence], float], list[Line]] = _no_references
    dots: Callable[[Evidence], np.ndarray | None] = lambda e: None
    mark: Callable[[Evidence, int], str] | None = None
    log: Callable[[Sequence[np.ndarray]], bool] = lambda values: True
    include: Callable[[bool], tuple[float, float] | None] = lambda log: None
    always: bool = False


def charts(
    runs: Mapping[str, MomentHistory], losses: Mapping[str, Mapping[int, float]]
) -> list[Chart]:
    """Returns the charts that have something to show, with a curve for each run."""
    evidence = [Evidence(h, losses.get(n, {}), None) for n, h in runs.items()]
    names = list(runs) if len(runs) > 1 else [""]
    built = [build(spec, names, evidence) for spec in CHARTS]
    return [chart for chart in built if chart is not None]


def build(
    spec: ChartSpec, names: Sequence[str], runs: Sequence[Evidence]
) -> Chart | None:
    """Fills one chart; None where no run has anything to show in it."""
    curves = [
        Line(*spec.curve(e), run, name)
        for run, (e, name) in enumerate(zip(runs, names, strict=True))
    ]
    log = spec.log([line.y for line in curves])
    shown = any(np.any(line.y > 0 if log else np.isfinite(line.y)) for line in curves)
    if not (shown or spec.always):
        return None
    last = max((line.x[-1] for line in curves if len(line.x)), default=2.0)
    return Chart(
        spec.key,
        spec.title,
        spec.caption,
        [*spec.references(runs, last), *_dots(spec, runs), *curves],
        _marks(spec, runs, curves),
        log=log,
        include=spec.include(log),
    )


def _dots(spec: ChartSpec, runs: Sequence[Evidence]) -> list[Line]:
    found = [(run, _updates(e), spec.dots(e)) for run, e in enumerate(runs)]
    return [Line(x, y, run, dots=True) for run, x, y in found if y is not None]


def _marks(
    spec: ChartSpec, runs: Sequence[Evidence], curves: Sequence[Line]
) -> list[Mark]:
    """Returns a dot on each curve where the rate first reaches its peak."""
    if spec.mark is None:
        return []
    marks = []
    for run, (e, line) in enumerate(zip(runs, curves, strict=True)):
        row = e.peak_row
        if row is not None and np.isfinite(line.y[row]):
            falls = bool((line.y[row + 1 : row + 2] <= line.y[row]).any())
            words = spec.mark(e, row)
            marks.append(Mark(line.x[row], line.y[row], run, words, falls))
    return marks


# Where curves come from.


def _updates(e: Evidence) -> np.ndarray:
    return e.history.steps + 1.0


def _field(name: str) -> Callable[[Evidence], Curve]:
    """The curve of an attribute of the history."""
    return lambda e: (_updates(e), getattr(e.history, name))


def _statistic(name: str) -> Callable[[Evidence], Curve]:
    """The curve of a statistic over all groups, NaN where it was not recorded."""
    missing = np.nan
    return lambda e: (
        _updates(e),
        e.history.overall.get(name, np.full(len(e.history.steps), missing)),
    )


def _sharpness(e: Evidence) -> Curve:
    return e.history.sharpness_steps + 1.0, e.stability_ratio


def _loss(e: Evidence) -> Curve:
    x = np.array(list(e.losses), np.float64) + 1
    return thin_out(x, np.array(list(e.losses.values()), np.float64))


def thin_out(x: np.ndarray, y: np.ndarray, most: int = _POINTS) -> Curve:
    """Averages a curve over equal steps of log(x), down to `most` points."""
    if len(x) <= most:
        return x, y
    bins = np.minimum((np.log(x) / np.log(x[-1]) * most).astype(int), most - 1)
    finite = np.isfinite(y)
    total = np.bincount(bins, np.where(finite, y, 0), most)
    count = np.bincount(bins, finite, most)
    members = np.bincount(bins, minlength=most)
    used = members > 0
    place = np.bincount(bins, x, most)[used] / members[used]
    with np.errstate(invalid="ignore"):
        return place, (total / count)[used]


def _largest_group(e: Evidence) -> np.ndarray | None:
    """The normalized gradient RMS of the group where it is largest."""
    values = e.by_group("normalized_gradient_rms")
    if values is None or not e.history.sizes.any():
        return None
    largest: np.ndarray = values[:, e.history.sizes > 0].max(axis=1)
    return largest


# Reference lines.


def _level(y: float, label: str) -> Callable[[Sequence[Evidence], float], list[Line]]:
    return lambda runs, last: [_horizontal(y, label, last)]


def _horizontal(y: float, label: str, last: float) -> Line:
    return Line(np.array([1.0, last]), np.array([y, y]), None, label)


def _most_samples(runs: Sequence[Evidence], last: float) -> list[Line]:
    ceilings = sorted({e.most_samples for e in runs})
    return [_horizontal(c, f"most: {number(c)}", last) for c in ceilings]


def _longest_of_each(
    runs: Sequence[Evidence], kind: Callable[[Evidence], object]
) -> list[Evidence]:
    """The longest run of each kind of optimizer: one reference for all of a kind."""
    by_length = sorted(runs, key=lambda e: len(e.history.steps))
    return list({kind(e): e for e in by_length}.values())


def _pure_noise(runs: Sequence[Evidence], last: float) -> list[Line]:
    kinds = _longest_of_each(runs, lambda e: (e.history.b1, e.history.corrected))
    return [Line(_updates(e), e.history.noise_rms, None, "noise") for e in kinds]


def _spike_thresholds(runs: Sequence[Evidence], last: float) -> list[Line]:
    kinds = _longest_of_each(runs, lambda e: e.history.b2)
    return [
        Line(_updates(e), spike_threshold(e.history.b2, _updates(e)), None, "spike")
        for e in kinds
    ]


# Words at the peak.


def _sample_size(e: Evidence, row: int) -> str:
    size, error = e.history.effective_sample_size[row], e.history.relative_error[row]
    return f"{size:,.0f}, ±{percent(error)}"


def _ratio(e: Evidence, row: int) -> str:
    return percent(e.history.overall["update_to_weight"][row])


# Axes.


def _spans(factor: float) -> Callable[[Sequence[np.ndarray]], bool]:
    """Logarithmic if all values are positive and their range exceeds a factor."""

    def decide(values: Sequence[np.ndarray]) -> bool:
        every = np.concatenate([v[np.isfinite(v)] for v in values])
        if not every.size:
            return False
        return bool(every.min() > 0 and every.max() > factor * every.min())

    return decide


def _peaks_span(factor: float) -> Callable[[Sequence[np.ndarray]], bool]:
    """Logarithmic if the runs' greatest values differ by more than a factor."""
    decide = _spans(factor)
    return lambda values: decide(
        [np.array([np.nanmax(v)]) for v in values if (v > 0).any()] or [np.empty(0)]
    )


CHARTS = (
    ChartSpec(
        "loss",
        "Loss",
        "The training loss before each update.",
        _loss,
        log=_spans(20),
    ),
    ChartSpec(
        "learning_rate",
        "Learning rate",
        "The learning rate of each update. A dot marks the first recorded update at "
        "the peak.",
        _field("learning_rate"),
        mark=lambda e, row: "",
        log=_peaks_span(10),
        include=lambda log: None if log else (0.0, 0.0),
    ),
    ChartSpec(
        "warmup_factor",
        "Automatic warmup factor",
        "What each update is multiplied by; 1 is the schedule's own rate.",
        _field("warmup_factor"),
    ),
    ChartSpec(
        "coherence",
        "Gradient coherence",
        "How much successive gradients agree: 1 in pure noise, more where they agree. "
        "Well below 1, where each reverses the one before, the factor stops growing.",
        _field("coherence"),
        references=_level(1.0, "noise"),
    ),
    ChartSpec(
        "effective_sample_size",
        "Effective sample size of nu",
        "How many independent gradients nu_hat averages. At the peak rate: its value "
        "and the relative standard error of nu_hat.",
        _field("effective_sample_size"),
        references=_most_samples,
        mark=_sample_size,
        always=True,
    ),
    ChartSpec(
        "update_rms",
        "Update RMS before the learning rate",
        "RMS of mu_hat / sqrt(nu_hat): 1 where all gradients agree. Dashed: its value "
        "in pure noise.",
        _statistic("update_rms"),
        references=_pure_noise,
        always=True,
    ),
    ChartSpec(
        "normalized_gradient_rms",
        "Normalized gradient RMS",
        "RMS of g / sqrt(nu_hat): about 1, and larger where gradients grow faster than "
        "nu follows. Dots: the group with the largest.",
        _statistic("normalized_gradient_rms"),
        references=_spike_thresholds,
        dots=_largest_group,
    ),
    ChartSpec(
        "update_to_weight",
        "Update-to-weight ratio",
        "RMS of an update over RMS of the weights; 0.1% is typical.",
        _statistic("update_to_weight"),
        mark=_ratio,
    ),
    ChartSpec(
        "sharpness",
        "Sharpness over its stability threshold",
        "The measured preconditioned sharpness, as a multiple of the stability "
        "threshold at the learning rate. Above 1, full-batch training is unstable.",
        _sharpness,
        references=_level(1.0, "threshold"),
    ),
    ChartSpec(
        "alignment",
        "Gradient alignment",
        "Cosine between a gradient and the step before. Positive: the loss still falls "
        "in that direction. Strongly negative: the steps go back and forth.",
        _statistic("alignment"),
        references=_level(0.0, ""),
        log=lambda values: False,
        include=lambda log: (-0.5, 0.5),
    ),
)
