"""What the tests of faults share: a run that was interrupted, and processes that are
stopped at a step.
"""

import os
import shutil
import signal
import time
from pathlib import Path

import pytest
from transformer_runs import OPTIONS, TINY, TRAIN, finish, run, start

EVERY = 2
CONFIG = TINY.replace(checkpoint_every=EVERY)


class Interrupt(Exception):
    """Raised by a sink, as if the process ended there."""


def interrupt_at(step):
    """A sink that ends the run when the metrics of a step arrive."""

    def sink(row):
        if "loss" in row and row["step"] == step:
            raise Interrupt

    return sink


def interrupted(folder, step, **changes):
    """What a run leaves that ended after the metrics of a step arrived."""
    with pytest.raises(Interrupt):
        run(CONFIG, folder, options={"sinks": [interrupt_at(step)]}, **changes)
    return folder


def resumed(folder, console=None, accept_changes=False, **changes):
    """The finished run."""
    options = {"resume": True, "accept_changes": accept_changes}
    return run(CONFIG, folder, console, options=options, **changes)


def copy_of(folder, target):
    """A copy of an unfinished run, under another name."""
    shutil.copytree(f"{folder}.incomplete", f"{target}.incomplete")
    return target


def command(text, folder, *more):
    options = [*OPTIONS, "--checkpoint-every", str(EVERY), "--data", text]
    return [*TRAIN, *options, "--run-dir", str(folder), *map(str, more)]


def rows(folder):
    """How many whole rows of metrics an unfinished run has."""
    path = Path(f"{folder}.incomplete") / "metrics.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0


def wait_for(condition, processes, seconds=120):
    """Whether the condition came true while the processes ran."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and all(each.poll() is None for each in processes):
        if condition():
            return True
        time.sleep(0.002)
    return condition()


def signalled(program, folder, step, *signals, environment):
    """Starts a program, and signals it once it has written the row of a step.

    Returns its code, output and errors.
    """
    process = start(program, **environment)
    wait_for(lambda: rows(folder) > step, [process])
    for number in signals:
        if process.poll() is None:
            os.kill(process.pid, number)
            time.sleep(0.05)
    return finish(process)


KILL, TERM, INT = signal.SIGKILL, signal.SIGTERM, signal.SIGINT


def whole_run(*, scope="module"):
    """A fixture: the run that nothing interrupts, of 12 updates."""

    @pytest.fixture(scope=scope)
    def whole(programs, text, tmp_path_factory):
        return run(CONFIG, tmp_path_factory.mktemp("whole") / "run", data=text)

    return whole
