"""What all pictures share: ticks, labels, numbers, the table of charts, and files."""

import os

import numpy as np
import pytest
import trainings

from optax_warmup._drawing import ticks
from optax_warmup._drawing.labels import shorten, shorten_middle, shorten_path, spread
from optax_warmup._drawing.numbers import count, number, percent
from optax_warmup._drawing.panel import Chart, Mark
from optax_warmup._files import write_atomically
from optax_warmup.diagnostics import _loss_curves as loss_curves
from optax_warmup.diagnostics._charts import CHARTS, charts


@pytest.mark.parametrize("most", [2, 3, 5, 6])
@pytest.mark.parametrize(
    ("low", "high"),
    [
        (1e-9, 1e3),
        (0.3, 4.0),
        (0.98, 1.02),
        (1, 30),
        (1, 1e5),
        (0.35, 0.4),
        (2e-4, 9e-4),
    ],
)
def test_ticks_are_few_round_and_inside(low, high, most):
    for make in (ticks.linear, ticks.log):
        chosen = make(low, high, most)
        assert 1 <= len(chosen) <= most
        assert chosen == sorted(set(chosen))
        room = 1e-6 * (high - low)
        assert all(low - room <= x <= high + room for x in chosen)
        assert all(len(f"{x:.6e}".split("e")[0].rstrip("0")) <= 5 for x in chosen)


def test_ticks_by_value():
    assert ticks.linear(0, 1, 5) == [0, 0.5, 1]
    assert ticks.linear(0, 100_000, 6) == [0, 2e4, 4e4, 6e4, 8e4, 1e5]
    assert ticks.linear(2, 2, 5) == [2]
    assert ticks.log(1e-6, 1e-3, 10) == pytest.approx([1e-6, 1e-5, 1e-4, 1e-3])
    assert ticks.log(1e-6, 1e-3, 3) == pytest.approx([1e-5, 1e-3])
    assert ticks.log(2e-4, 9e-4, 5) == pytest.approx([2e-4, 5e-4])
    assert ticks.log(1, 30, 5) == [1, 2, 5, 10, 20]
    assert ticks.log(1, 30, 4) == [1, 3, 10, 30]
    assert ticks.log(0.98, 1.02, 5) == pytest.approx([0.98, 0.99, 1.0, 1.01, 1.02])


def test_bounds_hold_what_is_drawn():
    values = [np.array([np.nan, 2.0, -1.0]), np.array([np.inf, 5.0])]
    assert ticks.bounds(values, False) == pytest.approx((-1.36, 5.36))
    assert ticks.bounds(values, True) == pytest.approx((2 / 1.1, 5.5))
    assert ticks.bounds(values, False, (0.0, 10.0)) == pytest.approx((-1.66, 10.66))
    assert ticks.bounds([np.array([0.0, 1.0])], False)[0] == 0
    assert ticks.bounds([], True) == (0.1, 1.0)
    assert ticks.bounds([np.array([-1.0])], True) == (0.1, 1.0)


def test_labels_are_spread_as_little_as_possible():
    """Against all placements on a grid."""
    places, gap = [0.5, 0.5, 0.52, 0.0], 0.1
    moved = spread(places, gap, 0, 1)
    assert moved == pytest.approx([0.4067, 0.5067, 0.6067, 0.0], abs=1e-4)
    grid = np.linspace(0, 1, 101)
    best = min(
        (a - 0.5) ** 2 + (b - 0.5) ** 2 + (c - 0.52) ** 2
        for a in grid
        for b in grid[grid >= a + gap - 1e-9]
        for c in grid[grid >= b + gap - 1e-9]
    )
    assert sum((m - p) ** 2 for m, p in zip(moved, places, strict=True)) <= best + 1e-9
    assert spread([0.1, 0.9], 0.1, 0, 1) == [0.1, 0.9]
    assert spread([], 0.1, 0, 1) == []


def test_labels_stay_inside():
    assert spread([1.0, 1.0, 0.99], 0.1, 0, 1) == pytest.approx([0.9, 1.0, 0.8])
    assert spread([0.0, 0.0], 0.1, 0.05, 1) == pytest.approx([0.05, 0.15])
    assert spread([0.5] * 5, 0.5, 0, 1) == pytest.approx([0, 0.25, 0.5, 0.75, 1])


