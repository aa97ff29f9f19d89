"""The page in a real browser: its values, its controls, its layout, its colours."""

import json
import math
import re

import numpy as np
import pytest
import trainings
from browser import DESKTOP, PHONE, browser as browser, needs_chromium

import optax_warmup as ow

pytestmark = [pytest.mark.slow, pytest.mark.train, needs_chromium]

NAMES = ("with <warmup>", "without", "ill & short")


@pytest.fixture(scope="module")
def runs():
    """Three runs of different lengths, one of which ends in NaN, by name."""
    healthy, without = trainings.healthy("adam 0.95"), trainings.no_warmup()
    found = dict(
        zip(NAMES, (healthy, without, trainings.nan_in_a_batch()), strict=True)
    )
    return {n: h for n, (h, _) in found.items()}, {n: x for n, (_, x) in found.items()}


@pytest.fixture(scope="module")
def written(runs, tmp_path_factory):
    histories, losses = runs
    path = tmp_path_factory.mktemp("page") / "report.html"
    return ow.diagnostics.write_report(path, histories, losses=losses)


def panel(title):
    """An expression for the number of a panel in the page's data."""
    return f"warmupReport.data.panels.findIndex(p => p.title === {title!r})"


def plot(title):
    return f"document.querySelector('[data-panel=\"' + {panel(title)} + '\"] .plot')"


def said(page, title):
    """The rows of the box beside a cross-hair, by name."""
    rows = page.js(f"[...{plot(title)}.querySelectorAll('.readout *')].map("
                   "e => e.matches('span') ? '' : e.textContent)")  # fmt: skip
    return [row for row in rows if row]


def point_at(page, title, step):
    """Moves the mouse to where a step is in a chart."""
    box = page.js(f"""(() => {{
        const plot = {plot(title)};
        plot.scrollIntoView({{block: "center"}});
        const r = plot.querySelector("svg").getBoundingClientRect();
        return [r.x, r.y, r.width, r.height];
    }})()""")
    data = page.js(f"(p => [p.box, p.steps])(warmupReport.data.panels[{panel(title)}])")
    (left, right, *_), (first, last) = data
    scale = box[2] / 400
    linear = page.js("document.querySelector('[value=linear]').checked")
    to = (lambda x: x) if linear else math.log1p
    share = (to(step) - to(first)) / (to(last) - to(first))
    page.move(box[0] + scale * (left + share * (right - left)), box[1] + box[3] / 2)


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_the_page_fits_and_is_readable(browser, written, size, dark, tmp_path):
    page = browser.page(written, size, dark)
    assert page.faults() == []
    assert page.js("document.documentElement.scrollWidth") <= size[0]
    verdict = page.js("document.querySelector('.verdict').textContent")
    assert "in “without” and “ill & short”; in “ill & short”: nu holds NaN" in verdict
    assert verdict.count(". ") == 0
    bottoms = page.js("""[...document.querySelectorAll(".figures.main figure")].map(
        f => f.getBoundingClientRect().bottom)""")
    assert len(bottoms) == 2
    if size == DESKTOP:  # the loss and the rate are on the first screen
        assert max(bottoms) <= size[1]
    else:
        assert bottoms[0] <= size[1]
    # Text has a contrast of at least 4.5 to 1 with what is behind it.
    worst = page.js("""(() => {
        const numbers = text => text.match(/[\\d.]+/g).map(Number);
        const light = ([r, g, b]) => [r, g, b].map(v => v / 255).map(
            v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4).reduce(
            (sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
        const behind = node => {
            const color = numbers(getComputedStyle(node).backgroundColor);
            return color.length === 3 ? color : behind(node.parentElement);
        };
        const nodes = document.querySelectorAll(
            ".verdict, .card p, .card h3, .card code, figcaption, td, th, .summary, "
            + "legend, label, details, footer p, svg .tick");
        return Math.min(...[...nodes].filter(n => n.getClientRects().length).map(n => {
            const style = getComputedStyle(n);
            const ink = n.namespaceURI.includes("svg") ? style.fill : style.color;
            const both = [light(numbers(ink)), light(behind(n))];
            const [a, b] = both.sort((x, y) => y - x);
            return (a + 0.05) / (b + 0.05);
        }));
    })()""")
    assert worst >= 4.5
    paper = page.js("getComputedStyle(document.body).backgroundColor")
    assert paper == ("rgb(20, 23, 26)" if dark else "rgb(255, 255, 255)")


def test_the_first_column_of_a_table_stays(browser, written):
    page = browser.page(written, PHONE)
    first, second, moved = page.js("""(() => {
        const box = document.querySelector(".table > div");
        const [a, b] = box.querySelectorAll("tbody tr:first-child > *");
        const before = [a, b].map(cell => cell.getBoundingClientRect().x);
        box.scrollLeft = 150;
        const after = [a, b].map(cell => cell.getBoundingClientRect().x);
        return [after[0] - before[0], after[1] - before[1], box.scrollLeft];
    })()""")
    assert (first, second, moved) == (0, -150, 150)
    height = page.js(
        "document.querySelector('tbody th').getBoundingClientRect().height"
    )
    assert height < 40  # names are not broken into letters


