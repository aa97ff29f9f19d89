"""The colours of every picture."""

# One colour a run or a curve, on a light and on a dark page. Black-and-white printers
# and the common colour blindnesses can tell the first four apart.
LIGHT = ("#1f6f8b", "#c8442f", "#4c7f2e", "#8a5ba6", "#b8761a", "#4a4a4a")
DARK = ("#5cb8d6", "#ff8a73", "#93c96f", "#c79be0", "#e9b25c", "#b9bec4")

INK = "#333333"  # text
PALE = "#8a8a8a"  # axes and reference lines
GRID = "#ececec"


def color(index: int | None) -> str:
    """Returns the colour of a run; None is a reference line."""
    return PALE if index is None else LIGHT[index % len(LIGHT)]
