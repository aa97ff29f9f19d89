"""kill -9 at any step, and in the middle of a save: resumed, the run is the same."""

import sys

import numpy as np
import pytest
from fault_runs import KILL, command, signalled
from selection import parametrize
from transformer_runs import ROOT, assert_same_training, finish, start

from examples.transformer.run import train
from examples.transformer.run.result import load_result

pytestmark = pytest.mark.train

STEPS = 100
LONG = ["--total-steps", STEPS, "--checkpoint-every", 10, "--eval-every", 50]
RANDOM = np.random.default_rng(0).integers(STEPS - 5, size=20).tolist()


@pytest.fixture(scope="module")
def long(programs, text, tmp_path_factory):
    """The run that nothing kills."""
    folder = tmp_path_factory.mktemp("long") / "run"
    assert train.main(command(text, folder, *LONG)[3:]) == 0
    return load_result(folder)


@parametrize("step", RANDOM, quick=RANDOM[:1])
def test_killed_at_a_step(step, long, programs, text, tmp_path):
    folder = tmp_path / "run"
    program = command(text, folder, *LONG)
    code, _, errors = signalled(program, folder, step, KILL, environment=programs)
    assert code == -KILL, errors
    assert train.main([*program[3:], "--resume"]) == 0
    assert_same_training(load_result(folder), long)


@parametrize("save", [10, 20, 50, 70, 90], quick=[])
def test_killed_while_it_saves(save, long, programs, text, tmp_path):
    folder = tmp_path / "run"
    program = command(text, folder, *LONG)
    killer = [sys.executable, str(ROOT / "tests/programs/train_killed.py"), str(save)]
    code, _, errors = finish(start([*killer, *program[3:]], **programs))
    assert code == -KILL, errors
    assert train.main([*program[3:], "--resume"]) == 0
    assert_same_training(load_result(folder), long)