def test_numbers_as_text():
    wanted = {
        0: "0", 1.0: "1", 0.001: "0.001", 2e-5: "2e-5", 1.2345e-5: "1.23e-5",
        1000: "1,000", 12345.6: "12,346", 999.7: "1,000", 2e4: "20,000", 5e6: "5e6",
        1e5: "1e5", -0.25: "-0.25", 0.12345: "0.123", float("nan"): "-",
        float("inf"): "inf",
    }  # fmt: skip
    assert {x: number(x) for x in wanted} == wanted
    assert [number(x, 4) for x in (3e-4, 0.12345, 12.5, 7.7071e-14)] == [
        *("3e-4", "0.1235", "12.5", "7.707e-14"),
    ]
    assert [percent(x) for x in (0.43, 0.0012, 1.2, 0, 0.099)] == [
        *("43%", "0.12%", "120%", "0%", "9.9%"),
    ]
    assert [count(x) for x in (1, 20_000, 1.5e6, 2e9)] == ["1", "20,000", "1.5M", "2G"]


def test_names_are_shortened():
    assert shorten("a long name", 6) == "a lon…"
    assert shorten("name", 6) == "name"
    assert shorten_middle("peak 0.1, warmup 100", 16) == "peak 0.1…mup 100"
    assert shorten_middle("name", 6) == "name"
    assert shorten_path("decoder/layer3/kernel", 40) == "decoder/layer3/kernel"
    assert shorten_path("decoder/layer3/kernel", 18) == "deco/laye/kernel"
    assert len(shorten_path("decoder/layer3/" + "k" * 40, 18)) == 18


def test_marks_in_one_place_say_their_words_once():
    marks = [Mark(1.0, y, run, "same") for run, y in enumerate((2.0, 3.0))]
    chart = Chart("key", "", "", [], [*marks, Mark(2.0, 2.0, 0, "same")])
    assert [text for _, text in chart.spoken_marks()] == ["same", "", "same"]


def test_a_long_loss_keeps_its_extremes():
    losses = 3 + np.random.default_rng(0).random(100_000)
    losses[[50, 20_000, 70_000]] = 9.0, 1.0, -np.inf
    x, y = loss_curves.raw(dict(enumerate(losses)))
    assert len(x) < 1000 and np.all(np.diff(x) > 0)
    np.testing.assert_array_equal(y, losses[x.astype(int)])
    assert {0, 50, 20_000, 70_000, 99_999} <= set(x)
    # About as many points in each part of either axis.
    assert np.histogram(x, 10, (0, 1e5))[0].min() > 25
    assert np.histogram(np.log1p(x), 5, (0, np.log(1e5)))[0][2:].min() > 25
    few = dict(enumerate(losses[:300]))
    np.testing.assert_array_equal(loss_curves.raw(few)[1], losses[:300])


@pytest.mark.parametrize("steps", [np.arange(3000), np.arange(0, 10**6, 977)])
def test_a_smoothed_loss_is_the_mean_over_the_last_tenth(steps):
    """Against each mean computed by itself."""
    losses = 1 + np.random.default_rng(1).random(len(steps))
    losses[40] = np.inf
    x, y = loss_curves.smoothed(dict(zip(steps.tolist(), losses, strict=True)))
    assert x[-1] == steps[-1] and len(x) <= 301
    for step, mean in zip(x, y, strict=True):
        within = (steps > step - (step + 1) / 10) & (steps <= step)
        wanted = losses[within & np.isfinite(losses)].mean() if within.any() else 0
        if not np.isfinite(losses[steps == step][0]):
            assert np.isnan(mean)
        else:
            np.testing.assert_allclose(mean, wanted, rtol=1e-12)


def test_ticks_of_steps_begin_at_the_first_step():
    assert ticks.steps(0, 1000) == [0, 1, 10, 100, 1000]
    assert ticks.steps(0, 10**9) == [0, 10, 10**3, 10**5, 10**7, 10**9]
    assert ticks.steps(0, 1) == [0, 1]
    assert ticks.steps(1000, 8000) == [1000, 2000, 5000]


def chart_of(key, runs, losses=None):
    (chart,) = [chart for chart in charts(runs, losses or {}) if chart.key == key]
    return chart


@pytest.fixture(scope="module")
def two():
    """Two runs by name, and their losses."""
    fast, losses = trainings.healthy("adam 0.95")
    slow, _ = trainings.no_warmup()
    return {"fast": fast, "slow": slow}, {"fast": dict(enumerate(losses))}


