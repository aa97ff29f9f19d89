// The script of a report: values at a step, runs that are shown or hidden, and the
// axis of steps. The pictures are there without it; it moves what they are made of.
"use strict";
(() => {
const data = JSON.parse(document.getElementById("data").textContent);
const main = document.querySelector("main");
const hidden = new Set(); // indices of runs
let linear = false; // the axis of steps
let here = null; // the step of the cross-hair

// ---- numbers as text: the same rules as in the pictures ----
const commas = (x, digits) => x.toLocaleString("en-US",
  {maximumSignificantDigits: digits});
function number(x, digits) {
  if (typeof x !== "number") return x; // NaN, inf, -inf
  if (x === 0) return "0";
  const size = Math.abs(x);
  if (size >= 1e-3 && size < 1e5)
    return size >= 10 ** digits ? Math.round(x).toLocaleString("en-US")
      : commas(x, digits);
  const [mantissa, exponent] = x.toExponential(digits - 1).split("e");
  const short = mantissa.includes(".") ? mantissa.replace(/\.?0+$/, "") : mantissa;
  return `${short}e${Number(exponent)}`;
}
function count(x) {
  for (const [size, letter] of [[1e9, "G"], [1e6, "M"]])
    if (Math.abs(x) >= size) return `${Number((x / size).toFixed(3))}${letter}`;
  return Math.round(x).toLocaleString("en-US");
}

// ---- ticks ----
function linearTicks(low, high, most) {
  const span = high - low;
  if (!(span > 0)) return [low];
  const unit = 10 ** Math.floor(Math.log10(span / Math.max(most - 1, 1)));
  for (const factor of [1, 2, 5, 10, 20, 50, 100]) {
    const step = unit * factor;
    const first = Math.ceil(low / step - 1e-9);
    const last = Math.floor(high / step + 1e-9);
    if (last - first < most)
      return Array.from({length: last - first + 1}, (_, k) => (first + k) * step);
  }
  return [low];
}
function logTicks(low, high, most) {
  const first = Math.ceil(Math.log10(low) - 1e-9);
  const last = Math.floor(Math.log10(high) + 1e-9);
  if (last - first >= 2) {
    const every = Math.ceil((last - first + 1) / most), found = [];
    for (let k = last; k >= first; k -= every) found.unshift(10 ** k);
    return found;
  }
  for (const multiples of [[1, 2, 5], [1, 3], [1]]) {
    const inside = [];
    for (let k = first - 1; k <= last; k++)
      for (const m of multiples) {
        const x = m * 10 ** k;
        if (x >= low * (1 - 1e-9) && x <= high * (1 + 1e-9)) inside.push(x);
      }
    if (inside.length >= 2 && inside.length <= most) return inside;
  }
  return linearTicks(low, high, most);
}
function stepTicks(first, last) {
  if (!linear && first < 1 && last > 2) return [0, ...logTicks(1, last, 5)];
  const chosen = !linear && first >= 1 ? logTicks : linearTicks;
  return chosen(first, last, 6).filter(tick => tick === Math.round(tick));
}

// ---- axes: from values to pixels and back ----
const clip = share => Math.min(Math.max(share, -0.02), 1.02);
function xAxis(panel) {
  const [left, right] = panel.box, [first, last] = panel.steps;
  const to = linear ? x => x : Math.log1p, from = linear ? x => x : Math.expm1;
  const low = to(first), span = to(last) - low;
  return {
    at: x => left + clip((to(x) - low) / span) * (right - left),
    step: pixel => from(low + (pixel - left) / (right - left) * span),
  };
}
function yAxis(panel, low, high) {
  const [, , bottom, top] = panel.box;
  const to = panel.log ? x => (x > 0 ? Math.log(x) : NaN) : x => x;
  const base = to(low), span = to(high) - base;
  return y => typeof y !== "number" ? NaN
    : bottom + clip((to(y) - base) / span) * (top - bottom);
}
const shown = thing => thing.run === null || !hidden.has(thing.run);
function yRange(panel) {
  if (!hidden.size || panel.include === undefined) return panel.values;
  let every = panel.lines.filter(shown).flatMap(line => line.y)
    .filter(y => typeof y === "number" && Math.abs(y) < 1e150 && (y > 0 || !panel.log));
  every = every.concat(panel.include || []);
  if (!every.length) return panel.values;
  let low = every.reduce((a, b) => Math.min(a, b));
  const high = every.reduce((a, b) => Math.max(a, b));
  if (panel.log) {
    low = Math.max(low, high * 1e-12);
    const room = Math.max((high / low) ** 0.06, 1.1);
    return [low / room, high * room];
  }
  const room = 0.06 * (high - low) || 0.5 * Math.abs(high) || 0.5;
  return [low === 0 ? 0 : low - room, high + room];
}

// ---- pictures ----
const SVG = "http://www.w3.org/2000/svg";
function element(kind, attributes, text) {
  const made = document.createElementNS(SVG, kind);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  if (text !== undefined) made.textContent = text;
  return made;
}
const each = (root, selector, act) => root.querySelectorAll(selector).forEach(act);
function path(line, x, y, dots) {
  let pen = "M", lone = false, d = "";
  line.x.forEach((step, i) => {
    const a = x(step), b = y(line.y[i]), fine = Number.isFinite(b);
    if (fine) {
      d += `${dots ? "M" : pen}${a.toFixed(1)} ${b.toFixed(1)}${dots ? "h0" : ""}`;
      lone = pen === "M";
    } else if (pen === "L" && lone && !dots) d += "h0";
    pen = fine ? "L" : "M";
  });
  return d + (pen === "L" && lone && !dots ? "h0" : "");
}
function frame(panel, svg, x, y, low, high) {
  const group = svg.querySelector(".axes"), [left, right, bottom] = panel.box;
  const base = panel.rows ? panel.box[3] : bottom, parts = [];
  const text = (px, py, anchor, words) => parts.push(element("text",
    {x: px.toFixed(1), y: py.toFixed(1), "text-anchor": anchor, class: "tick"}, words));
  if (!panel.rows)
    for (const tick of (panel.log ? logTicks : linearTicks)(low, high, 5)) {
      const at = y(tick);
      parts.push(element("path",
        {d: `M${left.toFixed(0)} ${at.toFixed(1)}H${right.toFixed(0)}`, class: "grid"}));
      text(left - 6, at + 4, "end", number(tick, 4));
    }
  for (const tick of stepTicks(...panel.steps)) {
    const at = x(tick);
    parts.push(element("path", {d: `M${at.toFixed(1)} ${base}v4`, class: "axis"}));
    text(at, base + 16, "middle", count(tick));
  }
  parts.push(element("path", {d: `M${left.toFixed(0)} ${base}H${right}`, class: "axis"}));
  text(right, base + 29, "end", "step");
  group.replaceChildren(...parts);
}
function spread(places, gap, low, high) {
  // From the top down, then back up where the end is reached.
  const order = places.map((_, i) => i).sort((a, b) => places[a] - places[b]);
  const moved = [];
  order.forEach((i, k) => {
    moved[k] = Math.max(places[i], k ? moved[k - 1] + gap : low);
  });
  for (let k = moved.length - 1, most = high; k >= 0; k--) {
    moved[k] = Math.min(moved[k], most);
    most = moved[k] - gap;
  }
  const result = [];
  order.forEach((i, k) => { result[i] = moved[k]; });
  return result;
}
function draw(panel) {
  const {svg} = panel, x = xAxis(panel), [low, high] = yRange(panel);
  const y = yAxis(panel, low, high), [left, right, bottom, top] = panel.box;
  frame(panel, svg, x.at, y, low, high);
  each(svg, "[data-line]", node => {
    const dots = node.classList.contains("dots");
    node.setAttribute("d", path(panel.lines[node.dataset.line], x.at, y, dots));
  });
  each(svg, "[data-band]", node => {
    const line = panel.lines[node.dataset.band], [under, over] = line.band;
    const points = [...line.x.map((s, i) => [x.at(s), y(over[i])]),
      ...line.x.map((s, i) => [x.at(s), y(under[i])]).reverse()];
    node.setAttribute("points", points.filter(p => Number.isFinite(p[1]))
      .map(p => p.map(v => v.toFixed(1)).join(",")).join(" "));
  });
  each(svg, "[data-mark]", node => {
    const mark = panel.marks[node.dataset.mark], a = x.at(mark.x), b = y(mark.y);
    if (node.tagName === "circle") {
      node.setAttribute("cx", a.toFixed(1));
      node.setAttribute("cy", b.toFixed(1));
      return;
    }
    const before = a - left > 7 * node.textContent.length + 10;
    const [dx, dy] = before ? [-7, -6] : mark.falls ? [8, -5] : [14, 5];
    node.setAttribute("text-anchor", before ? "end" : "start");
    node.setAttribute("x", (a + dx).toFixed(1));
    node.setAttribute("y", Math.max(b + dy, 10).toFixed(1));
  });
  const labels = [...svg.querySelectorAll("[data-label]")].filter(node => {
    const line = panel.lines[node.dataset.label];
    node.end = shown(line) && line.y.map(y).filter(Number.isFinite).pop();
    return typeof node.end === "number";
  });
  if (hidden.size || panel.moved)
    spread(labels.map(node => node.end), 13, top, bottom)
      .forEach((at, i) => labels[i].setAttribute("y", (at + 4).toFixed(1)));
  panel.moved = panel.moved || hidden.size > 0;
  each(svg, ".cells rect", node => {
    node.steps = node.steps || panel.drawn(node);
    const [a, b] = node.steps.map(x.at);
    node.setAttribute("x", a.toFixed(1));
    node.setAttribute("width", Math.max(b - a, 0).toFixed(1));
  });
}

// ---- values at a step ----
function nearest(steps, step, at) {
  let low = 0, high = steps.length - 1;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (steps[middle] <= step) low = middle; else high = middle;
  }
  return at(steps[high]) - at(step) < at(step) - at(steps[low]) ? high : low;
}
const elsewhere = (seen, step) => seen === step ? ""
  : ` at step ${seen.toLocaleString("en-US")}`;
const curves = panel => panel.lines.filter(line => shown(line) && line.x.length
  && (line.run !== null || line.x.length > 2));
function valuesAt(panel, step, row) {
  const {at} = xAxis(panel), found = [];
  if (panel.rows) {
    if (hidden.has(panel.run) || row === null || step > panel.steps[1]) return found;
    const i = nearest(panel.x, step, at);
    return [{run: panel.run, name: panel.rows[row],
      text: number(panel.cells[row][i], 4) + elsewhere(panel.x[i], step)}];
  }
  for (const line of curves(panel)) {
    const several = data.runs.length > 1 && line.run !== null;
    const name = line.run === null ? line.label : several ? data.runs[line.run] : "";
    const i = nearest(line.x, step, at), seen = line.x[i];
    let text = number(line.y[i], 4);
    if (line.band) text += ` (${number(line.band[0][i], 4)} to ${
      number(line.band[1][i], 4)})`;
    if (step > line.x.at(-1)) text = `ended at step ${line.x.at(-1).toLocaleString("en-US")}`;
    else if (step < line.x[0]) continue;
    else text += elsewhere(seen, step);
    const same = found.find(row => row.run === line.run && row.name === name);
    text = [line.says, text].filter(Boolean).join(" ");
    if (!same) found.push({run: line.run, name, text});
    else if (!same.text.includes("ended")) same.text += `, ${text}`;
  }
  return found;
}
function show(step, origin) {
  here = step;
  for (const panel of data.panels) {
    const {hair, readout, plot} = panel, [first, last] = panel.steps;
    const inside = step !== null && step >= first && step <= last;
    hair.style.display = inside ? "" : "none";
    const found = inside ? valuesAt(panel, step, panel.row) : [];
    readout.hidden = !inside || (!found.length && panel !== origin);
    if (!inside) {
      plot.setAttribute("aria-valuetext", "no step chosen");
      continue;
    }
    const px = xAxis(panel).at(step);
    hair.setAttribute("x1", px.toFixed(1));
    hair.setAttribute("x2", px.toFixed(1));
    const head = document.createElement("b");
    head.textContent = `step ${step.toLocaleString("en-US")}`;
    readout.replaceChildren(head, ...found.map(({run, name, text}) => {
      const row = document.createElement("div"), dot = document.createElement("span");
      dot.className = run === null ? "dot reference" : `dot run${run % 6}`;
      const short = name.length > 24 ? `${name.slice(0, 12)}…${name.slice(-11)}` : name;
      row.append(dot, short ? `${short}: ${text}` : text);
      return row;
    }));
    const share = px / svgWidth(panel);
    const after = share < 0.5; // then there is more room to the right
    readout.style.left = after ? `${100 * share + 2}%` : "";
    readout.style.right = after ? "" : `${100 * (1 - share) + 2}%`;
    readout.style.maxWidth = `${after ? 98 - 100 * share : 100 * share - 2}%`;
    plot.setAttribute("aria-valuenow", step);
    plot.setAttribute("aria-valuetext", [head.textContent,
      ...found.map(({name, text}) => name ? `${name}: ${text}` : text)].join("; "));
  }
}
const svgWidth = panel => panel.svg.viewBox.baseVal.width;
const stepsOf = panel => {
  const own = panel.rows ? panel.x : curves(panel).flatMap(line => line.x);
  return [...new Set(own)].sort((a, b) => a - b)
    .filter(step => step >= panel.steps[0] && step <= panel.steps[1]);
};
function point(panel, event) {
  const box = panel.svg.getBoundingClientRect();
  const scale = svgWidth(panel) / box.width, [left, right] = panel.box;
  const x = xAxis(panel), steps = stepsOf(panel);
  if (!steps.length) return;
  const px = Math.min(Math.max((event.clientX - box.left) * scale, left), right);
  if (panel.rows) {
    const top = panel.box[2], bottom = panel.box[3];
    const share = ((event.clientY - box.top) * scale - top) / (bottom - top);
    panel.row = Math.min(Math.max(Math.floor(share * panel.rows.length), 0),
      panel.rows.length - 1);
  }
  show(steps[nearest(steps, x.step(px), x.at)], panel);
}
function press(panel, event) {
  if (event.key === "Escape") { show(null); return; }
  if (panel.rows && (event.key === "ArrowUp" || event.key === "ArrowDown")) {
    const next = (panel.row ?? -1) + (event.key === "ArrowUp" ? -1 : 1);
    panel.row = Math.min(Math.max(next, 0), panel.rows.length - 1);
    event.preventDefault();
    show(here ?? panel.steps[0], panel);
    return;
  }
  const moves = {ArrowLeft: -1, ArrowRight: 1, ArrowDown: -1, ArrowUp: 1,
    PageDown: -10, PageUp: 10, Home: -Infinity, End: Infinity};
  const steps = stepsOf(panel);
  if (!(event.key in moves) || !steps.length) return;
  event.preventDefault();
  // From nowhere, the keys to the right begin at the first step, the others at the last.
  const move = moves[event.key], start = move > 0 ? -1 : steps.length;
  const next = move + (here === null ? start : nearest(steps, here, xAxis(panel).at));
  show(steps[Math.min(Math.max(next, 0), steps.length - 1)], panel);
}

// ---- set-up ----
each(main, "[data-panel]", figure => {
  const panel = data.panels[figure.dataset.panel], plot = figure.querySelector(".plot");
  const svg = plot.querySelector("svg"), [, , bottom, top] = panel.box;
  const hair = element("line", {class: "hair", y1: top, y2: bottom});
  const readout = document.createElement("div");
  readout.className = "readout";
  svg.append(hair);
  plot.append(readout);
  Object.assign(panel, {svg, plot, hair, readout, row: panel.rows ? 0 : null});
  const first = xAxis(panel); // in which the rectangles were drawn
  panel.drawn = node => {
    const x = Number(node.getAttribute("x")), width = Number(node.getAttribute("width"));
    return [first.step(x), first.step(x + width)];
  };
  svg.setAttribute("aria-hidden", "true");
  const label = `${panel.title}: values by step, arrow keys move`;
  for (const [name, value] of Object.entries({role: "slider", tabindex: 0,
    "aria-label": label, "aria-valuemin": panel.steps[0], "aria-valuemax": panel.steps[1],
    "aria-valuenow": panel.steps[0]})) plot.setAttribute(name, value);
  plot.addEventListener("pointermove", event => point(panel, event));
  plot.addEventListener("pointerdown", event => point(panel, event));
  plot.addEventListener("pointerleave", event => {
    if (event.pointerType === "mouse") show(null);
  });
  plot.addEventListener("keydown", event => press(panel, event));
});
each(main, ".runs input", box => box.addEventListener("change", () => {
  const run = Number(box.value);
  if (box.checked) hidden.delete(run); else hidden.add(run);
  each(main, `[data-run="${run}"]`, node => {
    if (node.namespaceURI === SVG) node.style.display = box.checked ? "" : "none";
    else node.hidden = !box.checked;
  });
  data.panels.forEach(draw);
  show(here);
}));
each(main, ".axis-control input", box => box.addEventListener("change", () => {
  linear = box.value === "linear";
  data.panels.forEach(draw);
  show(here);
}));
main.classList.add("scripted");
show(null);
window.warmupReport = {data, draw, show}; // for tests, and for the curious
})();
