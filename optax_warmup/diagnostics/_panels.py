"""What the pictures of a record show, apart from how they are drawn.

figure.py draws these panels with matplotlib, svg.py for a page. Those that are maps of
one run are filled in heats.py.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from optax_warmup.diagnostics._evidence import Evidence
from optax_warmup.diagnostics._history import MomentHistory
from optax_warmup.diagnostics._rules.gradients import alarm
from optax_warmup.diagnostics._text import number, share

_POINTS = 400  # of a loss curve; a panel has no more columns of pixels


@dataclass(frozen=True, eq=False)
class Line:
    """A curve over the updates done. `run` picks its colour; None: a reference."""

    x: np.ndarray
    y: np.ndarray
    run: int | None
    label: str = ""
    dots: bool = False


@dataclass(frozen=True, eq=False)
class Mark:
    """A point with a few words."""

    x: float
    y: float
    run: int
    text: str


@dataclass(frozen=True, eq=False)
class Chart:
    """Curves of all runs. `floor` is the least top and bottom of a linear axis."""

    key: str
    title: str
    about: str
    lines: list[Line]
    marks: list[Mark] = field(default_factory=list)
    log: bool = True
    bounds: tuple[float, float] | None = None


@dataclass(frozen=True, eq=False)
class Heat:
    """Cells of one run, darker for more.

    Column t lies between x_edges[t] and x_edges[t + 1]; its row k between lower[t, k]
    and upper[t, k], on a log axis, or at the name rows[k].
    """

    key: str
    title: str
    about: str
    run: int
    x_edges: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    shade: np.ndarray  # (T, K) from 0 to 1, NaN: nothing
    lines: list[Line] = field(default_factory=list)
    rows: tuple[str, ...] = ()


def charts(
    runs: Mapping[str, MomentHistory], losses: Mapping[str, Mapping[int, float]]
) -> Iterator[Chart]:
    """The panels that all runs share; what no run has recorded is left out."""
    evidence = [Evidence(h, losses.get(n, {}), None) for n, h in runs.items()]
    names = list(runs) if len(runs) > 1 else [""]
    yield from _loss(names, [losses.get(name, {}) for name in runs])
    rates = [
        Line(_updates(e), e.history.learning_rate, i, names[i])
        for i, e in enumerate(evidence)
    ]
    if _any(rates):
        peaks = [e.peak for e in evidence if e.peak > 0]
        far_apart = bool(peaks) and max(peaks) > 10 * min(peaks)
        yield Chart(
            "learning_rate",
            "Learning rate",
            "Of each update. Dots: the first recorded update at the peak.",
            rates,
            _marks(evidence, lambda e: e.history.learning_rate, lambda e, r: ""),
            log=far_apart,
            bounds=None if far_apart else (0.0, 0.0),
        )
    yield from _automatic(names, evidence)
    yield _samples(names, evidence)
    yield _update(names, evidence)
    yield from _lag(names, evidence)
    moved = [_of(e, "update_to_weight", i, names[i]) for i, e in enumerate(evidence)]
    if any((line.y > 0).any() for line in moved):
        yield Chart(
            "update_to_weight",
            "Update / weights",
            "How much of the weights an update rewrites (RMS); 0.1 % is usual.",
            moved,
            _marks(
                evidence,
                lambda e: e.history.overall.get("update_to_weight"),
                lambda e, r: share(e.history.overall["update_to_weight"][r]),
            ),
        )
    edges = [
        Line(e.history.sharpness_steps + 1.0, e.edge, i, names[i])
        for i, e in enumerate(evidence)
    ]
    if _any(edges):
        yield Chart(
            "sharpness",
            "Sharpness against its edge",
            "The preconditioned sharpness where it was measured, as a share of what "
            "the rate allows: beyond 1 full-batch training is unstable.",
            [_flat(edges, 1.0, "edge"), *edges],
        )
    turned = [_of(e, "alignment", i, names[i]) for i, e in enumerate(evidence)]
    if _any(turned):
        yield Chart(
            "alignment",
            "Alignment",
            "New gradient against the step before. Above 0 the loss still falls along "
            "it; far below 0 the step overshot.",
            [_flat(turned, 0.0, ""), *turned],
            log=False,
            bounds=(-0.5, 0.5),
        )


def _updates(e: Evidence) -> np.ndarray:
    return e.history.steps + 1.0


def _of(e: Evidence, name: str, run: int, label: str) -> Line:
    values = e.history.overall.get(name, np.full(len(e.history.steps), np.nan))
    return Line(_updates(e), values, run, label)


def _any(lines: list[Line]) -> bool:
    return any(np.isfinite(line.y).any() for line in lines)


def _flat(lines: list[Line], y: float, label: str) -> Line:
    """A reference at one height, as long as the longest run."""
    last = max((line.x[-1] for line in lines if len(line.x)), default=2.0)
    return Line(np.array([1.0, last]), np.array([y, y]), None, label)


def _marks(
    evidence: list[Evidence],
    values: Callable[[Evidence], np.ndarray | None],
    text: Callable[[Evidence, int], str],
) -> list[Mark]:
    """A dot on each run's curve where its rate first reaches the peak."""
    marks = []
    for run, e in enumerate(evidence):
        row, y = e.peak_row, values(e)
        if row is not None and y is not None and np.isfinite(y[row]):
            marks.append(Mark(e.history.steps[row] + 1.0, y[row], run, text(e, row)))
    return marks


