"""Panels: what a picture shows, apart from how it is drawn.

`figure` draws them with matplotlib, `svg` as text for a page.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Line:
    """A curve. `run` picks its colour; None makes it a dashed reference line.

    With a band, the line is expected and not measured: it is dashed inside of the band.
    A pale line stays behind another one of its run, such as a loss behind its mean.
    `says` tells it from other lines of its run where values are read out.
    """

    x: np.ndarray
    y: np.ndarray
    run: int | None
    label: str = ""
    dots: bool = False
    pale: bool = False
    band: tuple[np.ndarray, np.ndarray] | None = None
    says: str = ""


@dataclass(frozen=True, eq=False)
class Mark:
    """A dot on a curve, with a few words beside it: above it where the curve falls."""

    x: float
    y: float
    run: int
    text: str
    falls: bool = False


@dataclass(frozen=True, eq=False)
class Chart:
    """Curves over the step.

    Attributes:
        key: its name among the axes of a figure.
        title, caption: the heading, and what the curves mean.
        lines, marks: what is drawn.
        log: whether the y axis is logarithmic.
        include: a range that the y axis covers in any case.
        first: the step at which the x axis begins.
        log_steps: whether the x axis is logarithmic, in step + 1, or linear.
    """

    key: str
    title: str
    caption: str
    lines: Sequence[Line]
    marks: Sequence[Mark] = ()
    log: bool = True
    include: tuple[float, float] | None = None
    first: float = 0.0
    log_steps: bool = True

    def spoken_marks(self) -> list[tuple[Mark, str]]:
        """Returns the marks with their words; marks that coincide say them once."""
        said = set()
        result = []
        for mark in self.marks:
            new = (mark.x, mark.text) not in said
            said.add((mark.x, mark.text))
            result.append((mark, mark.text if new else ""))
        return result


@dataclass(frozen=True, eq=False)
class HeatMap:
    """Shaded cells of one run over the step.

    Column t lies between x_edges[t] and x_edges[t + 1]. Its cell k lies between
    lower[t, k] and upper[t, k] on a logarithmic y axis; with `rows`, beside the name
    rows[k].

    Attributes:
        key, title, caption: as in `Chart`.
        run: picks the colour.
        x_edges: shape (T + 1,).
        lower, upper: shape (T, K).
        shade: from 0 (pale) to 1, NaN for no cell; shape (T, K).
        lines: curves on top of the cells.
        rows: the names of the K rows, if they are not values.
        steps, values: where the columns were recorded, and what the cells of such rows
            stand for; shapes (T,) and (T, K).
    """

    key: str
    title: str
    caption: str
    run: int
    x_edges: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    shade: np.ndarray
    lines: Sequence[Line] = ()
    rows: tuple[str, ...] = ()
    steps: np.ndarray | None = None
    values: np.ndarray | None = None
