"""A signal stops a run after an update, with a checkpoint and a code that says to
resume; resumed, it is the run that was not stopped.
"""

import os
import signal
import sys

import numpy as np
import pytest
from fault_runs import INT, TERM, command, rows, signalled, wait_for
from selection import parametrize
from transformer_runs import (
    ROOT,
    assert_same_training,
    finish,
    signals_heard,
    start_pair,
)

from examples.transformer.core.stop import RESUME_ME, Stopped, StopSignal
from examples.transformer.run import train, training
from examples.transformer.run.contents import complete_checkpoints
from examples.transformer.run.result import load_result

pytestmark = pytest.mark.train

LONG = ["--total-steps", 200, "--checkpoint-every", 1000, "--eval-every", 100]

PAIR = ["--total-steps", 60, *LONG[2:]]  # two processes are slow on two cores


@pytest.fixture(scope="module")
def long(programs, text, tmp_path_factory):
    """The run that nothing stops."""
    folder = tmp_path_factory.mktemp("long") / "run"
    assert train.main(command(text, folder, *LONG)[3:]) == 0
    return load_result(folder)


def stopped_at(folder):
    (step,) = complete_checkpoints(folder.with_name("run.incomplete"))
    return step


@parametrize("step", [0, 1, 5, 30, 60, 98, 99, 100, 130, 160], quick=[30])
def test_sigterm_saves_and_the_run_is_the_same(step, long, programs, text, tmp_path):
    folder = tmp_path / "run"
    program = command(text, folder, *LONG)
    code, _, errors = signalled(program, folder, step, TERM, environment=programs)
    assert code == RESUME_ME, errors
    done = stopped_at(folder)
    assert f"stopped by SIGTERM after {done} updates: the checkpoint of" in errors
    assert "Traceback" not in errors
    assert train.main([*program[3:], "--resume"]) == 0
    assert_same_training(load_result(folder), long)


@parametrize("name", ["SIGINT", "SIGUSR1", "SIGHUP"], quick=["SIGINT"])
def test_other_signals_save_as_well(name, text, tmp_path, capsys, monkeypatch):
    def batch_and_signal(corpus, seed, step, **shape):
        if step == 5:
            os.kill(os.getpid(), getattr(signal, name))
        return training_batch(corpus, seed, step, **shape)

    training_batch = training.training_batch
    monkeypatch.setattr(training, "training_batch", batch_and_signal)
    with signals_heard():
        code = train.main(command(text, tmp_path / "run")[3:])
    assert code == (130 if name == "SIGINT" else RESUME_ME)
    *_, newest = complete_checkpoints(tmp_path / "run.incomplete")
    errors = capsys.readouterr().err
    assert f"stopped by {name} after {newest} updates" in errors
    assert f"the checkpoint of step {newest} is in" in errors


@pytest.mark.slow
def test_a_second_ctrl_c_ends_at_once_without_a_traceback(programs, text, tmp_path):
    folder = tmp_path / "run"
    code, _, errors = signalled(
        command(text, folder, *LONG), folder, 20, INT, INT, environment=programs
    )
    assert code == -INT
    assert "Traceback" not in errors
    assert not complete_checkpoints(tmp_path / "run.incomplete")


def test_a_signal_before_the_first_update_names_no_checkpoint(
    text, tmp_path, capsys, monkeypatch
):
    def early(plan):
        signal.raise_signal(TERM)
        return make_programs(plan)

    make_programs = train.make_programs
    monkeypatch.setattr(train, "make_programs", early)
    assert train.main(command(text, tmp_path / "run", *LONG)[3:]) == RESUME_ME
    errors = capsys.readouterr().err
    assert "stopped by SIGTERM after 0 updates: there is no checkpoint yet" in errors


def test_ctrl_c_before_there_is_a_folder_names_none(
    text, tmp_path, capsys, monkeypatch
):
    def interrupt(config):
        raise KeyboardInterrupt

    monkeypatch.setattr(train, "make_plan", interrupt)
    assert train.main(command(text, tmp_path / "run")[3:]) == 130
    assert "interrupted: there is no checkpoint yet" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_handlers_are_put_back_and_ignored_signals_stay_ignored():
    before = signal.getsignal(TERM)
    hup = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as under nohup
    try:
        with StopSignal() as stop:
            signal.raise_signal(signal.SIGHUP)
            assert not stop()
            signal.raise_signal(TERM)
            assert stop() and stop()
            signal.raise_signal(TERM)  # again: nothing more happens
            assert stop.name == "SIGTERM"
        assert signal.getsignal(TERM) is before
    finally:
        signal.signal(signal.SIGHUP, hup)


def test_the_codes_say_whether_to_resume():
    assert Stopped("SIGTERM", 3).exit_code == Stopped("SIGUSR1", 3).exit_code == 75
    assert Stopped("SIGINT", 3).exit_code == 130


@parametrize(
    ("receiver", "number"), [(1, TERM), (0, TERM), (1, INT), (0, INT)], quick=[]
)
def test_two_processes_stop_at_the_same_step(
    receiver, number, programs, text, tmp_path
):
    """One of them is told; both save the same step, and both resume."""
    folder = tmp_path / "run"
    program = command(text, folder, *PAIR)
    # JAX's service looks for signals once a second.
    slowly = [sys.executable, str(ROOT / "tests/programs/train_slowly.py"), "0.2"]
    pair = start_pair([*slowly, *program[3:]], **programs)
    assert wait_for(lambda: rows(folder) > 5, pair)
    pair[receiver].send_signal(number)
    ended = [finish(each) for each in pair]
    assert [code for code, _, _ in ended] == [130 if number == INT else RESUME_ME] * 2
    done = stopped_at(folder)
    assert 5 <= done < 60
    assert f"after {done} updates" in ended[0][2]

    pair = start_pair([*program, "--resume"], **programs)
    assert [finish(each)[0] for each in pair] == [0, 0]
    result = load_result(folder)
    assert result.updates["step"].tolist() == list(range(60))

    whole = tmp_path / "whole" / "run"
    pair = start_pair(command(text, whole, *PAIR), **programs)
    assert [finish(each)[0] for each in pair] == [0, 0]
    assert_same_training(result, load_result(whole))
    np.testing.assert_array_equal(
        result.history.steps, load_result(whole).history.steps
    )
