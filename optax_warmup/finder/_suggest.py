"""Rules that read a peak rate off the curve of a range test."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from optax_warmup.finder._curve import RateCurve, noise, smoothed, time_constant

_NOISE = 4.5  # standard errors of the smoothed loss by which it must fall
_START = 0.1  # of the test, whose median is the loss at its start
_WINDOW = 0.06  # of the test: the width of a slope
_AGREE = 0.1  # of the fall per window: slopes that differ by less are alike


class Suggestion(NamedTuple):
    """The rate that a rule suggests.

    Attributes:
        rate: the suggested peak rate; NaN if the rule cannot tell.
        caveat: what to know about the rule, or why it cannot tell.

    Example:
        >>> import optax_warmup as ow
        >>> ow.finder.Suggestion(3e-3, "the loss is still falling here").rate
        0.003
    """

    rate: float
    caveat: str


class Suggestions(NamedTuple):
    """The rates that four rules suggest for one curve.

    Attributes:
        steepest: where the loss falls fastest over the logarithm of the rate.
        valley: two thirds down the longest descent.
        minimum: a tenth of the rate with the lowest loss.
        sliding: the last rate before the slope changes for the divergence.

    Example:
        >>> import numpy as np, optax_warmup as ow
        >>> rates = np.geomspace(1e-5, 10, 200)
        >>> losses = 4 - 2 / (1 + (1e-2 / rates)) + rates**2
        >>> found = ow.finder.suggest(ow.finder.RateCurve(rates, losses))
        >>> 1e-3 < found.steepest.rate < 1e-1, found.rate == found.minimum.rate
        (True, True)
    """

    steepest: Suggestion
    valley: Suggestion
    minimum: Suggestion
    sliding: Suggestion

    @property
    def rate(self) -> float:
        """The suggestion of the default rule, `minimum`."""
        return self.minimum.rate


class _Course(NamedTuple):
    """The part of a curve that the rules look at: from its start to its minimum."""

    logs: np.ndarray  # of the rates
    losses: np.ndarray  # smoothed
    lowest: int
    window: int
    ends: bool  # whether the lowest loss is that of the last update


def suggest(curve: RateCurve) -> Suggestions:
    """Suggests peak rates by four rules.

    The rules look at the smoothed loss (see `RateCurve.smoothed`), and at its fall
    only: a loss that is high at first, or a single spike, does not count. If the loss
    does not fall by more than its noise, no rule suggests a rate.

    A range test sees some hundred updates from the start of training, without warmup
    and decay. A suggestion is the middle of a sweep, not its result.

    Args:
        curve: from `find_rate` or `load_curve`.

    Returns:
        `Suggestions`.

    Raises:
        TypeError: `curve` is not a `RateCurve`.

    Example:
        >>> import numpy as np, optax_warmup as ow
        >>> flat = ow.finder.RateCurve(np.geomspace(1e-5, 1, 100), np.full(100, 2.3))
        >>> ow.finder.suggest(flat).steepest
        Suggestion(rate=nan, caveat='the loss does not fall: raise max_value, ...')

    Source: L. N. Smith, "Cyclical Learning Rates for Training Neural Networks", 2017,
    arXiv:1506.01186, section 3.3 (the test); the rules are those of fastai's `lr_find`.
    """
    require_curve("suggest", curve)
    course = _course(curve)
    if isinstance(course, str):
        return Suggestions(*(Suggestion(np.nan, course),) * 4)
    rules: tuple[Callable[[_Course], Suggestion], ...] = (
        _steepest,
        _valley,
        _minimum,
        _sliding,
    )
    return Suggestions(*(rule(course) for rule in rules))


def require_curve(owner: str, curve: object) -> None:
    """Refuses what is not a curve."""
    if not isinstance(curve, RateCurve):
        raise TypeError(
            f"{owner}: curve must be a RateCurve, which find_rate returns, got "
            f"{type(curve).__name__}."
        )


def _course(curve: RateCurve) -> _Course | str:
    """Returns the part to look at, or in words why there is none."""
    smooth = curve.smoothed
    finite = np.isfinite(smooth)
    known = len(smooth) if finite.all() else int((~finite).argmax())
    if known < 2:
        return (
            "the loss is not finite from the start: look at the data, the parameters "
            "and min_value."
        )
    if known < 5:
        return f"the loss is finite for {known} updates only: lower min_value."
    raw, updates = curve.mean[:known], time_constant(len(smooth))
    spread = noise(raw)
    lowest = int(smooth[:known].argmin())
    first = min(lowest + 1, max(5, round(_START * len(smooth))))
    start = float(np.median(raw[:first]))
    # A spike at the start is no height to fall from.
    raw[:lowest] = np.minimum(raw[:lowest], start + 3 * spread)
    losses = smoothed(raw, updates)
    lowest, error = int(losses.argmin()), spread / (2 * updates) ** 0.5
    if start - losses[lowest] <= max(_NOISE * error, 1e-9 * abs(start)):
        reason = "lower min_value" if curve.diverged else "raise max_value"
        return f"the loss does not fall: {reason}, or take more steps."
    logs = np.log(curve.rates[:known])
    window = max(2, round(_WINDOW * len(smooth)))
    return _Course(logs, losses, lowest, window, lowest >= known - 1 - window // 2)


def _steepest(course: _Course) -> Suggestion:
    slopes = _slopes(course)
    at = int(slopes[: course.lowest + 1].argmin())
    return _suggestion(
        course, at, "where the loss falls fastest; usually below the best peak"
    )


def _valley(course: _Course) -> Suggestion:
    """Follows the longest sequence of falling losses, which skips rises."""
    losses = course.losses[: course.lowest + 1]
    length = np.ones(len(losses), int)
    before = np.full(len(losses), -1)
    for i in range(1, len(losses)):
        higher = np.where(losses[:i] > losses[i], length[:i], 0)
        j = int(higher.argmax())
        if higher[j]:
            length[i], before[i] = higher[j] + 1, j
    path = [int(length.argmax())]
    while before[path[-1]] >= 0:
        path.append(int(before[path[-1]]))
    first, last = path[-1], path[0]
    at = round(first + (last - first) * 2 / 3)
    return _suggestion(course, at, "two thirds down the longest descent")


def _minimum(course: _Course) -> Suggestion:
    if course.ends:
        return Suggestion(
            np.nan, "the lowest loss is the last one: raise max_value until it rises."
        )
    rate = float(np.exp(course.logs[course.lowest]) / 10)
    return Suggestion(
        rate, "a tenth of the rate of the lowest loss; lower if the test is longer"
    )


def _sliding(course: _Course) -> Suggestion:
    """Slides a window down from the divergence until the slopes at its ends agree."""
    if course.ends:
        return Suggestion(
            np.nan, "the loss does not diverge: raise max_value until it does."
        )
    slopes, width = _slopes(course), 2 * course.window
    fall = course.losses[: course.lowest + 1].max() - course.losses[course.lowest]
    alike = _AGREE * fall / (course.logs[course.window] - course.logs[0])
    right = len(slopes) - 1
    while right - width > 0 and abs(slopes[right] - slopes[right - width]) > alike:
        right -= 1
    return _suggestion(
        course, max(right - width, 0), "before the slope changes for the divergence"
    )


def _slopes(course: _Course) -> np.ndarray:
    """The slope over the logarithm of the rate, of a line through a window."""
    half = course.window // 2 + 1
    found = np.empty(len(course.losses))
    for i in range(len(found)):
        part = slice(max(0, i - half), i + half + 1)
        x, y = course.logs[part], course.losses[part]
        x = x - x.mean()
        found[i] = (x @ y) / (x @ x)
    return found


def _suggestion(course: _Course, at: int, caveat: str) -> Suggestion:
    if course.ends:
        caveat += "; the loss does not rise again, so a higher rate may do"
    return Suggestion(float(np.exp(course.logs[at])), caveat)
