"""The transformer example goes on where it was: after an interruption, a kill, a full
disk; and not where it was another run.
"""

import json
import shutil
import sys

import jax
import numpy as np
import optax
import pytest
from fault_runs import CONFIG, EVERY, interrupted, resumed, whole_run
from selection import parametrize
from transformer_runs import (
    OPTIONS,
    ROOT,
    assert_same_training,
    finish,
    kept_programs,
    run,
    start,
    written_text,
)

import optax_warmup as ow
from examples.transformer.core.settings import InputError
from examples.transformer.run import train
from examples.transformer.run.checkpoint import Checkpoints
from examples.transformer.run.plan import make_plan
from examples.transformer.run.result import load_result
from examples.transformer.run.run_folder import RunFolder

pytestmark = pytest.mark.train


programs = kept_programs()
text = written_text()
whole = whole_run()


def final_state(folder, config):
    plan = make_plan(config)
    with Checkpoints(folder, read_only=True) as checkpoints:
        return checkpoints.restore(checkpoints.latest(), plan.state)


@parametrize("step", [0, 3, 10], quick=[3])
def test_resume_is_exact_bit_for_bit(step, whole, text, tmp_path):
    """Before any checkpoint, in the warmup (4 updates), and in the decay."""
    interrupted(tmp_path / "run", step, data=text)
    result = resumed(tmp_path / "run", data=text)
    assert_same_training(result, whole)
    environment = json.loads((result.folder / "environment.json").read_text())
    since = [each["step"] for each in environment["resumed"]]
    assert since == ([step // EVERY * EVERY] if step >= EVERY else [])
    ours, theirs = (final_state(each.folder, whole.config) for each in (result, whole))
    jax.tree.map(np.testing.assert_array_equal, ours, theirs)


@pytest.mark.slow
def test_other_hands_make_the_same_batches(whole, text, tmp_path):
    pytest.importorskip("grain", reason="needs the extra `examples`")
    interrupted(tmp_path / "run", 5, data=text, loader="threads")
    assert_same_training(resumed(tmp_path / "run", data=text, loader="grain"), whole)


@pytest.mark.slow
def test_kill_9_during_a_save(programs, whole, text, tmp_path):
    command = [ROOT / "tests/programs/train_killed.py", "8", *OPTIONS]
    command += ["--checkpoint-every", "2", "--data", text]
    command += ["--run-dir", str(tmp_path / "run")]
    killed = start([sys.executable, *map(str, command)], **programs)
    assert finish(killed)[0] == -9
    saved = {path.name for path in (tmp_path / "run.incomplete/checkpoints").iterdir()}
    assert "6" in saved and "8" not in saved  # 8 is there under another name

    result = resumed(tmp_path / "run", data=text)
    assert_same_training(result, whole)
    environment = json.loads((result.folder / "environment.json").read_text())
    assert environment["resumed"] == [{"step": 6, "accepted_changes": []}]
    left = {path.name for path in (result.folder / "checkpoints").iterdir()}
    assert left == {"10", "12"}


@pytest.mark.slow
def test_a_full_disk_says_so_and_the_run_goes_on_when_there_is_room(
    programs, whole, text, tmp_path
):
    command = [ROOT / "tests/programs/train_on_a_full_disk.py", "7", *OPTIONS]
    command += ["--checkpoint-every", "2", "--data", text, "--loader", "threads"]
    command += ["--run-dir", str(tmp_path / "run")]
    code, _, errors = finish(start([sys.executable, *map(str, command)], **programs))
    assert code == 1, errors
    # Orbax's own threads may complain at the same time, that their loop is closed: even
    # within a line of ours.
    ours = "error: a checkpoint could not be written"
    said = [line for line in errors.splitlines() if ours in line]
    assert len(said) == 1 and "continue with --resume." in said[0], errors
    assert_same_training(resumed(tmp_path / "run", data=text), whole)


def test_a_disk_without_room_for_the_checkpoints_stops_before_training(text, tmp_path):
    with pytest.raises(InputError, match="GB free, and .* checkpoints of .* GB need"):
        run(CONFIG, tmp_path / "run", data=text, keep_checkpoints=10**12)
    assert not list(tmp_path.iterdir())


# Another run.


@parametrize(
    ("changes", "message"),
    [
        ({"warmup_steps": 6}, "rate of the next update was 0.005 and is 0.003333"),
        ({"b1": 0.8}, "b1 was 0.9 and is 0.8"),
        ({"seed": 1}, "seed was 0 and is 1"),
        ({"compute_dtype": "bfloat16"}, "compute_dtype was 'float32'"),
        ({"heldout_fraction": 0.1}, "heldout_fraction was 0.05"),
        ({"data": None}, "corpus_sha256 was"),
    ],
    quick=5,
)
def test_a_changed_run_does_not_go_on_by_itself(changes, message, text, tmp_path):
    interrupted(tmp_path / "run", 3, data=text)
    changes = {"data": text} | changes
    with pytest.raises(InputError, match=message + ".*--accept-changes"):
        resumed(tmp_path / "run", **changes)


def test_an_edited_optimizer_is_named_by_what_differs(text, tmp_path, monkeypatch):
    interrupted(tmp_path / "run", 3, data=text)
    monkeypatch.setattr(
        "examples.transformer.run.plan.make_optimizer",
        lambda config: optax.chain(ow.scale_by_learning_rate(1e-2)),
    )
    with pytest.raises(InputError, match=r"count is int32\[\] there and absent"):
        resumed(tmp_path / "run", data=text, accept_changes=True)


def test_an_edited_schedule_is_noticed_under_the_same_settings(
    text, tmp_path, monkeypatch
):
    interrupted(tmp_path / "run", 3, data=text)
    for module in ("core.optimizer", "run.identity"):
        monkeypatch.setattr(
            f"examples.transformer.{module}.make_schedule",
            lambda config: ow.warmup_cosine(1e-2, 4, 12),
        )
    with pytest.raises(InputError, match="the schedule changed: the learning rate"):
        resumed(tmp_path / "run", data=text)


@parametrize(
    ("changes", "message"),
    [
        ({"width": 32}, "another model or optimizer: width was 16 and is 32"),
        ({"layers": 2}, "layers was 1 and is 2"),
        ({"scan_layers": True}, "scan_layers was False and is True"),
    ],
    quick=3,
)
def test_a_checkpoint_of_another_model_is_refused(changes, message, text, tmp_path):
    interrupted(tmp_path / "run", 3, data=text)
    for accept in (False, True):  # no flag changes that
        with pytest.raises(InputError, match=message):
            resumed(tmp_path / "run", data=text, accept_changes=accept, **changes)


@pytest.mark.slow
def test_a_finished_run_stays_finished_or_is_trained_longer(whole, text, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(whole.folder, folder)
    assert_same_training(resumed(folder, data=text), whole)  # nothing left to do

    with pytest.raises(InputError, match="total_steps was 12 and is 16"):
        resumed(folder, data=text, total_steps=16)
    assert_same_training(load_result(folder), whole)  # still finished, still there

    with pytest.raises(InputError, match="total_steps=10 is over: .* of step 12"):
        resumed(folder, data=text, total_steps=10, accept_changes=True)

    longer = resumed(folder, data=text, total_steps=16, accept_changes=True)
    assert longer.updates["step"].tolist() == list(range(16))
    assert longer.history.steps.tolist() == list(range(16))
    assert longer.updates["loss"][:12].tolist() == whole.updates["loss"].tolist()
    rates = longer.updates["learning_rate"][11:]
    assert rates == pytest.approx([0.01 / 6, 0.005, 0.00375, 0.0025, 0.00125])
    environment = json.loads((folder / "environment.json").read_text())
    (once,) = environment["resumed"]
    assert once["step"] == 12
    assert once["accepted_changes"] == [
        "total_steps was 12 and is 16",
        "the schedule changed: the learning rate of the next update was 0 and is 0.005",
    ]


@pytest.mark.parametrize("name", ["metrics.jsonl", "summary.json"])
def test_a_finished_run_that_is_damaged_is_an_error(
    name, whole, text, tmp_path, capsys
):
    folder = tmp_path / "run"
    shutil.copytree(whole.folder, folder)
    path = folder / name
    path.write_bytes(path.read_bytes()[:-9])
    command = [*OPTIONS, "--data", text, "--run-dir", str(folder), "--resume"]
    assert train.main([*command, "--checkpoint-every", str(EVERY)]) == 2
    said = capsys.readouterr()
    assert said.err.startswith(f"error: {path}") and "finished" not in said.out
    assert folder.exists()


def test_a_refusal_names_the_folder_of_a_finished_run(whole, text, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(whole.folder, folder)
    with pytest.raises(InputError, match="b1 was 0.9 and is 0.8") as refused:
        resumed(folder, data=text, b1=0.8)
    assert f"in {folder}/checkpoints" in str(refused.value)


# The folder.


def test_resume_drops_what_came_after_the_checkpoint_and_half_a_line(
    whole, text, tmp_path
):
    interrupted(tmp_path / "run", 5, data=text)
    with (tmp_path / "run.incomplete" / "metrics.jsonl").open("a") as metrics:
        metrics.write('{"step": 6, "lo')
    assert_same_training(resumed(tmp_path / "run", data=text), whole)


def test_two_runs_do_not_share_a_folder(tmp_path):
    with RunFolder(tmp_path / "run"):
        for options in ({"resume": True}, {"overwrite": True}):
            with pytest.raises(InputError, match="a run is still going"):
                RunFolder(tmp_path / "run", **options)
    with RunFolder(tmp_path / "run", overwrite=True):  # the first one has its name
        pass


def test_resume_does_not_choose_between_two(whole, tmp_path):
    for name in ("run", "run.incomplete"):
        shutil.copytree(whole.folder, tmp_path / name)
    with pytest.raises(InputError, match="there are both.*Move one away"):
        RunFolder(tmp_path / "run", resume=True)
