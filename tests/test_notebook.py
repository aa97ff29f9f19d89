"""What a notebook shows: never an error, never slow, nothing unescaped."""

import html.parser
import importlib.util
import re
import time

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import trainings
from browser import Browser, needs_chromium

import optax_warmup as ow
from optax_warmup._inspect import simulate
from optax_warmup._inspect.effort import is_small

HOSTILE = "<img src=x onerror=alert(1)>"


class Closed(html.parser.HTMLParser):
    """Checks that tags are closed in order."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.text = [], [], ""
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag not in ("br", "path", "circle", "rect"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += f"{data} "


def shown(thing):
    """The tags and the text of what a notebook shows."""
    text = thing._repr_html_()
    page = Closed(text)
    assert "img" not in page.tags and "script" not in page.tags
    assert not re.search(r'"[^"<>]*(nan|inf)[^"<>]*"', text.split("</style>")[1])
    return page


def nested(wrap, depth):
    schedule = ow.warmup_cosine(1e-3, 10, 1000)
    for _ in range(depth):
        schedule = wrap(schedule)
    return schedule


def test_a_schedule_is_shown_with_what_describe_says():
    schedule = ow.warmup_cosine(3e-4, 2000, 100_000)
    page = shown(schedule)
    assert page.tags.count("svg") == 1 and page.tags.count("circle") == 2
    assert repr(schedule) in page.text
    assert "3e-4 at step 2,000" in page.text and "1 zero update" in page.text
    for line in str(ow.describe(schedule)).splitlines():
        name, fact = re.split(r"\s{2,}", line, maxsplit=1)
        assert f"{name} {fact} " in page.text


def test_marks_are_where_things_happen():
    spiked = ow.add(
        ow.warmup_linear(1.0, 100, 1000), ow.delay(ow.wsd(2.0, 5, 20, 5), 500)
    )
    page = shown(spiked)
    found = ow.describe(spiked)
    assert f"warmup ends at step {found.warmup_end}" in page.text
    assert page.tags.count("circle") == 3


@pytest.mark.parametrize(
    ("schedule", "words"),
    [
        (ow.constant(0.0), "zero updates"),
        (ow.constant(1e-3), "none"),
        (ow.warmup_cosine(3e-4, 2000, 10**9), "3e-4 at step 2,000"),
        (ow.warmup_linear(3e-4, 2000, 2**31 - 1), "3e-4 at step 2,000"),
        (ow.jitter(ow.warmup_cosine(1.0, 10, 10**9), 0.2, seed=1), "changes too often"),
        (ow.warmup(lambda step: 0.0 / (step - step), 10), "not finite"),
        (ow.warmup(optax.cosine_decay_schedule(1.0, 90), 10), "1 at step 10"),
        (nested(lambda s: ow.multiply(s, 0.99), 100), "zero updates"),
        (nested(lambda s: ow.warmup(s, 10), 100), "Too large to be drawn"),
        (ow.join([(1, 1.0)] * 300, last=0.5), "Too large to be drawn"),
    ],
    ids=lambda x: str(x)[:30],
)
def test_any_schedule_is_shown_in_bounded_time(schedule, words):
    begin = time.process_time()
    text = schedule._repr_html_()
    assert time.process_time() - begin < 20  # 1 s on an idle core
    assert len(text) < 40_000
    assert words in shown(schedule).text


def test_other_numbers_and_lengths_compile_nothing():
    ow.wsd(1e-3, 10, 1000, 100)._repr_html_()
    programs = simulate._of_value._cache_size()
    for total in (500, 777, 5000, 10**8):
        assert "zero update" in ow.wsd(2e-3, 20, total, total // 10)._repr_html_()
    assert simulate._of_value._cache_size() == programs


def test_what_is_no_curve_keeps_its_repr():
    for value in (np.ones(3), jnp.ones((2, 2))):
        assert ow.constant(value)._repr_html_() is None
    seen = []

    @jax.jit
    def traced(x):
        seen.append(ow.warmup(ow.constant(x), 10)._repr_html_())
        return x

    traced(1.0)
    assert seen == [None]
    damaged = jax.tree.map(lambda x: object(), ow.warmup_cosine(1.0, 1, 10))
    assert damaged._repr_html_() is None


def test_a_class_of_ones_own_that_fails_is_shown_by_its_repr():
    class broken(ow.Schedule):
        peak_value: ow.values.Rate

        def value_at(self, clock):
            raise RuntimeError("no value")

    assert broken(1.0)._repr_html_() is None


def test_text_is_escaped():
    class hostile(ow.Schedule):
        peak_value: ow.values.Rate

        def value_at(self, clock):
            return jnp.broadcast_to(self.peak_value, jnp.shape(clock))

        def __repr__(self):
            return HOSTILE

    assert HOSTILE in shown(hostile(1.0)).text
    advice = ow.diagnostics.Advice(HOSTILE, '"><b', HOSTILE, HOSTILE)
    assert shown(advice).text.count(HOSTILE) == 3
    params = {HOSTILE: jnp.ones(2)}
    rules = [ow.groups.Rule(".*", multiplier=0.5, name=HOSTILE)]
    assert HOSTILE in shown(ow.groups.table(rules, params)).text
    points = [{HOSTILE: HOSTILE, "seed": k} for k in range(2)]
    assert shown(ow.sweeps.rank(points, [1.0, 2.0])).text.count(HOSTILE) == 2


def test_how_large_a_schedule_may_be():
    assert is_small(nested(lambda s: ow.warmup(s, 10), 5))
    assert not is_small(nested(lambda s: ow.warmup(s, 10), 100))
    assert is_small(nested(lambda s: ow.multiply(s, 0.5), 100))
    assert not is_small(nested(lambda s: ow.multiply(s, 0.5), 200))


def test_tables_hold_what_their_text_does():
    ranking = ow.sweeps.rank(
        ow.sweeps.grid(peak_value=[0.1, 0.2], seed=range(2)), [3.0, 3.2, np.nan, 1.4]
    )
    assert isinstance(ranking, list) and ranking == list(ranking)
    page = shown(ranking)
    assert "0.1 3.1 0.1 2 0 yes" in page.text and "0.2 1.4 - 2 1 no" in page.text
    assert page.tags.count("tr") == 3
    rules = [ow.groups.Rule("w", frozen=True)]
    table = ow.groups.table(rules, {f"w{k}": jnp.ones(2) for k in range(300)})
    page = shown(table)
    assert page.tags.count("tr") == 101 and "and 200 more" in page.text
    law = ow.loss_laws.LossLaw(3.04, 0.525, 0.508, 364.0, 2.07, 0.583, 0.641)
    candidates = {
        "a": ow.warmup_constant(3e-4, 10),
        "b": ow.warmup_linear(3e-4, 10, 99),
    }
    page = shown(ow.loss_laws.rank(law, candidates, steps=99))
    assert page.tags.count("tr") == 3
    assert "zero updates" in shown(ow.describe(ow.constant(0.0), 10)).text


@pytest.mark.train
def test_a_record_and_its_advice():
    history, losses = trainings.no_warmup()
    page = shown(history)
    assert page.tags.count("svg") == 4
    assert history.summary().replace("  ", " · ") in page.text
    assert "layer0/w" in page.text
    found = ow.diagnostics.advise(history, losses=losses)
    assert isinstance(found, tuple) and found == tuple(found)
    page = shown(found)
    assert page.tags.count("details") == len(found)
    assert all(each.finding in page.text for each in found)
    assert shown(found[0]).text.count(found[0].finding) == 1
    healthy = trainings.healthy("adam 0.95")[0]
    assert "No issues found." in shown(ow.diagnostics.advise(healthy)).text
    for history in (trainings.empty(), trainings.nan_in_a_batch()[0]):
        assert history.summary().replace("  ", " · ") in shown(history).text


CELLS = """
import jax, jax.numpy as jnp, numpy as np, optax, optax_warmup as ow
ow.warmup_cosine(3e-4, 2000, 100_000)
---
ow.describe(ow.wsd(1e-3, 100, 10_000, 2000))
---
optimizer = ow.record_moments(optax.adamw(ow.warmup_constant(0.3, 3)))
params = {"w": jnp.ones((4, 4)), "b": jnp.ones(4)}
state = optimizer.init(params)
for k in range(60):
    key = jax.random.key(k)
    grads = jax.tree.map(lambda p: jax.random.normal(key, p.shape), params)
    updates, state = jax.jit(optimizer.update)(grads, state, params)
    params = optax.apply_updates(params, updates)