def _loss(names: list[str], losses: list[Mapping[int, float]]) -> Iterator[Chart]:
    lines = []
    for run, (name, loss) in enumerate(zip(names, losses, strict=True)):
        x = np.array(list(loss), np.float64) + 1
        y = np.array([loss[step] for step in loss], np.float64)
        lines.append(Line(*_thinned(x, y), run, name))
    if not _any(lines):
        return
    seen = np.concatenate([line.y[np.isfinite(line.y)] for line in lines])
    log = seen.min() > 0 and seen.max() > 20 * seen.min()
    yield Chart("loss", "Loss", "Before each update.", lines, log=bool(log))


def _thinned(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """At most `_POINTS` points: means of the finite losses in even steps of log(x)."""
    if len(x) <= _POINTS:
        return x, y
    bins = (np.log(x) / np.log(x[-1]) * _POINTS).astype(int)
    bins = np.minimum(bins, _POINTS - 1)
    finite = np.isfinite(y)
    total = np.bincount(bins, np.where(finite, y, 0), _POINTS)
    count = np.bincount(bins, finite, _POINTS)
    where = np.bincount(bins, x, _POINTS) / np.maximum(np.bincount(bins), 1)
    used = np.bincount(bins, minlength=_POINTS) > 0
    with np.errstate(invalid="ignore"):
        return where[used], (total / count)[used]


def _by_length(evidence: list[Evidence]) -> list[Evidence]:
    return sorted(evidence, key=lambda e: len(e.history.steps))


def _automatic(names: list[str], evidence: list[Evidence]) -> Iterator[Chart]:
    """What an automatic warmup decided, and by what."""
    factors, signs = (
        [Line(_updates(e), of(e.history), i, names[i]) for i, e in enumerate(evidence)]
        for of in (lambda h: h.warmup_factor, lambda h: h.coherence)
    )
    if _any(factors):
        yield Chart(
            "warmup_factor",
            "Automatic warmup",
            "What each update was multiplied by; 1 is the schedule's own rate.",
            factors,
        )
        yield Chart(
            "coherence",
            "Why it grew or held",
            "Whether successive gradients agree: 1 in noise, more where they do; well "
            "below 1, where each takes back the one before, the factor holds.",
            [_flat(signs, 1.0, "noise"), *signs],
        )


def _samples(names: list[str], evidence: list[Evidence]) -> Chart:
    lines = [
        Line(_updates(e), e.history.effective_sample_size, i, names[i])
        for i, e in enumerate(evidence)
    ]
    ceilings = {(1 + e.history.b2) / (1 - e.history.b2) for e in evidence}
    references = [_flat(lines, c, f"most: {number(c)}") for c in sorted(ceilings)]
    return Chart(
        "effective_sample_size",
        "How much nu knows",
        "How many gradients nu_hat is worth, and by how much each of its numbers is "
        "off, where the rate reaches its peak.",
        [*references, *lines],
        _marks(
            evidence,
            lambda e: e.history.effective_sample_size,
            lambda e, r: (
                f"{e.history.effective_sample_size[r]:,.0f}, "
                f"±{share(e.history.relative_error[r])}"
            ),
        ),
    )


def _update(names: list[str], evidence: list[Evidence]) -> Chart:
    # One reference for each kind of optimizer: that of its longest run.
    kinds = {(e.history.b1, e.history.corrected): e for e in _by_length(evidence)}
    noise = [
        Line(_updates(e), e.history.noise_rms, None, "noise") for e in kinds.values()
    ]
    lines = [_of(e, "update_rms", i, names[i]) for i, e in enumerate(evidence)]
    return Chart(
        "update_rms",
        "Update before the rate",
        "RMS of mu_hat / sqrt(nu_hat): 1 where all gradients agree, the dashed line in "
        "nothing but noise.",
        [*noise, *lines],
    )


def _lag(names: list[str], evidence: list[Evidence]) -> Iterator[Chart]:
    lines = [
        _of(e, "normalized_gradient_rms", i, names[i]) for i, e in enumerate(evidence)
    ]
    if not _any(lines):
        return
    worst = []
    for run, e in enumerate(evidence):
        if "normalized_gradient_rms" in e.history.statistics and e.history.sizes.any():
            lag = e.history.statistics["normalized_gradient_rms"][
                :, e.history.sizes > 0
            ]
            worst.append(Line(_updates(e), lag.max(axis=1), run, dots=True))
    kinds = {e.history.b2: e for e in _by_length(evidence)}
    alarms = [
        Line(_updates(e), alarm(b2, _updates(e)), None, "alarm")
        for b2, e in kinds.items()
    ]
    yield Chart(
        "normalized_gradient_rms",
        "Lag",
        "RMS of g / sqrt(nu_hat): 1 where nu fits the gradients. Dots: worst group.",
        [*alarms, *worst, *lines],
    )
