"""The charts of a record: curves of all runs over the step.

`CHARTS`, at the end, is the table of them.
"""

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from optax_warmup._drawing.numbers import number, percent
from optax_warmup._drawing.panel import Chart, Line
from optax_warmup.diagnostics import _loss_curves as loss_curves
from optax_warmup.diagnostics._chart_spec import ChartSpec, Curve, build, steps
from optax_warmup.diagnostics._evidence import Evidence
from optax_warmup.diagnostics._forecast import Forecast
from optax_warmup.diagnostics._history import MomentHistory
from optax_warmup.diagnostics._noise_scale import most_batches
from optax_warmup.diagnostics._rules.gradients import spike_threshold


def charts(
    runs: Mapping[str, MomentHistory],
    losses: Mapping[str, Mapping[int, float]],
    forecasts: Mapping[str, Forecast] | None = None,
) -> list[Chart]:
    """Returns the charts that have something to show, with a curve for each run."""
    evidence = [Evidence(h, losses.get(n, {}), None) for n, h in runs.items()]
    names = list(runs) if len(runs) > 1 else [""]
    built = [build(spec, names, evidence) for spec in CHARTS]
    found = [chart for chart in built if chart is not None]
    if forecasts:
        found.insert(1, _expected(evidence, list(runs), names, forecasts))
    return found


def _expected(
    evidence: Sequence[Evidence],
    runs: Sequence[str],
    labels: Sequence[str],
    forecasts: Mapping[str, Forecast],
) -> Chart:
    """The loss of some runs, and what their rest is expected to do."""
    first = min(forecast.steps[0] for forecast in forecasts.values()) // 4
    lines, edges = [], []
    for name, (future, loss, low, high) in forecasts.items():
        run = runs.index(name)
        x, y = _mean_loss(evidence[run])
        late = x >= first
        lines.append(Line(x[late], y[late], run, labels[run], says="mean"))
        lines.append(Line(future, loss, run, band=(low, high), says="expected"))
        edges += [low.min(), high.max()]
    return Chart(
        "expected",
        "Loss, and the rest of the run",
        "Dashed, in its band: what a loss law expects.",
        lines,
        log=False,
        include=(float(min(edges)), float(max(edges))),
        first=float(first),
    )


# Where curves come from.


def _field(name: str) -> Callable[[Evidence], Curve]:
    """The curve of an attribute of the history."""
    return lambda e: (steps(e), getattr(e.history, name))


def _statistic(name: str) -> Callable[[Evidence], Curve]:
    """The curve of a statistic over all groups, NaN where it was not recorded."""
    missing = np.nan
    return lambda e: (
        steps(e),
        e.history.overall.get(name, np.full(len(e.history.steps), missing)),
    )


def _sharpness(e: Evidence) -> Curve:
    return e.history.sharpness_steps.astype(np.float64), e.stability_ratio


def _mean_loss(e: Evidence) -> Curve:
    return loss_curves.smoothed(e.losses)


def _each_loss(e: Evidence) -> Curve:
    return loss_curves.raw(e.losses)


def _lost(e: Evidence) -> str:
    """Tells of losses that no curve can show."""
    steps = [step for step, loss in e.losses.items() if not math.isfinite(loss)]
    if not steps:
        return ""
    are = "loss is" if len(steps) == 1 else "losses are"
    return f"{len(steps):,} {are} not finite, the first at step {steps[0]:,}."


def _largest_group(e: Evidence) -> np.ndarray | None:
    """The normalized gradient RMS of the group where it is largest."""
    values = e.by_group("normalized_gradient_rms")
    if values is None or not e.history.sizes.any():
        return None
    largest: np.ndarray = values[:, e.history.sizes > 0].max(axis=1)
    return largest


def _noise_scale_bound(e: Evidence) -> np.ndarray | None:
    """The bound where there is no estimate, unless it says next to nothing."""
    scale, bound = e.overall("noise_scale"), e.overall("noise_scale_bound")
    if scale is None or bound is None:
        return None
    near = np.isnan(scale) & (bound < 10 * most_batches(e.history.b1))
    return np.where(near, bound, np.nan)


# Reference lines.


def _level(y: float, label: str) -> Callable[[Sequence[Evidence], float], list[Line]]:
    return lambda runs, last: [_horizontal(y, label, last)]


def _horizontal(y: float, label: str, last: float) -> Line:
    return Line(np.array([0.0, last]), np.array([y, y]), None, label)


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
    return [Line(steps(e), e.history.noise_rms, None, "noise") for e in kinds]


def _spike_thresholds(runs: Sequence[Evidence], last: float) -> list[Line]:
    kinds = _longest_of_each(runs, lambda e: e.history.b2)
    lines = []
    for e in kinds:
        label = "spike" if len(kinds) == 1 else f"spike, b2={e.history.b2:g}"
        values = spike_threshold(e.history.b2, steps(e) + 1)
        lines.append(Line(steps(e), values, None, label))
    return lines


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
        return bool(every.min() > 0 and every.max() / factor > every.min())

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
        "The training loss before each update, pale, and its mean over the last tenth "
        "of the steps so far.",
        _mean_loss,
        pale=_each_loss,
        says=("mean", ""),
        note=_lost,
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
        "The cosine between the descent direction of a gradient and the update before "
        "it. Above 0 the automatic factor rises, below 0, where the update went too "
        "far, it falls.",
        _field("coherence"),
        references=_level(0.0, "too far below"),
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
        says=("", "largest group"),
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
    ChartSpec(
        "noise_scale",
        "Gradient noise scale in batches",
        "The critical batch over the batch of the run, as the momentum shows it. Dots: "
        "an upper bound where it shows no more. Above 1, a larger batch needs clearly "
        "fewer updates.",
        _statistic("noise_scale"),
        references=_level(1.0, "the batch"),
        dots=_noise_scale_bound,
        says=("", "at most"),
    ),
)
