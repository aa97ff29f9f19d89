"""Look before you train: simulate, describe, plot and the picture in text."""

import dataclasses
import itertools
import subprocess
import sys

import jax
import matplotlib
import matplotlib.figure
import matplotlib.text
import numpy as np
import optax
import pytest

import optax_warmup as ow
from optax_warmup._inspect import sampled
from optax_warmup._inspect.terminal import draw

matplotlib.use("agg")
COSINE = ow.warmup_cosine(3e-4, 20, 1000)


def test_simulate_is_the_schedule_at_each_step():
    values = ow.simulate(COSINE, 1100)
    assert values.shape == (1100,)
    assert values.dtype == np.float32
    for step in (0, 1, 19, 20, 21, 999, 1000, 1099):
        assert values[step] == COSINE(step)


@pytest.mark.parametrize(
    "schedule",
    [
        optax.piecewise_interpolate_schedule("linear", 1.0, {3: 0.5, 6: 0.1}),
        optax.join_schedules([optax.linear_schedule(0, 1, 4)] * 2, [4]),
        lambda step: 1.0 if step < 3 else 0.5,  # cannot be traced
        lambda step: 0.25,  # ignores the step
        ow.warmup(optax.cosine_decay_schedule(1.0, 5), 3),
    ],
    ids=["no arrays", "joined", "untraceable", "constant", "wrapped"],
)
def test_simulate_takes_any_schedule(schedule):
    expected = [float(schedule(step)) for step in range(10)]
    np.testing.assert_allclose(ow.simulate(schedule, 10), expected, rtol=1e-6)


def test_simulate_takes_numbers_and_no_steps():
    assert ow.simulate(0.5, 3).tolist() == [0.5] * 3
    assert ow.simulate(COSINE, 0).shape == (0,)
    assert ow.simulate(COSINE, 0).dtype == np.float32


def test_simulate_compiles_nothing_for_other_numbers():
    traces = []

    def counted(step):
        traces.append(step)
        return step * 1.0

    ow.simulate(ow.multiply(ow.warmup(1.0, 3), counted), 10)
    first = len(traces)
    for peak in (2.0, 3.0):
        ow.simulate(ow.multiply(ow.warmup(peak, 3), counted), 10)
    assert len(traces) == first


@pytest.mark.parametrize(
    ("schedule", "steps", "error", "words"),
    [
        (COSINE, -1, ValueError, ["simulate: steps", "-1"]),
        (COSINE, 1.5, ValueError, ["simulate: steps", "1.5"]),
        (COSINE, "9", TypeError, ["simulate: steps", "'9'"]),
        (COSINE, [1, 2], TypeError, ["simulate: steps", "[1, 2]"]),
        (-1.0, 9, ValueError, ["simulate: schedule", "-1.0"]),
        ("cosine", 9, TypeError, ["simulate: schedule", "'cosine'"]),
        (ow.constant(np.ones(3)), 9, ValueError, ["simulate: schedule", "(3,)"]),
    ],
)
def test_simulate_says_what_is_wrong(schedule, steps, error, words):
    with pytest.raises(error) as caught:
        ow.simulate(schedule, steps)
    for word in words:
        assert word in str(caught.value)


def test_describe_a_warmup_and_a_decay():
    found = ow.describe(COSINE, 1001)
    assert found.steps == 1001
    assert found.first_value == 0
    assert found.last_value == 0
    assert found.peak_value == np.float32(3e-4)
    assert found.peak_step == 20
    assert found.warmup_end == 20
    assert found.zero_updates == 2
    assert found.first_zero == 0
    assert found.discontinuities == ()
    # The ramp's and the cosine's trapezoids: half the height times the length.
    np.testing.assert_allclose(found.area, 3e-4 * 1000 / 2, rtol=1e-5)


@pytest.mark.parametrize(
    ("schedule", "end"),
    [
        (ow.warmup_constant(1.0, 30), 30),
        (ow.warmup(1.0, 30, offset=1), 29),
        (ow.wsd(1.0, 30, 100, 20), 30),
        (ow.constant(1.0), 0),
        (ow.transition(1.0, 0.0, 50), 0),
        (ow.piecewise(0.0, [(10, 0.5), (10, 0.5), (10, 1.0)]), 30),
        (ow.delay(ow.warmup_linear(1.0, 30, 80), 5), 35),
        (ow.transition(0.0, 1.0, 1000), 99),  # still rising
        (ow.cooldown(ow.warmup(1.0, 30), 10, 10), 10),  # never reaches its aim
    ],
)
def test_describe_finds_the_end_of_the_warmup(schedule, end):
    assert ow.describe(schedule, 100).warmup_end == end


