"""A run that is watched: files that change under the reader, and what is shown."""

import io
import json
import math
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import trainings
from hypothesis import given, settings, strategies as st
from transformer_runs import OPTIONS, TRAIN, start, write_text

from optax_warmup._command import main
from optax_warmup._watch import command, show
from optax_warmup._watch.folder import find, run_of
from optax_warmup._watch.follow import GrowingFile
from optax_warmup._watch.page import page
from optax_warmup._watch.run import WatchedRun

ROOT = Path(__file__).parent.parent
WATCH = [sys.executable, "-m", "optax_warmup", "watch"]


def lines_of(rows):
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def a_run(folder, count=20, **more):
    folder.mkdir(parents=True, exist_ok=True)
    rows = [
        {"step": s, "loss": 5 / (s + 1), "learning_rate": s / 1e3} | more
        for s in range(count)
    ]
    (folder / "metrics.jsonl").write_bytes(lines_of(rows))
    return folder


def texts(lines):
    return ["".join(span.text for span in line) for line in lines]


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


# The lines.


def test_lines_follow_a_run_from_before_it_begins_to_its_end(tmp_path, monkeypatch):
    history, _ = trainings.nan_in_a_batch()
    going = tmp_path / "run.incomplete"

    def append(*rows):
        with (going / "metrics.jsonl").open("ab") as file:
            file.write(lines_of(rows))

    def half():
        with (going / "metrics.jsonl").open("ab") as file:
            file.write(b'{"step": 3')

    def go_back():
        a_run(going, 1)

    def end():
        append({"step": 2, "loss": 1.5, "moments/effective_sample_size": 3.2})
        (going / "summary.json").write_text("{}")
        going.rename(tmp_path / "run")

    steps = iter([
        lambda: going.mkdir(),
        lambda: a_run(going, 2),
        lambda: append({"step": 2, "loss": "NaN", "gradient_norm": 1}),
        half,
        lambda: history.save(going / "moments"),
        go_back,
        end,
    ])  # fmt: skip
    monkeypatch.setattr(time, "sleep", lambda seconds: next(steps)())
    out = io.StringIO()
    show.show_lines(WatchedRun(tmp_path / "run"), 1.0, out)
    said = out.getvalue().splitlines()
    advice = [line for line in said if line.startswith("advice after step")]
    assert any("nu holds NaN" in line for line in advice)
    assert [line for line in said if line not in advice] == [
        f"waiting for a run in {tmp_path / 'run'}",
        "step 0  loss 5  rate 0",
        "step 1  loss 2.5  rate 0.001",
        "step 2  loss NaN  gradient norm 1",
        "the run went back: the last 2 rows are gone",
        "step 2  loss 1.5  effective samples 3",
        "the run has ended: step 2",
    ]


def test_of_rows_that_were_there_the_last_are_printed(tmp_path):
    (a_run(tmp_path, 1234) / "summary.json").write_text("{}")
    out = io.StringIO()
    show.show_lines(WatchedRun(tmp_path), 1.0, out)
    said = out.getvalue().splitlines()
    assert said[0] == "... 1,224 earlier rows"
    assert [line.split("  ")[0] for line in said[1:-1]] == [
        f"step {step:,}" for step in range(1224, 1234)
    ]


# The command.


def test_once(tmp_path, capsys):
    folder = a_run(tmp_path / "run")
    assert main(["watch", str(folder), "--once"]) == 0
    said = capsys.readouterr().out
    assert "run  step 19" in said and "loss 0.25" in said and "\x1b" not in said
    assert main(["watch", str(tmp_path / "none"), "--once"]) == 2
    error = capsys.readouterr().err
    assert "there is no run in" in error and "Without --once" in error


@pytest.mark.parametrize("interval", ["0", "-1", "nan", "inf", "often"])
def test_intervals_that_are_none_are_refused(interval, capsys):
    with pytest.raises(SystemExit):
        main(["watch", "run", f"--interval={interval}"])
    assert "number of seconds" in capsys.readouterr().err


def test_without_rich_there_are_lines(tmp_path, capsys, monkeypatch):
    (a_run(tmp_path) / "summary.json").write_text("{}")
    monkeypatch.setitem(sys.modules, "rich.console", None)
    monkeypatch.setattr(command, "_is_terminal", lambda: True)
    assert main(["watch", str(tmp_path)]) == 0
    found = capsys.readouterr()
    assert "step 19  loss 0.25" in found.out
    assert "pip install 'optax_warmup[watch]'" in found.err


