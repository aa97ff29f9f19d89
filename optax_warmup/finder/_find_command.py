"""What `optax-warmup find` does with a saved curve."""

import math
from pathlib import Path

from optax_warmup._drawing.numbers import number
from optax_warmup.finder._curve import load_curve
from optax_warmup.finder._plot import plot_curve
from optax_warmup.finder._suggest import suggest


def find_command(path: str | Path, output: Path | None = None) -> str:
    """Returns what to print about a curve; writes its picture if there is an output.

    Raises:
        ImportError: matplotlib is not installed.
        OSError: a file cannot be read or written.
        ValueError: the file holds no curve.
    """
    curve = load_curve(path)
    found = suggest(curve)
    ended = ", where the loss diverged" if curve.diverged else ""
    lines = [
        f"{len(curve.rates)} updates from {number(curve.rates[0])} to "
        f"{number(curve.rates[-1])}{ended}"
    ]
    for rule, (rate, caveat) in found._asdict().items():
        value = "-" if math.isnan(rate) else number(rate)
        lines.append(f"{rule:9}{value:>9}  {caveat}")
    if output is not None:
        from matplotlib.figure import Figure

        figure = Figure(figsize=(7, 3.8), dpi=150, layout="constrained")
        plot_curve(curve, axes=figure.subplots())
        figure.savefig(output)
        lines.append(f"Picture: {output}")
    return "\n".join(lines)
