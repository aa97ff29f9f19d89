"""The style of SVG pictures, for a page or for one output of a notebook.

It reads the variables --ink, --pale, --grid, --paper, --reference and --c0 to --c5.
"""

from optax_warmup._drawing.palette import LIGHT

_RULES = {
    "svg": "display: block; width: 100%; height: auto; margin-top: 4px;",
    "svg text": "font-size: 11px; fill: var(--pale);",
    "svg .mark": "fill: currentColor; font-weight: 600;",
    "svg .grid": "stroke: var(--grid);",
    "svg .axis": "stroke: var(--pale);",
    "svg .line": "fill: none; stroke: currentColor; stroke-width: 2; "
    "stroke-linejoin: round; stroke-linecap: round;",
    "svg .dots": "fill: none; stroke: currentColor; stroke-width: 3.5; "
    "stroke-linecap: round; opacity: .45;",
    "svg .line.pale": "stroke-width: 1; opacity: .45;",
    "svg .line.expected": "stroke-dasharray: 5 5; stroke-width: 1.6;",
    "svg .band": "fill: currentColor; opacity: .16;",
    "svg .quantile": "stroke: var(--ink); stroke-width: 1.2; opacity: .8;",
    "svg circle": "fill: currentColor; stroke: var(--paper); stroke-width: 1.5;",
    "svg rect": "fill: currentColor; shape-rendering: crispEdges;",
    ".reference": "color: var(--reference);",
    "svg .line.reference": "stroke-width: 1.3; stroke-dasharray: 4 4;",
    **{f".run{i}": f"color: var(--c{i});" for i in range(len(LIGHT))},
}


def rules(scope: str = "") -> str:
    """Returns the rules, for what is inside of `scope`."""
    return "\n".join(f"{scope} {name} {{ {do} }}" for name, do in _RULES.items())


def colors(palette: tuple[str, ...]) -> str:
    """Returns the variables of the runs' colours."""
    return " ".join(f"--c{i}: {color};" for i, color in enumerate(palette))