def wait_for(condition, seconds=60.0):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)
    assert condition()


def test_in_a_pipe_ctrl_c_ends_it_and_no_accelerator_is_taken(tmp_path):
    a_run(tmp_path / "run", 3)
    # With a platform that is not here: the run has the accelerator, and needs it.
    process = start([*WATCH, str(tmp_path / "run")], JAX_PLATFORMS="cuda")
    trainings.healthy("adam 0.95")[0].save(tmp_path / "run/moments")
    said = [process.stdout.readline() for _ in range(3)]
    assert said[2].startswith("step 2  loss")
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (130, "")


@pytest.mark.slow
def test_a_reader_that_leaves_ends_it(tmp_path):
    folder = a_run(tmp_path / "run", 3)
    process = start([*WATCH, str(folder), "--interval", "0.05"])
    process.stdout.readline()
    process.stdout.close()
    with (folder / "metrics.jsonl").open("ab") as file:
        file.write(lines_of([{"step": 3}]))
    assert process.wait(timeout=60) == 0
    assert process.stderr.read() == ""
    process.stderr.close()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (None, 0)]
)
def test_a_terminal_is_given_back(number, status, tmp_path):
    pty = pytest.importorskip("pty", reason="there are no pseudo-terminals here")
    folder = a_run(tmp_path / "run.incomplete")
    ours, theirs = pty.openpty()
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "40", "LINES": "20"}
    process = subprocess.Popen(
        [*WATCH, str(folder), "--interval", "0.05"],
        cwd=ROOT,
        env=environment | {"PYTHONPATH": str(ROOT)},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    said = b""

    def read():
        nonlocal said
        while select.select([ours], [], [], 0)[0]:
            try:
                said += os.read(ours, 65536)
            except OSError:  # the other end is closed
                break
        return said

    wait_for(lambda: b"step 19" in read())
    assert b"\x1b[?1049h" in said and b"\x1b[?25l" in said  # a screen of its own
    if number is None:
        (folder / "summary.json").write_text("{}")
        folder.rename(tmp_path / "run")
    else:
        process.send_signal(number)
    wait_for(lambda: read() and process.poll() is not None)
    read()
    os.close(ours)
    assert process.returncode == status
    after = said.rpartition(b"\x1b[?1049l")[2]  # back on the screen of before
    assert said.rfind(b"\x1b[?25h") > said.rfind(b"\x1b[?25l")
    assert b"step 19" in after and b"Traceback" not in said
    assert (b"the run has ended" in after) == (number is None)


@pytest.mark.slow
@pytest.mark.train
def test_it_follows_a_training_in_another_process(tmp_path):
    """Every row is a line, in order, also after a kill and a resume."""
    folder, text = tmp_path / "run", write_text(tmp_path)
    options = [*OPTIONS, "--data", text, "--run-dir", str(folder)]
    options += ["--total-steps", "60", "--checkpoint-every", "10"]
    watching = start([*WATCH, str(folder), "--interval", "0.02"])
    assert watching.stdout.readline().startswith("waiting for a run in")
    metrics = tmp_path / "run.incomplete/metrics.jsonl"
    training = start([*TRAIN, *options])
    wait_for(lambda: metrics.exists() and metrics.read_bytes().count(b"\n") > 40, 200)
    training.kill()
    training.communicate()
    again = start([*TRAIN, *options, "--resume"])
    assert again.wait(timeout=200) == 0, again.stderr.read()
    said, errors = watching.communicate(timeout=60)
    assert (watching.returncode, errors) == (0, "")
    again.communicate()
    rows = [json.loads(x) for x in (folder / "metrics.jsonl").read_text().splitlines()]
    lines = said.splitlines()
    assert lines[-1] == "the run has ended: step 60 of 60 (100%)"
    assert any("advice after step" in line for line in lines)
    shown = []  # the lines of rows that were not taken back
    for line in lines:
        if line.startswith("step "):
            shown.append(line)
        elif line.startswith("the run went back: the last "):
            del shown[-int(line.split()[6]) :]
    assert [int(line.split()[1]) for line in shown] == [row["step"] for row in rows]
    for line, row in zip(shown, rows, strict=True):
        if "loss" in row:
            assert abs(float(line.split("  loss ")[1].split()[0]) - row["loss"]) < 1e-3