def test_values_under_the_pointer_are_those_of_the_runs(browser, written, runs):
    histories, losses = runs
    page = browser.page(written)
    point_at(page, "Loss", 60)
    head, *rows = said(page, "Loss")
    step = int(head.removeprefix("step "))
    assert abs(step - 60) <= 2
    for name, row in zip(NAMES[:2], rows, strict=False):
        assert row.startswith(f"{name}: {losses[name][step]:.4g}, mean ")
    assert rows[2].startswith(f"{NAMES[2]}: NaN, mean NaN")
    mean = losses[NAMES[0]][: step + 1][-int(np.ceil((step + 1) / 10)) :].mean()
    told = rows[0].split("mean ")[1].split(" at ")[0]  # perhaps of a step nearby
    assert float(told) == pytest.approx(mean, rel=2e-2)
    # The cross-hair is in all charts, at the same step.
    history = histories[NAMES[0]]
    assert rate_near(history, step) in said(page, "Learning rate")
    hairs = page.js("""[...document.querySelectorAll(".hair")].filter(
        h => h.style.display !== "none").length""")
    assert hairs == page.js("warmupReport.data.panels.filter("
                            f"p => p.steps[1] >= {step}).length")  # fmt: skip
    page.move(5, 5)
    assert page.js("document.querySelectorAll('.readout:not([hidden])').length") == 0
    # What was recorded at another step says so.
    point_at(page, "Loss", 720)
    step = int(said(page, "Loss")[0].removeprefix("step "))
    assert " at step " in rate_near(history, step)
    assert rate_near(history, step) in said(page, "Learning rate")
    # A run that is over says so.
    point_at(page, "Loss", 900)
    assert f"{NAMES[1]}: ended at step 399" in said(page, "Loss")
    assert page.faults() == []


def rate_near(history, step):
    """What is said of the rate of the first run at a step."""
    row = int(np.argmin(np.abs(np.log1p(history.steps) - np.log1p(step))))
    seen = history.steps[row]
    elsewhere = "" if seen == step else f" at step {seen:,}"
    return f"{NAMES[0]}: {history.learning_rate[row]:.4g}{elsewhere}"


def test_heat_maps_tell_the_group_and_its_value(browser, written, runs):
    history = runs[0][NAMES[0]]
    page = browser.page(written)
    title = f"RMS of sqrt(nu_hat) by group, {NAMES[0]}"
    page.js(f"{plot(title)}.focus()")
    for key in ("End", "ArrowDown"):
        page.press(key)
    head, row = said(page, title)
    group = history.groups[1]
    value = history.statistics["nu_hat_rms"][-1, 1]
    assert head == f"step {history.steps[-1]:,}"
    assert row.startswith(f"{group}: ")
    assert float(row.split(": ")[1]) == pytest.approx(value, rel=6e-3)


def test_the_keyboard_moves_and_a_reader_hears(browser, written, runs):
    losses = runs[1][NAMES[0]]
    page = browser.page(written)
    page.js(f"{plot('Loss')}.focus()")
    attributes = page.js(f"""(n => ["role", "tabindex", "aria-label", "aria-valuemin",
        "aria-valuemax", "aria-valuetext"].map(a => n.getAttribute(a)))(
        {plot("Loss")})""")
    assert attributes == [
        *("slider", "0", "Loss: values by step, arrow keys move", "0", "1199"),
        "no step chosen",
    ]
    for key in ("Home", "ArrowRight", "ArrowRight"):
        page.press(key)
    assert page.js(f"{plot('Loss')}.getAttribute('aria-valuenow')") == "2"
    text = page.js(f"{plot('Loss')}.getAttribute('aria-valuetext')")
    assert text.startswith(f"step 2; {NAMES[0]}: {losses[2]:.4g}, mean ")
    page.press("End")
    assert page.js(f"{plot('Loss')}.getAttribute('aria-valuenow')") == "1199"
    page.press("Escape")
    assert page.js(f"{plot('Loss')}.getAttribute('aria-valuetext')") == "no step chosen"
    # Everything that can be reached has a name.
    nameless = page.js("""[...document.querySelectorAll(
        "input, [tabindex], summary, section")].filter(n => !(n.ariaLabel
        || n.labels?.[0]?.textContent || n.textContent)).length""")
    assert nameless == 0


def test_hidden_runs_leave_and_the_axis_follows(browser, written):
    page = browser.page(written)
    ticks = """[...document.querySelectorAll("[data-panel='1'] .axes .tick")].map(
        t => t.textContent)"""
    seen = """[...document.querySelectorAll('[data-run="%d"]')].filter(
        n => n.getClientRects().length).length"""
    before = page.js(ticks)
    assert "0.1" in before and page.js(seen % 1) > 8
    page.click(".runs input[value='1']")
    assert page.js(seen % 1) == 0 and page.js(seen % 0) > 8
    # Without the highest rate of 0.1 the axis ends lower.
    assert "0.1" not in page.js(ticks)
    page.click(".runs input[value='1']")
    assert page.js(ticks) == before
    page.click(".runs input[value='0']")
    page.click(".runs input[value='2']")
    page.click(".runs input[value='1']")
    assert all(page.js(seen % run) == 0 for run in range(3))
    assert page.faults() == []