@pytest.mark.parametrize(
    ("schedule", "jumps"),
    [
        (ow.join([(30, 1.0)], 0.5), [30]),
        (ow.join([(30, 1.0), (1, 0.5)], 2.0), [30, 31]),
        (ow.warmup_constant(1.0, 1), [1]),
        (ow.warmup_constant(1.0, 2), []),
        (ow.warmup_inverse_sqrt(1.0, 3), []),
        (ow.inverse_power(1.0, timescale=1, power=1), []),
        (ow.join([(50, ow.transition(1.0, 0.0, 50))], COSINE), []),
        (ow.switch(ow.warmup(1.0, 10), 1.01, 60, allow_jump=True), [60]),
        (ow.switch(ow.transition(1.0, 0.5, 99), 0.5, 60, allow_jump=True), [60]),
        (
            optax.sgdr_schedule(
                [
                    {
                        "init_value": 0.0,
                        "peak_value": 1.0,
                        "decay_steps": 30,
                        "warmup_steps": 5,
                        "end_value": 0.2,
                    }
                ]
                * 3
            ),
            [30, 60],
        ),
        (optax.piecewise_constant_schedule(1.0, {20: 0.1, 40: 0.1}), [20, 40]),
    ],
)
def test_describe_finds_jumps_and_no_others(schedule, jumps):
    found = ow.describe(schedule, 100).discontinuities
    assert [step for step, _, _ in found] == jumps
    for step, before, after in found:
        np.testing.assert_allclose(before, float(schedule(step - 1)), rtol=1e-6)
        np.testing.assert_allclose(after, float(schedule(step)), rtol=1e-6)


@pytest.mark.parametrize(
    ("schedule", "steps"),
    [
        (ow.warmup_cosine(3e-4, 2000, 100_000), 100_000),
        (ow.wsd(1e-3, 10, 1000, decay_steps=100), 1000),
        (jax.jit(lambda s: s)(ow.warmup_linear(1e-3, 10, 100)), 100),
        # What does not end at 0 is shown with some of what follows.
        (ow.warmup_constant(1e-3, 2000), 2250),
        (ow.warmup_inverse_sqrt(1e-3, 100), 400),
    ],
    ids=repr,
)
def test_a_schedule_knows_its_length(schedule, steps):
    assert ow.describe(schedule) == ow.describe(schedule, steps)
    assert ow.plot(schedule)[1].get_xlim()[1] == steps - 1


def test_a_length_is_that_of_the_longest_schedule_and_must_be_known():
    axes = ow.plot({"a": ow.warmup_linear(1, 5, 50), "b": ow.wsd(1, 5, 90, 9)})[1]
    assert axes.get_xlim()[1] == 89
    for look in (ow.describe, ow.plot):
        for unknown in (lambda step: 1.0, 0.1, optax.linear_schedule(1, 0, 9)):
            with pytest.raises(TypeError, match=f"{look.__name__}: steps must be giv"):
                look(unknown)


