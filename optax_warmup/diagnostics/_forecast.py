"""What the rest of a run is expected to do: a curve with a band for the report."""

from collections.abc import Mapping
from typing import Any, NamedTuple, TypeAlias

import numpy as np


class Forecast(NamedTuple):
    """The losses that are expected of a run, such as `LossLaw.forecast` returns.

    Attributes:
        steps: numbers of updates, increasing; shape (points,).
        loss: the expected losses.
        low: the lowest that are likely.
        high: the highest that are likely.

    Example:
        >>> import numpy as np, optax_warmup as ow
        >>> steps = np.arange(100, 200)
        >>> rest = ow.diagnostics.Forecast(steps, 3.0 + 0 * steps, 2.9, 3.1)
        >>> rest.high
        3.1
    """

    steps: np.ndarray
    loss: np.ndarray
    low: np.ndarray
    high: np.ndarray


ForecastsLike: TypeAlias = Forecast | Mapping[str, Forecast] | None


def as_forecasts(
    owner: str, names: list[str], forecasts: Any, losses: Mapping[str, Any]
) -> dict[str, Forecast]:
    """Returns forecasts by the name of their run."""
    if forecasts is None:
        return {}
    if isinstance(forecasts, Forecast):
        forecasts = {names[0]: forecasts} if len(names) == 1 else forecasts
    if not isinstance(forecasts, Mapping) or set(forecasts) - set(names):
        got = list(forecasts) if isinstance(forecasts, Mapping) else "one forecast"
        raise ValueError(
            f"{owner}: forecasts must map names of runs ({', '.join(names)}) to "
            f"forecasts, got {got}."
        )
    for name, each in forecasts.items():
        if not isinstance(each, Forecast):
            raise TypeError(
                f"{owner}: the forecast of {name!r} must be a Forecast, which "
                f"LossLaw.forecast returns, got {type(each).__name__}."
            )
        if not losses.get(name):
            raise ValueError(
                f"{owner}: forecasts must be of runs with losses, got one of {name!r}, "
                "which has none; pass them as losses."
            )
    return {name: _arrays(owner, name, each) for name, each in forecasts.items()}


def _arrays(owner: str, name: str, forecast: Forecast) -> Forecast:
    steps, *values = (np.asarray(x, np.float64) for x in forecast)
    if steps.ndim != 1 or not len(steps) or np.any(np.diff(steps) <= 0):
        raise ValueError(
            f"{owner}: the steps of the forecast of {name!r} must increase, got an "
            f"array of shape {steps.shape}."
        )
    try:
        return Forecast(steps, *(np.broadcast_to(x, steps.shape) for x in values))
    except ValueError:
        raise ValueError(
            f"{owner}: the forecast of {name!r} must have one value for each of its "
            f"{len(steps)} steps, got shapes {', '.join(str(x.shape) for x in values)}."
        ) from None