history = ow.read_moments(state, schedule=ow.warmup_constant(0.3, 3))
history
---
ow.diagnostics.advise(history)
---
points = ow.sweeps.grid(peak_value=[0.1, 0.2], seed=range(2))
ow.sweeps.rank(points, [3.0, 3.2, 1.0, 1.4])
---
biases, rest = ow.groups.Rule("b$", decay_multiplier=0.0), ow.groups.Rule(".*")
ow.groups.table([biases, rest], params)
---
ow.constant(jnp.ones(3))
""".strip().split("\n---\n")


@pytest.fixture(scope="module")
def outputs():
    """What the cells showed, executed by a kernel."""
    import nbclient
    import nbformat

    cells = [nbformat.v4.new_code_cell(cell) for cell in CELLS]
    notebook = nbformat.v4.new_notebook(cells=cells)
    nbclient.NotebookClient(notebook, timeout=300, kernel_name="python3").execute()
    return [cell["outputs"][-1]["data"] for cell in notebook["cells"]]


@pytest.mark.slow
@pytest.mark.skipif(
    not all(map(importlib.util.find_spec, ("nbclient", "nbformat", "ipykernel"))),
    reason="a notebook needs pip install -e '.[docs]'",
)
@needs_chromium
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_a_real_notebook_shows_them(outputs, tmp_path, dark):
    """The outputs are looked at on a light and on a dark page."""
    *shown, plain = outputs
    assert all({"text/html", "text/plain"} <= set(data) for data in shown)
    assert set(plain) == {"text/plain"}
    ink, paper = ("#ddd", "#111") if dark else ("#222", "#fff")
    page = tmp_path / "notebook.html"
    body = "".join(f"<section>{data['text/html']}</section>" for data in shown)
    head = '<!DOCTYPE html><meta charset="utf-8"><title>notebook</title>'
    style = f'style="color: {ink}; background: {paper}; font-family: sans-serif"'
    page.write_text(f"{head}<body {style}>{body}</body>")
    browser = Browser(tmp_path / "profile")
    try:
        seen = browser.page(page, dark=dark)
        assert seen.faults() == []
        boxes = seen.js("""[...document.querySelectorAll("svg, table")].map(
            n => n.getBoundingClientRect()).map(r => [r.width, r.height])""")
        assert len(boxes) >= 10 and all(w > 50 and h > 20 for w, h in boxes)
        assert seen.js("document.documentElement.scrollWidth") <= 1280
        colors = seen.js("""[...document.querySelectorAll(".line, td, .tick")].map(
            n => getComputedStyle(n)[n.matches(".line") ? "stroke" : n.matches("td")
            ? "color" : "fill"])""")
        behind = luminance(re.findall(r"\w", paper[1:]), 16, 17)
        for color in set(colors):
            own = luminance(re.findall(r"\d+", color)[:3], 10, 1)
            high, low = max(own, behind), min(own, behind)
            assert (high + 0.05) / (low + 0.05) >= 3, color
        seen.screenshot(tmp_path / "notebook.png", full=True)
    finally:
        browser.close()


def luminance(channels, base, times):
    values = np.array([int(c, base) * times / 255 for c in channels])
    linear = np.where(
        values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4
    )
    return float(linear @ [0.2126, 0.7152, 0.0722])
