"""The style sheet of the report, for light and dark mode, phones and wide screens."""

from optax_warmup._drawing.palette import DARK, LIGHT
from optax_warmup._drawing.style import colors, rules

STYLE = f"""
:root {{ {colors(LIGHT)} }}
@media (prefers-color-scheme: dark) {{ :root {{ {colors(DARK)} }} }}
{rules()}
"""

STYLE += """
:root {
  --paper: #ffffff; --card: #f6f7f9; --ink: #24292f; --pale: #5f6873;
  --grid: #e6e8eb; --problem: #c0392b; --warning: #9a6412; --note: #5f6b76;
  --fine: #2e7d4f; --reference: #767e87;
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
main { max-width: 1280px; margin: 0 auto; padding: 12px 16px; }
h1 { font-size: .85rem; margin: 0; color: var(--pale); font-weight: 600; }
h2 { font-size: 1.1rem; margin: 20px 0 8px; overflow-wrap: anywhere; }
h3 { font-size: .8rem; margin: 0; text-transform: uppercase; letter-spacing: .05em; }
h3 code { text-transform: none; letter-spacing: 0; color: var(--pale); }
p { margin: 4px 0 0; }
a { color: inherit; }
:focus-visible { outline: 2px solid var(--c0); outline-offset: 2px; }
[hidden] { display: none !important; }
.verdict {
  font-size: 1.15rem; line-height: 1.35; font-weight: 600; margin: 0 0 8px;
  max-width: 90ch; overflow-wrap: anywhere;
}
.verdict.problem { color: var(--problem); }
.verdict.warning { color: var(--warning); }
.verdict.fine { color: var(--fine); }
.controls { display: flex; flex-wrap: wrap; gap: 4px 24px; font-size: .85rem; }
.controls fieldset {
  border: 0; margin: 0; padding: 0; display: flex; flex-wrap: wrap; gap: 2px 14px;
  max-height: 5.2rem; overflow-y: auto;
}
.controls legend { float: left; padding: 0; margin-right: 10px; color: var(--pale); }
.controls label { overflow-wrap: anywhere; cursor: pointer; padding: 2px 0; }
.controls input { margin: 0 .35em 0 0; accent-color: var(--pale); }
.axis-control { display: none; }
.scripted .axis-control { display: flex; }
.runs input { display: none; }
.scripted .runs input { display: inline; }
.summary { color: var(--pale); font-size: .85rem; overflow-wrap: anywhere; }
.dot {
  display: inline-block; width: .7em; height: .7em; border-radius: 50%;
  margin-right: .4em; background: currentColor;
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
  display: grid; gap: 20px 24px; margin-top: 12px; align-items: start;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 380px), 1fr));
}
.figures.main {
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 380px), 1fr));
}
.figures.main figure { max-width: 640px; }
figure { margin: 0; min-width: 0; }
figcaption { font-size: .85rem; line-height: 1.35; color: var(--pale); }
figcaption b { display: block; font-size: 1rem; color: var(--ink); }
.plot { position: relative; touch-action: pan-y; }
.scripted .plot { cursor: crosshair; }
.hair { stroke: var(--ink); stroke-width: 1; opacity: .55; }
.readout {
  position: absolute; top: 4px; padding: 2px 8px; pointer-events: none;
  background: var(--card); opacity: .93; z-index: 1; width: max-content;
  border: 1px solid var(--grid); border-radius: 4px;
  font-size: .75rem; line-height: 1.35; font-variant-numeric: tabular-nums;
}
.readout div { overflow-wrap: anywhere; }
.table { position: relative; }
.table > div { overflow-x: auto; }
table { border-collapse: separate; border-spacing: 0; font-size: .85rem; }
th, td { padding: 4px 10px; text-align: right; white-space: nowrap; }
th { color: var(--pale); font-weight: 600; }
thead th { border-bottom: 1px solid var(--grid); }
tr > :first-child {
  text-align: left; position: sticky; left: 0; background: var(--paper);
  white-space: normal; border-right: 1px solid var(--grid);
}
tr > :first-child span {
  display: block; width: max-content; max-width: 38vw; overflow-wrap: anywhere;
}
tbody th { font-weight: 400; color: var(--ink); }
tbody tr:nth-child(even) > * { background: var(--card); }
tbody tr:last-child > * { font-weight: 600; border-top: 1px solid var(--grid); }
footer { margin-top: 28px; color: var(--pale); font-size: .8rem; }
footer p { overflow-wrap: anywhere; }
@media (min-width: 900px) { .figures.main svg text { font-size: 8.5px; } }
@media print { .controls { display: none; } }
"""
