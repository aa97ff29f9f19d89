"""The style sheet of the report, for light and dark mode, phones and wide screens."""

from optax_warmup._drawing.palette import DARK, LIGHT


def _runs(colors: tuple[str, ...]) -> str:
    return " ".join(f"--c{i}: {color};" for i, color in enumerate(colors))


_CLASSES = "\n".join(f".run{i} {{ color: var(--c{i}); }}" for i in range(len(LIGHT)))

STYLE = f"""
:root {{ {_runs(LIGHT)} }}
@media (prefers-color-scheme: dark) {{ :root {{ {_runs(DARK)} }} }}
{_CLASSES}
"""

STYLE += """
:root {
  --paper: #ffffff; --card: #f6f7f9; --ink: #24292f; --pale: #6b737c;
  --grid: #e6e8eb; --problem: #c0392b; --warning: #b7791f; --note: #5f6b76;
  --fine: #2e7d4f; --reference: #8a929a;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #14171a; --card: #1d2126; --ink: #e3e6e8; --pale: #98a1aa;
    --grid: #2b3036; --problem: #ff7b6b; --warning: #e5b454; --note: #9aa5b1;
    --fine: #6cc48f; --reference: #7d868f;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif;
}
main { max-width: 1280px; margin: 0 auto; padding: 16px; }
h1 { font-size: 1.5rem; margin: 8px 0; }
h2 { font-size: 1.1rem; margin: 20px 0 8px; }
h3 { font-size: .8rem; margin: 0; text-transform: uppercase; letter-spacing: .05em; }
h3 code { text-transform: none; letter-spacing: 0; color: var(--pale); }
p { margin: 4px 0 0; }
.key { list-style: none; margin: 0 0 12px; padding: 0; }
.key span:last-child { color: var(--pale); overflow-wrap: anywhere; }
.dot {
  display: inline-block; width: .7em; height: .7em; border-radius: 50%;
  margin-right: .5em; background: currentColor;
}
.card {
  background: var(--card); border-left: 4px solid; border-radius: 4px;
  padding: 10px 14px; margin: 8px 0; max-width: 80ch; overflow-wrap: anywhere;
}
.card.problem { border-color: var(--problem); }
.card.problem h3 { color: var(--problem); }
.card.warning { border-color: var(--warning); }
.card.warning h3 { color: var(--warning); }
.card.note { border-color: var(--note); }
.card.note h3 { color: var(--note); }
.card.fine { border-color: var(--fine); }
details { color: var(--pale); font-size: .85rem; margin-top: 4px; }
summary { cursor: pointer; }
.figures {
  display: grid; gap: 20px 24px; margin-top: 24px; align-items: start;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 380px), 1fr));
}
figure { margin: 0; min-width: 0; }
figcaption { font-size: .85rem; line-height: 1.35; color: var(--pale); }
figcaption b { display: block; font-size: 1rem; color: var(--ink); }
svg { display: block; width: 100%; height: auto; margin-top: 4px; }
svg text { font-size: 11px; fill: var(--pale); }
svg .mark { fill: currentColor; font-weight: 600; }
svg .grid { stroke: var(--grid); }
svg .axis { stroke: var(--pale); }
svg .line {
  fill: none; stroke: currentColor; stroke-width: 2;
  stroke-linejoin: round; stroke-linecap: round;
}
svg .dots {
  fill: none; stroke: currentColor; stroke-width: 3.5; stroke-linecap: round;
  opacity: .45;
}
svg .line.expected { stroke-dasharray: 5 5; stroke-width: 1.6; }
svg .band { fill: currentColor; opacity: .16; }
svg .quantile { stroke: var(--ink); stroke-width: 1.2; opacity: .8; }
svg circle { fill: currentColor; stroke: var(--paper); stroke-width: 1.5; }
svg rect { fill: currentColor; shape-rendering: crispEdges; }
.reference { color: var(--reference); }
svg .line.reference { stroke-width: 1.3; stroke-dasharray: 4 4; }
.table div { overflow-x: auto; }
table { border-collapse: collapse; font-size: .85rem; }
th, td { padding: 4px 10px; text-align: right; white-space: nowrap; }
th { color: var(--pale); font-weight: 600; border-bottom: 1px solid var(--grid); }
th:first-child, td:first-child { text-align: left; }
tbody tr:nth-child(even) { background: var(--card); }
tbody tr:last-child td { font-weight: 600; border-top: 1px solid var(--grid); }
footer { margin-top: 28px; color: var(--pale); font-size: .8rem; }
footer p { overflow-wrap: anywhere; }
"""
