"""Schedules drawn as text."""

from collections.abc import Mapping, Sequence

import numpy as np

from optax_warmup._drawing import ticks as axis_ticks
from optax_warmup._drawing.canvas import letter, tinted
from optax_warmup._drawing.text_chart import Scale, text_chart
from optax_warmup._inspect.simulate import LOG_RANGE, at_steps, sample_steps
from optax_warmup._schedules.schedule import ScheduleLike

_SAMPLES = 64  # steps evaluated for each column of dots, at most


def draw(
    schedules: Mapping[str, ScheduleLike],
    steps: int,
    *,
    width: int = 80,
    height: int = 16,
    log: bool = False,
    color: bool = False,
    braille: bool = True,
) -> str:
    """Draws schedules in lines of at most `width` characters.

    Several schedules get a letter each, and a legend below.
    """
    seen = sample_steps(steps, 2 * width * _SAMPLES)
    curves = [at_steps("plot", s, seen).astype(np.float64) for s in schedules.values()]
    scale = _scale(curves, height, log)
    lines = text_chart(
        [(seen, curve) for curve in curves], steps, scale, width, height, color, braille
    )
    if len(curves) > 1:
        lines.append("")
        for index, name in enumerate(schedules):
            line = f"{' ' * scale.margin}{letter(index)}  {name}"[:width]
            lines.append(tinted(line, index, color))
    return "\n".join(line.rstrip() for line in lines)


def _scale(curves: Sequence[np.ndarray], height: int, log: bool) -> Scale:
    values = np.concatenate(curves)
    values = values[np.isfinite(values)]
    if log:
        values = values[values > 0]
    if values.size == 0:
        ends = (1.0, 10.0) if log else (0.0, 1.0)
        return Scale(*ends, [*ends], log)
    high, most = float(values.max()), max(height // 3, 2)
    if log:
        low = min(max(float(values.min()), high * LOG_RANGE), high / 10)
        return Scale(low, high, axis_ticks.log(low, high, most) or [high], log)
    low = min(float(values.min()), 0.0)
    if low == high:
        high = low + 1.0
    return Scale(low, high, axis_ticks.linear(low, high, most), log)
