"""Rules about the peak learning rate: whether it is too high."""

from collections.abc import Iterator

import numpy as np

from optax_warmup._drawing.numbers import number, percent
from optax_warmup.diagnostics._advice import Advice
from optax_warmup.diagnostics._evidence import Evidence, mean

_NEGATIVE, _WINDOW = -0.4, 8  # mean alignment over some rows; healthy runs reach -0.3
_LOWER = (
    "If the loss has stopped falling, lower the peak rate, or warm up longer: the "
    "network then moves to where the loss is less curved."
)


def updates_large(e: Evidence) -> Iterator[Advice]:
    """updates-large."""
    moved = e.overall("update_to_weight")
    rows = np.flatnonzero(e.at_peak)[:8]
    if moved is None or not len(rows) or not np.median(moved[rows]) > 0.01:
        return
    typical = float(np.median(moved[rows]))
    ratios = np.median(e.history.statistics["update_to_weight"][rows], axis=0)
    sizes = e.history.statistics["parameter_rms"][rows].min(axis=0)
    high = (ratios > 0.01) & (sizes > 1e-3)  # weights that start at 0 do not count
    yield Advice(
        "updates-large",
        "warning" if typical > 0.03 else "note",
        f"At the peak rate of {number(e.peak)} {_size(typical)}.",
        "Lower the peak rate, or reach it later." if typical > 0.03 else "",
        groups=e.names(high),
        steps=e.steps_of(rows),
    )


def _size(update_to_weight: float) -> str:
    """How large an update was, in words."""
    if not np.isfinite(update_to_weight):
        return "updates started from weights that were all zero"
    return (
        f"the RMS of an update was {percent(update_to_weight)} of that of the weights, "
        f"which rewrites them within {1 / update_to_weight:,.0f} updates; 0.1% is "
        "typical"
    )


def beyond_stability(e: Evidence) -> Iterator[Advice]:
    """beyond-stability: by the measured sharpness, or else by oscillation."""
    advice = _sharpness_above_threshold(e) or _oscillation(e)
    if advice is not None:
        yield advice


def _settled(e: Evidence) -> np.ndarray:
    """Returns where the sharpness may be compared with its threshold, shape (S,).

    The threshold is that of a steady state, which momentum takes 1 / (1 - b1) updates
    to reach.
    """
    settled: np.ndarray = e.history.sharpness_steps * (1 - e.history.b1) >= 1
    return settled


def _sharpness_above_threshold(e: Evidence) -> Advice | None:
    settled = _settled(e)
    above = settled & (e.stability_ratio > 1)
    if not above.any():
        return None
    worst = int(np.argmax(np.where(above, e.stability_ratio, 0)))
    return Advice(
        "beyond-stability",
        "warning",
        f"At step {e.history.sharpness_steps[worst]:,} the preconditioned sharpness "
        f"was {number(e.history.sharpness[worst])}, which is "
        f"{number(e.stability_ratio[worst])} times the stability threshold at that "
        f"learning rate. It was above the threshold at {above.sum()} of the "
        f"{settled.sum()} steps at which it was measured.",
        _LOWER,
        steps=tuple(int(step) for step in e.history.sharpness_steps[above]),
    )


def _oscillation(e: Evidence) -> Advice | None:
    alignment = e.overall("alignment")
    if alignment is None:
        return None
    rows = np.flatnonzero(e.at_peak & np.isfinite(alignment))
    negative = negative_stretch(alignment[rows])
    if negative is None:
        return None
    rows = rows[negative]
    by_group = mean(e.history.statistics["alignment"][rows])
    ratios = e.stability_ratio[_settled(e)]
    measured = (
        f" (The measured sharpness, though, was {number(np.nanmax(ratios))} times the "
        f"stability threshold at most.)"
        if np.isfinite(ratios).any()
        else ""
    )
    return Advice(
        "beyond-stability",
        "warning",
        f"From step {e.history.steps[rows[0]]:,} to {e.history.steps[rows[-1]]:,}, at "
        f"the peak rate of {number(e.peak)}, the gradient pointed against the step "
        f"before in {percent(float(np.mean(alignment[rows] < 0)))} of {len(rows)} "
        f"records (alignment {np.mean(alignment[rows]):.2f}): the steps go back and "
        f"forth, as they do at a learning rate at or beyond the edge of "
        f"stability.{measured}",
        _LOWER,
        groups=e.names(by_group < _NEGATIVE),
        steps=e.steps_of(rows),
    )


def negative_stretch(
    alignment: np.ndarray, window: int = _WINDOW, limit: float = _NEGATIVE
) -> slice | None:
    """Returns from the first to the last window of rows with negative alignment.

    In such a window the mean is below `limit` and more than 80% of the rows are
    negative. None if there is no such window.
    """
    if len(alignment) < window:
        return None
    windows = np.lib.stride_tricks.sliding_window_view(alignment, window)
    negative = (windows.mean(axis=1) < limit) & ((windows < 0).mean(axis=1) > 0.8)
    found = np.flatnonzero(negative)
    return slice(int(found[0]), int(found[-1]) + window) if len(found) else None


RULES = (beyond_stability, updates_large)
