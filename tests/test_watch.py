"""A run that is watched: files that change under the reader, and what is shown."""

import io
import math
import os
import sys
from pathlib import Path

import pytest
import trainings
from hypothesis import given, settings, strategies as st
from watched_runs import a_run, lines_of, texts

from optax_warmup._watch import show
from optax_warmup._watch.folder import find, run_of
from optax_warmup._watch.follow import GrowingFile
from optax_warmup._watch.page import page
from optax_warmup._watch.run import WatchedRun

ROOT = Path(__file__).parent.parent
WATCH = [sys.executable, "-m", "optax_warmup", "watch"]


# Files that change.

OPERATIONS = ("append", "half", "cut", "rewrite", "replace", "remove", "nothing")


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(OPERATIONS), st.integers(0, 9)), max_size=12))
def test_lines_are_those_of_the_file_whatever_happens_to_it(tmp_path_factory, steps):
    path = tmp_path_factory.mktemp("growing") / "metrics.jsonl"
    followed, seen = GrowingFile(), []
    text = b""
    for operation, number in steps:
        line = f"row {number}".encode()
        if operation == "append":
            text += line + b"\n"
        elif operation == "half":
            text += line
        elif operation == "cut":
            text = text[: len(text) * number // 10]
        elif operation in ("rewrite", "replace"):
            text = b"".join(b"new %d %d\n" % (number, i) for i in range(number))
        if operation == "remove":
            path.unlink(missing_ok=True)
        elif operation == "replace":
            other = path.with_name("other")
            other.write_bytes(text)
            other.replace(path)
        else:
            path.write_bytes(text)
        news = followed.poll(path)
        seen = seen[: len(seen) - news.dropped] + news.lines
        if operation != "remove":
            assert seen == text.split(b"\n")[:-1]
            assert news.rest == text.split(b"\n")[-1]
        assert len(followed) == len(seen)


def test_a_file_that_was_cut_and_has_grown_again_is_read_anew(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b"a\nb\nc\n")
    followed = GrowingFile()
    assert followed.poll(path).lines == [b"a", b"b", b"c"]
    with path.open("r+b") as file:  # the same file, longer than before
        file.truncate(2)
        file.seek(0, os.SEEK_END)
        file.write(b"B\nC\nD\n")
    assert followed.poll(path) == ([b"B", b"C", b"D"], 2, b"")


# Where a run is.


def test_a_run_is_found_by_any_of_its_names(tmp_path):
    going, run = tmp_path / "run.incomplete", tmp_path / "run"
    assert not find(run_of(run)).begun
    a_run(going)
    for name in (run, going, going / "metrics.jsonl"):
        assert find(run_of(name)) == (going, True, False)
    a_run(run)
    (run / "summary.json").write_text("{}")
    (going / "summary.json").write_text("{}")  # of a finished run that goes on
    assert find(run_of(run)) == (going, True, False)  # it replaces an earlier one
    going.rename(tmp_path / "elsewhere")
    for name in (run, going, run / "moments.npz"):
        assert find(run_of(run)) == (run, True, True), name


@pytest.mark.parametrize("name", [".", "..", "", "../run.incomplete", "/"])
def test_a_run_is_found_by_names_from_where_one_is(name, tmp_path, monkeypatch):
    folder = a_run(tmp_path / "run.incomplete")
    monkeypatch.chdir(folder)
    place = find(run_of(Path(name)))
    assert place.begun == (name in (".", "", "../run.incomplete"))


# Rows.


def test_a_run_that_is_resumed_goes_back(tmp_path):
    folder = a_run(tmp_path / "run", 6)
    run = WatchedRun(folder)
    assert len(run.poll().rows) == 6
    assert run.step == 5
    kept = (folder / "metrics.jsonl").read_bytes().splitlines(keepends=True)[:4]
    (folder / "other").write_bytes(b"".join(kept) + lines_of([{"step": 4, "loss": 9}]))
    (folder / "other").replace(folder / "metrics.jsonl")
    change = run.poll()
    assert change.dropped == 2
    assert change.rows == [{"step": 4.0, "loss": 9.0}]
    steps, losses = run.curve("loss")
    assert steps.tolist() == [0, 1, 2, 3, 4]
    assert losses[-1] == 9
    assert run.curve("learning_rate")[0].tolist() == [0, 1, 2, 3]


def test_lines_that_are_no_rows_are_said_and_the_others_shown(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(
        b'{"step": 0, "loss": 1}\n[3]\n\n{"step": -1}\n'
        b'{"step": 1, "loss": "NaN", "phase": "warmup", "tags": [1]}\n'
        b'{"loss": 3}\n{"step": 2, "lo'
    )
    run = WatchedRun(tmp_path)
    change = run.poll()
    assert [p.split(" of ")[0] for p in change.problems] == [
        "line 2",
        "line 3",
        "line 4",
    ]
    assert [set(row) for row in change.rows] == [
        {"step", "loss"},
        {"step", "loss"},
        {"loss"},
    ]
    assert math.isnan(run.curve("loss")[1][-1])
    assert "loss NaN" in "\n".join(texts(page(run, 80)))
    path.write_bytes(path.read_bytes() + b'ss": 4}')  # whole, but for its end
    assert run.poll().rows == []
    assert run.poll(last=True).rows == [{"step": 2.0, "loss": 4.0}]


def test_a_damaged_record_is_said_and_the_next_one_read(tmp_path):
    run = WatchedRun(a_run(tmp_path))
    (tmp_path / "moments.npz").write_bytes(b"PK")
    assert "not a complete file" in run.poll().problems[0]
    assert run.poll().problems == []  # once
    history, losses = trainings.nan_in_a_batch()
    history.save(tmp_path / "moments")
    change = run.poll()
    assert change.moments
    assert "not-finite" in {advice.code for advice in change.advice}
    history.save(tmp_path / "moments")
    assert run.poll().advice == []  # the same as before


def test_a_record_without_rows_is_a_run(tmp_path):
    history, _ = trainings.healthy("adam 0.95")
    history.save(tmp_path / "moments")
    out = io.StringIO()
    run = WatchedRun(tmp_path)
    (tmp_path / "summary.json").write_text("{}")
    show.show_lines(run, 0.01, out)
    assert out.getvalue().splitlines()[0] == history.summary()
    assert run.step == history.steps[-1]
    shown = "\n".join(texts(page(run, 100)))
    assert "effective samples 39 of 39" in shown
    assert "no issues found" in shown


# The page.


@pytest.fixture(scope="module")
def watched(tmp_path_factory):
    """A run with all that there can be: many names, advice, problems, a long name."""
    folder = tmp_path_factory.mktemp("a_long_name_of_a_run_that_fits_no_terminal")
    a_run(folder, 300, heldout_loss=1e9, tokens_per_second=123_456, **{"x" * 90: 1.0})
    with (folder / "metrics.jsonl").open("ab") as file:
        file.write(b"no row\n" * 3 + b'{"step": 300, "loss": "Infinity"}\n')
    trainings.nan_in_a_batch()[0].save(folder / "moments")
    (folder / "config.json").write_text('{"total_steps": 1000}')
    run = WatchedRun(folder)
    run.poll()
    return run


@pytest.mark.parametrize("height", [1, 5, 11, 24, 60, None])
@pytest.mark.parametrize("width", [1, 20, 40, 80, 300])
def test_the_page_fits_the_terminal(width, height, watched):
    lines = texts(page(watched, width, height, braille=False))
    assert max(map(len, lines)) <= max(width, 6)
    assert height is None or len(lines) <= height
    assert all(line.isascii() for line in lines)
    said = "\n".join(lines)
    if width >= 40 and (height is None or height >= 24):
        assert "step 300 of 1,000 (30%)" in said
        assert "\nloss" in said and "problem: nu holds NaN" in said
        assert "\nline 303 of" in said and " (and 2 before)\n" in said
        whole = all(f"[{advice.code}]" in said for advice in watched.advice)
        assert whole == ("optax-warmup report" not in said)


def test_the_page_of_nothing(tmp_path):
    run = WatchedRun(tmp_path / "run")
    run.poll()
    assert "waiting for a run in" in texts(page(run, 200, 24))[0]
    (tmp_path / "run.incomplete").mkdir()
    (tmp_path / "run.incomplete/config.json").write_text("[1]")  # not of this kind
    run.poll()
    assert texts(page(run, 80, 24)) == ["run  no row yet"]


def test_names_do_not_move_the_terminal(tmp_path):
    folder = tmp_path / "a\x1b[2Jrun"
    run = WatchedRun(a_run(folder, **{"b\x1b[2J": 1.0}))
    run.poll()
    out = io.StringIO()
    (folder / "summary.json").write_text("{}")
    show.show_lines(run, 0.01, out)
    assert "\x1b" not in out.getvalue() + "".join(texts(page(run, 80)))