@pytest.mark.parametrize(
    ("key", "values"),
    [
        ("learning_rate", lambda h: h.learning_rate),
        ("effective_sample_size", lambda h: h.effective_sample_size),
        ("update_rms", lambda h: h.overall["update_rms"]),
        ("normalized_gradient_rms", lambda h: h.overall["normalized_gradient_rms"]),
        ("update_to_weight", lambda h: h.overall["update_to_weight"]),
        ("alignment", lambda h: h.overall["alignment"]),
    ],
)
def test_charts_hold_the_record(two, key, values):
    runs, losses = two
    chart = chart_of(key, runs, losses)
    curves = [line for line in chart.lines if line.run is not None and not line.dots]
    assert [line.label for line in curves] == ["fast", "slow"]
    for line, history in zip(curves, runs.values(), strict=True):
        np.testing.assert_array_equal(line.x, history.steps)
        np.testing.assert_array_equal(line.y, values(history))


def test_references_marks_and_dots_of_charts(two):
    runs, losses = two
    fast, slow = runs.values()
    samples = chart_of("effective_sample_size", runs)
    assert [line.label for line in samples.lines][:2] == ["most: 39", "most: 1,999"]
    # b2 = 0.95 is at its 39 at the peak; no warmup has one gradient at step 0.
    row = int(np.argmax(fast.learning_rate >= 0.99 * fast.learning_rate.max()))
    assert [(m.x, m.text) for m in samples.marks] == [
        (fast.steps[row], "39, ±23%"),
        (0, "1, ±141%"),
    ]
    ratio = chart_of("update_to_weight", runs)
    assert ratio.marks[1].y == slow.overall["update_to_weight"][0]
    assert [mark.falls for mark in ratio.marks] == [False, True]
    gradients = chart_of("normalized_gradient_rms", runs)
    dots = [line for line in gradients.lines if line.dots]
    each = fast.statistics["normalized_gradient_rms"]
    np.testing.assert_array_equal(dots[0].y, each.max(axis=1))
    labels = [line.label for line in gradients.lines if line.run is None]
    assert labels == ["spike, b2=0.999", "spike, b2=0.95"]
    # 0.1 against 0.003: far apart, so on a logarithmic axis.
    assert chart_of("learning_rate", runs).log
    assert not chart_of("learning_rate", {"fast": fast}).log
    lines = chart_of("loss", runs, losses).lines
    assert [(line.run, line.pale) for line in lines] == [
        *((0, True), (1, True), (0, False), (1, False)),
    ]


def test_charts_of_what_was_not_recorded_are_left_out():
    few, _ = trainings.rate_outside()  # nothing that asks for a rate
    keys = [chart.key for chart in charts({"": few}, {})]
    assert "effective_sample_size" in keys and "update_rms" in keys
    assert not {"learning_rate", "sharpness", "coherence", "loss"} & set(keys)
    zero, _ = trainings.no_rate_at_all()
    assert not chart_of("learning_rate", {"": zero}).log


def test_every_chart_is_described_once():
    keys = [spec.key for spec in CHARTS]
    assert len(keys) == len(set(keys)) == 11
    for spec in CHARTS:
        assert spec.caption.endswith(".") and spec.title[0].isupper()


def test_a_file_is_complete_or_as_it_was(tmp_path):
    path = tmp_path / "file"
    with write_atomically(path) as file:
        file.write(b"old")
        assert not path.exists()
    with pytest.raises(RuntimeError), write_atomically(path) as file:
        file.write(b"half of the n")
        raise RuntimeError
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]
    with write_atomically(path) as file:
        file.write(b"new")
    assert path.read_bytes() == b"new"
    with pytest.raises(OSError), write_atomically(tmp_path) as file:
        file.write(b"a folder is in the way")
    assert os.listdir(tmp_path) == ["file"]
    assert os.listdir(tmp_path.parent).count(f"{tmp_path.name}.partial") == 0


def test_file_and_folder_reach_the_disk(tmp_path, monkeypatch):
    """The file's bytes before its new name, the folder's entry after it."""
    events = []
    flush, replace = os.fsync, os.replace

    def fsync(descriptor):
        is_folder = os.path.isdir(f"/proc/self/fd/{descriptor}")
        events.append("folder" if is_folder else "file")
        flush(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(
        os, "replace", lambda *names: (events.append("rename"), replace(*names))
    )
    with write_atomically(tmp_path / "file") as file:
        file.write(b"bytes")
    assert events == ["file", "rename", "folder"]


def test_a_folder_that_does_not_exist_is_what_is_named(tmp_path):
    wanted = pytest.raises(FileNotFoundError, match="folder does not exist; create")
    with wanted as error, write_atomically(tmp_path / "missing" / "curve.png"):
        pass
    assert error.value.filename == str(tmp_path / "missing")
