"""`optax-warmup watch`: lines and terminals, beside a run in another process."""

import gc
import io
import json
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import trainings
from transformer_runs import OPTIONS, TRAIN, start, write_text
from watched_runs import a_run, lines_of

from optax_warmup._command import main
from optax_warmup._watch import command, show
from optax_warmup._watch.run import WatchedRun

ROOT = Path(__file__).parent.parent
WATCH = [sys.executable, "-m", "optax_warmup", "watch"]


@pytest.fixture(autouse=True)
def interruptible():
    """Tests that run in the background would hand an ignored SIGINT on."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


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
    monkeypatch.setattr(show._Signals, "wait", lambda self, seconds: next(steps)())
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


@pytest.mark.parametrize(
    ("number", "leaves"),
    [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)],
)
def test_a_signal_in_a_garbage_collection_is_not_lost(number, leaves):
    def fails(number, frame):
        raise AssertionError("a signal reached the handler of before")

    def interrupt(phase, info):
        os.kill(os.getpid(), number)

    before = signal.signal(number, fails)  # where tests run in the background: ignored
    try:
        with show._Signals() as signals:
            gc.callbacks.append(interrupt)
            try:
                gc.collect()
            finally:
                gc.callbacks.remove(interrupt)
            with pytest.raises(leaves):
                signals.wait(30)
        assert signal.getsignal(number) == fails
    finally:
        signal.signal(number, before)


def test_an_ignored_signal_stays_ignored():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # as nohup does
    try:
        with show._Signals() as signals:
            os.kill(os.getpid(), signal.SIGINT)
            signals.wait(0.01)
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


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