LONG = 300_000
LONG_SCHEDULES = (
    ow.warmup_cosine(3e-4, 2000, LONG),
    ow.warmup_linear(1.0, 7, LONG),
    ow.warmup_constant(1.0, 123_456),
    ow.cycle(ow.transition(1.0, 0.0, 5003), 5003),
    ow.multistep(1.0, [(7, 0.5), (100_003, 0.05), (222_222, 0.0)]),
    ow.staircase(ow.transition(1.0, 0.0, LONG), 30_000),
    ow.cooldown(ow.constant(1.0), LONG - 1000, 500),
    ow.join([(3, 0.1), (LONG // 3, 1.0), (1, 2.0)], 0.5),
    ow.delay(ow.warmup_linear(1.0, 100, 2000), 77_777),
)


@pytest.mark.parametrize("schedule", LONG_SCHEDULES, ids=repr)
def test_a_long_run_is_described_from_few_of_its_steps(schedule, monkeypatch):
    exact = ow.describe(schedule, LONG)
    assert exact.evaluated == LONG
    monkeypatch.setattr(sampled, "_MOST", 2**12)
    found = ow.describe(schedule, LONG)
    assert found.evaluated < LONG / 20
    assert found.area == pytest.approx(exact.area, rel=1e-3)
    assert f"{LONG:,}, of which {found.evaluated:,} were evaluated" in str(found)
    for field in dataclasses.fields(found):
        if field.name not in ("evaluated", "area"):
            assert getattr(found, field.name) == getattr(exact, field.name), field


def test_a_schedule_with_too_many_changes_is_described_whole_or_not_at_all(monkeypatch):
    monkeypatch.setattr(sampled, "_MOST", 2**12)
    monkeypatch.setattr(sampled, "_BUSY", 2**6)
    # 64 is a divisor of the distance of the steps in an even grid.
    schedule = ow.cycle(ow.warmup_linear(1.0, 10, 64), 64)
    with pytest.raises(ValueError, match=r"steps must be at most 4,096 .* got 524,2"):
        ow.describe(schedule, 2**19)
    assert ow.describe(schedule, 2**12).zero_updates == 64


def test_describe_in_words():
    text = str(ow.describe(ow.join([(5, 1.0), (5, 0.5), (5, 0.1)], 0.0), 20))
    assert "peak          1 at step 0" in text
    assert "warmup        none" in text
    assert "zero updates  5, the first at step 15" in text
    assert "1 to 0.5 at step 5; 0.5 to 0.1 at step 10; 0.1 to 0 at step 15" in text
    stairs = ow.join([(5, 2.0**-k) for k in range(9)], 0.001)
    assert "and 6 more" in str(ow.describe(stairs, 60))
    assert "area          0\n" in str(ow.describe(0.0, 5))


def test_describe_refuses_what_is_not_finite():
    with pytest.raises(ValueError, match="describe: schedule .* inf at step 7"):
        ow.describe(lambda step: 1.0 if step < 7 else float("inf"), 10)
    with pytest.raises(ValueError, match="describe: steps"):
        ow.describe(COSINE, 0)


def test_plot_draws_the_values():
    figure, axes = ow.plot(COSINE, 1001)
    assert figure is axes.figure
    (line,) = axes.lines
    np.testing.assert_array_equal(line.get_xdata(), np.arange(1001))
    np.testing.assert_array_equal(line.get_ydata(), ow.simulate(COSINE, 1001))
    (mark,) = axes.collections
    np.testing.assert_allclose(mark.get_offsets(), [[20, 3e-4]], rtol=1e-6)
    assert "3e-4 at step 20" in [text.get_text() for text in axes.texts]
    matplotlib.pyplot.close(figure)


def test_plot_names_curves_apart_and_in_their_colours():
    schedules = {"cosine": COSINE, "linear": ow.warmup_linear(3e-4, 9, 1000), "c": 1e-4}
    figure, axes = ow.plot(schedules, 1001)
    figure.canvas.draw()
    names = {text.get_text(): text for text in axes.texts}
    assert list(names) == list(schedules)
    for line, text in zip(axes.lines, axes.texts, strict=True):
        assert text.get_color() == line.get_color()
    # Of the text alone, without the line that leads to it.
    boxes = [matplotlib.text.Text.get_window_extent(text) for text in axes.texts]
    boxes.sort(key=lambda box: box.y0)
    assert boxes[0].y0 >= axes.get_window_extent().y0 - 1
    for below, above in itertools.pairwise(boxes):
        assert below.y1 <= above.y0 + 1
    matplotlib.pyplot.close(figure)


def test_plot_writes_long_names_above():
    name = "warmup_cosine(3e-4, 20, 1000)"
    figure, axes = ow.plot({name: COSINE}, 1001)
    figure.canvas.draw()
    text = next(text for text in axes.texts if text.get_text() == name)
    assert text.get_window_extent().y0 > axes.get_window_extent().y1
    matplotlib.pyplot.close(figure)


def test_plot_into_given_axes_with_a_logarithmic_axis(tmp_path):
    figure = matplotlib.figure.Figure()
    axes = figure.subplots()
    found, same = ow.plot({"a": COSINE, "zero": 0.0}, 1001, log=True, axes=axes)
    assert (found, same) == (figure, axes)
    assert axes.get_yscale() == "log"
    assert axes.get_ylim()[0] > 1e-6 * 3e-4 / 10
    for kind in ("png", "svg"):
        figure.savefig(tmp_path / f"picture.{kind}")
        assert (tmp_path / f"picture.{kind}").stat().st_size > 5000


@pytest.mark.parametrize(
    ("schedules", "steps", "error", "words"),
    [
        ({}, 10, ValueError, ["plot: schedules", "empty"]),
        (COSINE, 1, ValueError, ["plot: steps", "1"]),
        ({"a": "b"}, 10, TypeError, ["plot: schedule", "'b'"]),
        ({"a": -1.0}, 10, ValueError, ["plot: schedule", "-1.0"]),
        ({1: COSINE, "1": COSINE}, 10, TypeError, ["plot: the names", "got 1"]),
    ],
)
def test_plot_says_what_is_wrong(schedules, steps, error, words):
    with pytest.raises(error) as caught:
        ow.plot(schedules, steps)
    for word in words:
        assert word in str(caught.value)


def test_plot_refuses_what_it_would_ignore():
    with pytest.raises(TypeError, match="plot: log must be True or False, got 'y'"):
        ow.plot(COSINE, 10, log="y")
    with pytest.raises(ValueError, match="plot: schedules must have a value above 0"):
        ow.plot({"none": 0.0, "zero": ow.constant(0)}, 10, log=True)
    with pytest.raises(TypeError, match="plot: axes must be matplotlib axes, got 3"):
        ow.plot(COSINE, 10, axes=3)


def test_matplotlib_is_imported_by_plot_alone():
    code = (
        "import sys, optax_warmup as ow\n"
        "ow.describe(ow.warmup_constant(1.0, 3), 9)\n"
        "assert 'matplotlib' not in sys.modules\n"
        "sys.modules['matplotlib'] = None\n"
        "try:\n"
        "    ow.plot(ow.warmup_constant(1.0, 3), 9)\n"
        "except ImportError as error:\n"
        "    assert \"pip install 'optax_warmup[plot]'\" in str(error)\n"
        "else:\n"
        "    raise AssertionError('no error')\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def dots(picture: str) -> np.ndarray:
    """The dots of the first curve's picture, as rows of 0 and 1, top first."""
    lines = [line for line in picture.splitlines() if "┤" in line or "│" in line]
    lines = [line[max(line.find("┤"), line.find("│")) + 1 :] for line in lines]
    width = max(map(len, lines))
    grid = np.zeros((4 * len(lines), 2 * width), int)
    places = [(0, 0), (1, 0), (2, 0), (0, 1), (1, 1), (2, 1), (3, 0), (3, 1)]
    for row, line in enumerate(lines):
        for column, sign in enumerate(line):
            if sign != " ":
                bits = ord(sign) - 0x2800
                for bit, (down, right) in enumerate(places):
                    grid[4 * row + down, 2 * column + right] = bits >> bit & 1
    return grid


@pytest.mark.parametrize(
    "schedule",
    [
        ow.transition(0.0, 1.0, 1000),
        ow.warmup_cosine(1.0, 100, 1000),
        ow.join([(300, 1.0), (300, 0.3)], 0.8),
        optax.cosine_onecycle_schedule(1001, 1.0),
    ],
    ids=["line", "cosine", "stairs", "one cycle"],
)
def test_text_picture_has_its_dots_where_the_curve_is(schedule):
    grid = dots(draw({"": schedule}, 1001, width=64, height=15))
    rows, columns = grid.shape
    values = np.array([float(schedule(step)) for step in range(1001)])
    values = values / values.max()
    for column in range(columns):
        steps = np.round(np.arange(1001) * (columns - 1) / 1000) == column
        low, high = values[steps].min(), values[steps].max()
        drawn = rows - 1 - np.flatnonzero(grid[:, column])
        assert drawn.min() <= round(low * (rows - 1)) + 1e-9
        assert drawn.max() >= round(high * (rows - 1)) - 1e-9
        # Nothing but the curve: beyond it, only what joins it to the next column.
        assert len(drawn) == drawn.max() - drawn.min() + 1
    assert grid.any(axis=0).all()


def test_text_picture_labels_and_fits():
    schedules = {"cosine": COSINE, "constant": 1e-4}
    for width in (30, 80, 120):
        lines = draw(schedules, 1001, width=width).splitlines()
        assert max(map(len, lines)) <= width
        assert lines[0].startswith("3e-4 ┤")
        assert lines[-2].split() == ["a", "cosine"]
        assert lines[-1].split() == ["b", "constant"]
        body = "".join(lines[:16])
        assert body.count("a") == 1
        assert body.count("b") == 1
    assert "1,000" in lines[17]


def test_text_picture_in_colour_and_in_ascii():
    schedules = {"a": COSINE, "b": 1e-4}
    plain = draw(schedules, 1001)
    colored = draw(schedules, 1001, color=True)
    assert "\x1b[34m" in colored
    assert "\x1b[31m" in colored
    for code in ("\x1b[34m", "\x1b[31m", "\x1b[0m"):
        colored = colored.replace(code, "")
    assert colored == plain
    assert draw(schedules, 1001, braille=False).isascii()


@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize("schedule", [0.0, 0.1, COSINE, lambda s: float("nan")])
def test_text_picture_of_odd_schedules(schedule, log):
    lines = draw({"": schedule}, 2, width=40, height=6, log=log).splitlines()
    assert len(lines) == 8
    assert max(map(len, lines)) <= 40
