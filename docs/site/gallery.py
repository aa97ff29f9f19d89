"""Writes the gallery: a page for each schedule, from the library itself.

The formula and the source come from the docstring, the picture and the first step from
the schedule, and its names in other libraries from the tested table of parity.
"""

import inspect
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import parity_table
from curves import draw
from docstrings import formulas, linked, purpose, sources
from names import public_names, short
from typeset import typeset

import optax_warmup as ow

# What each page shows. A call may use what is public in `ow`, and the names in `GIVEN`.
WARMED = "warmup_cosine(1.0, 100, 800)"
GIVEN = {
    "schedule": WARMED,
    "old": WARMED,
    "batches": "join([(300, 256), (300, 512)], last=1024)",
}
CALLS = {
    "Warmup and decay": {
        "warmup_constant": "warmup_constant(1.0, 100)",
        "warmup_linear": "warmup_linear(1.0, 100, 1000)",
        "warmup_cosine": "warmup_cosine(1.0, 100, 1000)",
        "warmup_exponential": "warmup_exponential(1.0, 100, decay_steps=200, "
        "decay_rate=0.5)",
        "warmup_inverse_sqrt": "warmup_inverse_sqrt(1.0, 100)",
        "noam": "noam(512, 100)",
        "power_law": "power_law(1.0, 100, hold_until=300)",
    },
    "Stages and cycles": {
        "wsd": "wsd(1.0, 100, 1000, 250)",
        "tri_stage": "tri_stage(1.0, 100, 400, 500, init_value=0.01, end_value=0.05)",
        "infinite": "infinite(1.0, 100, 400, 0.3)",
        "spike": "spike(schedule, 400, factor=2, up_steps=50, down_steps=50)",
        "lr_range_test": "lr_range_test(1e-3, 1.0, 1000)",
        "warmup_cosine_restarts": "warmup_cosine_restarts(1.0, 100, 1000, 3)",
        "one_cycle": "one_cycle(1.0, 300, 1000)",
        "triangular": "triangular(0.1, 1.0, 150, 150)",
    },
    "Parts": {
        "constant": "constant(1.0)",
        "warmup": "warmup(transition(1.0, 0.1, 600), 200, shape=shapes.cosine)",
        "cooldown": "cooldown(warmup(1.0, 100), 600, 300, shape=shapes.power(0.5))",
        "transition": "transition(1.0, 0.1, 800)",
        "piecewise": "piecewise(0.0, [(100, 1.0, shapes.linear), "
        "(400, 0.4, shapes.cosine), (400, 0.0, shapes.linear)])",
        "exponential_decay": "exponential_decay(1.0, steps=300, rate=0.5)",
        "inverse_power": "inverse_power(1.0, timescale=100)",
        "step_decay": "step_decay(1.0, steps=300, rate=0.5)",
        "multistep": "multistep(1.0, [(300, 0.3), (700, 0.1)])",
    },
    "Schedules made of schedules": {
        "multiply": "multiply(warmup(1.0, 200), transition(1.0, 0.0, 1000))",
        "add": "add(transition(0.5, 0.0, 1000), transition(0.5, 0.0, 300))",
        "join": "join([(400, constant(1.0))], last=transition(0.5, 0.0, 600))",
        "cycle": "cycle(transition(1.0, 0.1, 200, shapes.cosine), 200, "
        "period_multiplier=2)",
        "delay": "delay(schedule, 200)",
        "advance": "advance(schedule, 50)",
        "stretch": "stretch(schedule, 1.5)",
        "retime": "retime(old, 800, 1000, begin=400)",
        "switch": "switch(old, constant(0.3), begin=400, steps=100)",
        "rewarm": "rewarm(schedule, 400, 100)",
        "clip": "clip(schedule, minimum=0.2, maximum=0.8)",
        "round_to": "round_to(transition(32, 256, 1000), multiple=32)",
        "staircase": "staircase(schedule, 100)",
        "jitter": "jitter(schedule, 0.1, seed=0)",
    },
    "Batch sizes": {
        "growing_batch": "growing_batch(schedule, batch_size=batches, base=256)",
        "accumulation_steps": "accumulation_steps(batches, microbatch_size=64)",
    },
    "Warmup factors": {
        "factors.linear": "factors.linear(200)",
        "factors.exponential": "factors.exponential(200)",
        "factors.untuned_linear": "factors.untuned_linear(0.99)",
        "factors.untuned_exponential": "factors.untuned_exponential(0.99)",
        "factors.radam": "factors.radam(0.999)",
        "factors.rectification": "factors.rectification(100)",
    },
}
SHAPES = (
    "linear",
    "cosine",
    "power(2)",
    "power(0.5)",
    "polynomial(2)",
    "exponential(0.01)",
    "logarithmic(10)",
    "tanh(-3, 3)",
    "sigmoid(10)",
    "rex(0.5)",
    "mirror_cosine",
    "reverse(power(3))",
    "warp(power(2), cosine)",
)
STEPS = 1001


def write(folder: Path, vocabulary: Mapping[str, Any]) -> None:
    """Writes a page for each schedule, one for the shapes, and the index."""
    folder.mkdir(parents=True, exist_ok=True)
    calls = {name: call for group in CALLS.values() for name, call in group.items()}
    wanted = {n for n in vocabulary if not n.startswith(("shapes.", "compat."))}
    if missing := wanted ^ set(calls):
        raise ValueError(f"gallery.CALLS and the schedules differ: {sorted(missing)}")
    for name, call in calls.items():
        _page(folder, name, call)
    _shapes(folder)
    (folder / "index.md").write_text(_index())


