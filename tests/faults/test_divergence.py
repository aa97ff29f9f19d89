"""What a run does when its loss is NaN: stop, go back, or go on; a checkpoint of before
is kept in any case.
"""

import json
import sys
from unittest import mock

import numpy as np
import pytest
from fault_runs import CONFIG, command, interrupted, resumed
from transformer_runs import ROOT, assert_same_training, finish, run, start_pair

import optax_warmup as ow
from examples.transformer.run import demo, train, training
from examples.transformer.run.config import Config
from examples.transformer.run.contents import complete_checkpoints
from examples.transformer.run.presets import PRESETS
from examples.transformer.run.result import load_result

sys.path.append(str(ROOT / "tests/programs"))
from train_poisoned import poisoned  # noqa: E402

pytestmark = pytest.mark.train

BAD = 5  # the batch that breaks the run; checkpoints are of even steps


@pytest.fixture(scope="module")
def without(programs, text, tmp_path_factory):
    """The run that never sees the batches from the checkpoint on to the bad one."""
    batch = training.training_batch

    def passing_over(corpus, seed, step, **shape):
        return batch(corpus, seed, step if step < 4 else step + 2, **shape)

    with mock.patch.object(training, "training_batch", passing_over):
        return run(CONFIG, tmp_path_factory.mktemp("without") / "run", data=text)


def rollback(folder, **changes):
    return run(CONFIG, folder, on_divergence="rollback", **changes)


def test_going_back_is_the_run_without_the_bad_batches(without, text, tmp_path):
    with poisoned({BAD}):
        result = rollback(tmp_path / "run", data=text)
    assert_same_training(result, without)
    (event,) = json.loads((result.folder / "environment.json").read_text())["rollbacks"]
    assert event == {
        "begin": 4,
        "next_batch": 6,
        "bad_step": BAD,
        "noticed": BAD,
        "reason": "the loss of step 5 is nan",
    }


@pytest.mark.slow
@pytest.mark.parametrize("step", [4, 7, 9])
def test_a_run_that_went_back_resumes_bit_for_bit(step, without, text, tmp_path):
    """Also where it is interrupted before its first checkpoint after that."""
    times = iter(range(100))

    def second_time(row):
        if row["step"] == step and "loss" in row and next(times) == (step < BAD):
            raise KeyboardInterrupt

    with poisoned({BAD}):
        with pytest.raises(KeyboardInterrupt):
            rollback(tmp_path / "run", data=text, options={"sinks": [second_time]})
        result = resumed(tmp_path / "run", data=text, on_divergence="rollback")
    assert_same_training(result, without)


def test_by_default_it_stops_and_says_how_to_go_on(
    without, text, tmp_path, capsys, programs
):
    folder = tmp_path / "run"
    with poisoned({BAD}):
        assert train.main(command(text, folder)[3:]) == train.DIVERGED
        said = capsys.readouterr().err
        assert "the loss of step 5 is nan. Go back to step 4, from before" in said
        assert "--on-divergence rollback" in said
        assert 4 in complete_checkpoints(tmp_path / "run.incomplete")
        again = [*command(text, folder)[3:], "--resume"]
        assert train.main(again) == train.DIVERGED  # and does not get past it
        assert train.main([*again, "--on-divergence", "rollback"]) == 0
    assert_same_training(load_result(folder), without)


def test_a_run_that_goes_on_keeps_a_checkpoint_of_before(text, tmp_path, programs):
    with poisoned({BAD}):
        result = run(CONFIG, tmp_path / "run", data=text, on_divergence="continue")
    assert result.summary["diverged_at"] == BAD
    assert len(result.updates["step"]) == 12
    assert complete_checkpoints(result.folder) == [4, 10, 12]


@pytest.mark.slow
def test_it_keeps_it_when_it_is_resumed_as_well(text, tmp_path, programs):
    with poisoned({BAD}):
        interrupted(tmp_path / "run", 9, data=text, on_divergence="continue")
        result = resumed(tmp_path / "run", data=text, on_divergence="continue")
    assert complete_checkpoints(result.folder) == [4, 10, 12]


@pytest.mark.slow
def test_before_the_first_checkpoint_it_starts_again_with_other_batches(
    text, tmp_path, programs
):
    with poisoned({1}):
        result = rollback(tmp_path / "run", data=text)
    assert np.isfinite(result.updates["loss"]).all()
    assert result.updates["step"].tolist() == list(range(12))
    (event,) = json.loads((result.folder / "environment.json").read_text())["rollbacks"]
    assert (event["begin"], event["next_batch"]) == (0, 2)


@pytest.mark.slow
def test_initial_parameters_without_a_finite_loss_end_the_run(text, tmp_path, programs):
    with poisoned({0}), pytest.raises(ow.runs.Diverged, match="step 0 is nan"):
        rollback(tmp_path / "run", data=text)


@pytest.mark.slow
def test_it_warms_up_again_at_a_lower_rate(text, tmp_path, programs):
    with poisoned({BAD}):
        result = rollback(
            tmp_path / "run",
            data=text,
            rollback_rewarm=2,
            rollback_rate_factor=0.5,
        )
    rates = result.updates["learning_rate"]
    # warmup to 0.01 in 4 updates, constant, and a decay from 6 to 12
    expected = [0, 0.0025, 0.005, 0.0075, 0, 0.0025]
    expected += [0.005 * (12 - step) / 6 for step in range(6, 12)]
    np.testing.assert_allclose(rates, expected, rtol=1e-6)


@pytest.mark.slow
def test_it_gives_up(text, tmp_path, programs):
    with (
        poisoned(set(range(5, 100))),
        pytest.raises(ow.runs.Diverged, match="after 2 rollbacks"),
    ):
        rollback(tmp_path / "run", data=text, max_rollbacks=2)


@pytest.mark.slow
def test_a_final_state_that_is_not_finite_is_a_divergence(text, tmp_path, programs):
    """The last update breaks the parameters, which only the evaluation can see."""
    with poisoned({11}, value=np.inf), pytest.raises(ow.runs.Diverged):
        run(CONFIG, tmp_path / "run", data=text, on_divergence="stop")


def test_a_real_training_stops_and_a_comparison_goes_on(capsys):
    assert Config().on_divergence == "continue"
    defaults = {name: preset.on_divergence for name, preset in PRESETS.items()}
    assert defaults.pop("demo") == "continue" and set(defaults.values()) == {"stop"}
    for main, default in ((train.main, "stop"), (demo.main, "continue")):
        with pytest.raises(SystemExit):
            main(["--help"])
        printed = " ".join(capsys.readouterr().out.replace("│", " ").split())
        assert f"train on (default: {default})" in printed


@pytest.mark.slow
def test_two_processes_go_back_together(programs, text, tmp_path):
    folder = tmp_path / "run"
    program = [sys.executable, str(ROOT / "tests/programs/train_poisoned.py"), str(BAD)]
    program += [*command(text, folder)[3:], "--on-divergence", "rollback"]
    ended = [finish(each) for each in start_pair(program, **programs)]
    assert [code for code, _, _ in ended] == [0, 0], ended
    result = load_result(folder)
    assert np.isfinite(result.updates["loss"]).all()
    assert result.updates["step"].tolist() == list(range(12))
    assert "going back to step 4, and on with batch 6" in ended[0][1]