def test_the_script_draws_what_the_page_was_written_with(browser, written):
    """Everything is moved to linear and back: it returns to where Python drew it."""
    page = browser.page(written)
    picture = """[...document.querySelectorAll("svg *")].map(n => [n.tagName,
        ...["d", "x", "y", "cx", "cy", "width", "points"].map(a => n.getAttribute(a))])
        .filter(([tag]) => tag !== "line")"""
    texts = """[...document.querySelectorAll("svg text")].map(n => n.textContent)"""
    before, words = page.js(picture), page.js(texts)
    for kind in ("linear", "logarithmic"):
        page.click(f"[name=axis][value={kind}]")
        if kind == "linear":
            assert page.js(picture) != before
            assert page.js(texts) != words
    assert page.js(texts) == words
    for old, new in zip(before, page.js(picture), strict=True):
        for a, b in zip(old[1:], new[1:], strict=True):
            one, two = (re.findall(r"-?[\d.]+", x or "") for x in (a, b))
            np.testing.assert_allclose(
                np.array(one, float), np.array(two, float), atol=0.21
            )


def test_a_linear_axis_puts_steps_where_they_belong(browser, written):
    page = browser.page(written)
    page.click("[name=axis][value=linear]")
    point_at(page, "Loss", 600)
    step = int(said(page, "Loss")[0].removeprefix("step ").replace(",", ""))
    assert abs(step - 600) <= 8
    # The middle of the run is in the middle of the axis.
    x = float(page.js("document.querySelector('.hair').getAttribute('x1')"))
    left, right = page.js("warmupReport.data.panels[0].box.slice(0, 2)")
    assert x == pytest.approx(left + step / 1199 * (right - left), abs=0.2)


@pytest.mark.parametrize(
    "losses",
    [
        [2.5],
        [math.nan],
        [math.inf, -math.inf, 1.0],
        [1e308, 1.0, -1e308, 2.0],
        [0.0, 0.0],
        {5: 1.0, 10**9: 2.0},
        {},
    ],
    ids=str,
)
def test_pages_of_odd_losses_work(browser, losses, tmp_path):
    first, _ = trainings.first_update_zero()
    one = ow.diagnostics.load_moments(_cut(first, 1).save(tmp_path / "one"))
    path = ow.diagnostics.write_report(tmp_path / "r.html", one, losses=losses)
    page = browser.page(path)
    page.click("[name=axis][value=linear]")
    page.click("[name=axis][value=logarithmic]")
    for title in page.js("warmupReport.data.panels.map(p => p.title)"):
        page.js(f"{plot(title)}.focus()")
        for key in ("Home", "ArrowRight", "End"):
            page.press(key)
    assert page.faults() == []
    bad = page.js("""[...document.querySelectorAll("svg *")].flatMap(
        n => [...n.attributes].map(a => a.value)).filter(
        v => /NaN|Infinity|undefined/.test(v))""")
    assert bad == []
    if losses == [2.5]:
        assert said(page, "Loss") == ["step 0", "2.5, mean 2.5"]


def _cut(history, rows):
    """The first rows of a record."""
    import dataclasses

    changed = {}
    for field in dataclasses.fields(history):
        value = getattr(history, field.name)
        if isinstance(value, np.ndarray) and len(value) == len(history.steps):
            changed[field.name] = value[:rows]
        elif isinstance(value, dict):
            kind = type(value)
            changed[field.name] = kind(
                {
                    k: x[:rows] if isinstance(x, np.ndarray) else x
                    for k, x in value.items()
                }
            )
    return dataclasses.replace(history, **changed)


def test_a_hundred_thousand_losses_keep_their_extremes(browser, runs, tmp_path):
    history = runs[0][NAMES[0]]
    losses = 1 + np.exp(-np.arange(100_000) / 2e4)
    losses[40_321], losses[70_007] = 9.0, math.nan
    path = ow.diagnostics.write_report(tmp_path / "r.html", history, losses=losses)
    assert path.stat().st_size < 250_000
    page = browser.page(path)
    steps, values = page.js("(l => [l.x, l.y])(warmupReport.data.panels[0].lines[0])")
    assert len(steps) < 1000
    assert values[steps.index(40_321)] == 9.0
    assert values[steps.index(70_007)] == "NaN"
    assert (steps[0], steps[-1]) == (0, 99_999)
    caption = page.js("document.querySelector('figcaption').textContent")
    assert caption.endswith("1 loss is not finite, the first at step 70,007.")


def test_names_cannot_become_markup(browser, runs, tmp_path):
    history = runs[0][NAMES[0]]
    name = "</script><img src=x onerror=alert(1)>"
    two = {name: history, "b": history}
    path = ow.diagnostics.write_report(tmp_path / "r.html", two)
    page = browser.page(path)
    assert page.faults() == []
    assert page.js("document.querySelectorAll('img').length") == 0
    assert page.js("warmupReport.data.runs[0]") == name
    assert json.dumps(name) not in path.read_text()