def evaluate(call: str) -> ow.Schedule:
    """The schedule that a call of this file makes."""
    scope = dict(vars(ow))
    given = {name: eval(text, scope) for name, text in GIVEN.items()}
    return eval(call, scope | given)


def _page(folder: Path, name: str, call: str) -> None:
    thing = public_names()[f"optax_warmup.{name}"]
    values = np.asarray(ow.simulate(evaluate(call), STEPS))
    draw(folder / f"{name}.svg", {"": (np.arange(STEPS), values)}, "step")
    given = [
        f"{n} = {_addressed(t)}"
        for n, t in GIVEN.items()
        if re.search(rf"\b{n}\b", call)
    ]
    code = "\n".join([*given, _addressed(call)])
    parts = [f"# {name}\n", purpose(thing) + "\n", f"```python\n{code}\n```\n"]
    parts.append(f"![The values of {call} over 1000 updates]({name}.svg)\n")
    if formulas(thing):
        parts.append("## Formula\n")
        parts += [typeset(formula) + "\n" for formula in formulas(thing)]
    if sources(thing):
        parts.append(f"Source: {linked(sources(thing))}\n")
    parts.append(f"## First step\n\n{_first_step(thing, values)}\n")
    if known := _known_as(name):
        parts.append("## Also known as\n")
        parts.append(
            "A test compares the values of each row, to float32 accuracy. The peak is "
            "1; the warmup has 5 updates, the run 20 and the cooldown 6.\n"
        )
        parts.append("\n".join(known) + "\n")
    parts.append(
        f"## More\n\nArguments and errors: {{py:obj}}`{short('optax_warmup.' + name)} "
        f"<optax_warmup.{name}>`. {_source_link(name, thing)}\n"
    )
    (folder / f"{name}.md").write_text("\n".join(parts))


def _addressed(call: str) -> str:
    """The call as a user writes it: each name at its address, `ow.` first."""
    names = {name.split(".")[0] for name in vars(ow) if not name.startswith("_")}
    return re.sub(
        r"(?<![\w.])([a-z_]+)(?=[(.])",
        lambda m: f"ow.{m[1]}" if m[1] in names else m[1],
        call,
    )


def _first_step(thing: Any, values: np.ndarray) -> str:
    """What the first updates get, as the values show it."""
    first, second, peak = values[0], values[1], values.max()
    at = int(values.argmax())
    held = int(np.flatnonzero(np.diff(values)).max(initial=-1)) + 1
    text = (
        f"In the picture the first update (step 0) has {first:.4g}, the second one "
        f"{second:.4g}. "
    )
    if first == 0 and "offset" in inspect.signature(thing).parameters:
        text += (
            "An update with 0 changes nothing; with `offset=1` the first one already "
            "has a part of the peak. "
        )
    if at:
        text += f"The largest value, {peak:.4g}, comes at step {at}. "
    if held < len(values) - 1 and peak != values.min():
        text += f"From step {held} on the value does not change any more. "
    return text


def _known_as(name: str) -> list[str]:
    leading = re.compile(rf"(?<![\w.]){re.escape(name)}\(")
    rows = [
        row for row in parity_table.ROWS if leading.search(f"{row.ours} {row.note}")
    ]
    if not rows:
        return []
    table = ["| system | its call | here |", "|---|---|---|"]
    for row in rows:
        note = f" ({parity_table.as_code(row.note)})" if row.note else ""
        cells = (row.system, f"`{row.call}`", f"`{row.ours}`{note}")
        table.append("| " + " | ".join(c.replace("|", "\\|") for c in cells) + " |")
    return table


def _source_link(name: str, thing: Any) -> str:
    module = thing.__module__.replace(".", "/")
    return f'<a href="../_modules/{module}.html#{thing.__qualname__}">Source</a>.'


def _shapes(folder: Path) -> None:
    progress = np.linspace(0, 1, 201)
    parts = [
        "# Shapes\n",
        "The curve of a ramp: a function f with f(0) = 0 and f(1) = 1.\n",
    ]
    for call in SHAPES:
        shape: Callable[[Any], Any] = eval(call, dict(vars(ow.shapes)))
        base = re.match(r"\w+", call)[0]
        file = re.sub(r"\W+", "_", call).strip("_")
        draw(
            folder / f"shapes_{file}.svg",
            {"": (progress, np.asarray(shape(progress)))},
            "progress",
        )
        thing = vars(ow.shapes)[base]
        parts.append(f"## shapes.{call}\n")
        described = type(thing) if isinstance(thing, ow.shapes.Shape) else thing
        parts += [typeset(formula) + "\n" for formula in formulas(described)]
        parts.append(f"![The shape {call}](shapes_{file}.svg)\n")
    parts.append(
        "Arguments and errors: [ow.shapes](../api/shapes.md). A shape of your own: "
        "[own_schedules](../own_schedules.md#a-shape).\n"
    )
    (folder / "shapes.md").write_text("\n".join(parts))


def _index() -> str:
    parts = [
        "# Gallery of schedules\n",
        "Each page has the formula, a picture, what the first update gets, and the "
        "names that other libraries have for it. Pictures show 1,000 updates.\n",
    ]
    for group, calls in CALLS.items():
        cells = [
            f'<a class="card" href="{name}.html">'
            f'<img src="../_images/{name}.svg" alt="">'
            f"<span>{name}</span></a>"
            for name in calls
        ]
        parts.append(f'## {group}\n\n<div class="cards">{"".join(cells)}</div>\n')
    parts.append("## Curves of ramps\n\n[All shapes](shapes.md), with formulas.\n")
    pages = "\n".join([name for calls in CALLS.values() for name in calls] + ["shapes"])
    parts.append(f"```{{toctree}}\n:hidden:\n\n{pages}\n```\n")
    return "\n".join(parts)
