"""The transformer example on four devices and in two processes.

Each run is in a process of its own. Sums over devices are taken in another order than
on one device, so losses agree within TOLERANCE, not bit for bit.
"""

import re
import shutil
import sys

import jax.numpy as jnp
import numpy as np
import pytest
from transformer_runs import (
    OPTIONS,
    ROOT,
    TINY,
    TRAIN,
    assert_same_training,
    compile_once,
    finish,
    run,
    start,
    start_pair,
    written_text,
)

from examples.transformer.core import sharding
from examples.transformer.core.settings import InputError
from examples.transformer.run.result import load_result

pytestmark = pytest.mark.train

TOLERANCE = 1e-5  # of losses, rates, norms and the record, over 12 updates
EVERY = ["--checkpoint-every", "4"]
PROGRAMS = ROOT / "tests" / "programs"


text = written_text()


@pytest.fixture(scope="module")
def alone(text, tmp_path_factory):
    """The run on one device."""
    folder = tmp_path_factory.mktemp("alone") / "run"
    with compile_once(tmp_path_factory):
        yield run(TINY.replace(checkpoint_every=4), folder, data=text)


@pytest.mark.slow
def test_four_devices_train_as_one_does_and_one_takes_over(alone, text, tmp_path):
    command = [*TRAIN, *OPTIONS, *EVERY, "--data", text, "--fsdp", "2", "--run-dir"]
    code, _, errors = finish(start([*command, str(tmp_path / "four")], devices=4))
    assert code == 0, errors
    four = load_result(tmp_path / "four")
    assert_same_training(four, alone, tolerance=TOLERANCE)

    # As it was after 8 of 12 updates.
    shutil.rmtree(four.folder / "checkpoints" / "12")
    four.folder.rename(tmp_path / "one.incomplete")
    one = run(alone.config, tmp_path / "one", options={"resume": True})
    assert_same_training(one, alone, tolerance=TOLERANCE)
    before = one.updates["step"] < 8
    ours, theirs = one.updates["loss"], four.updates["loss"]
    assert (ours[before] == theirs[before]).all() and (ours != theirs).any()


@pytest.mark.slow
def test_fsdp_gathers_one_layer_at_a_time(text):
    code, out, errors = finish(
        start([sys.executable, str(PROGRAMS / "train_sharded.py"), text], devices=4)
    )
    assert (code, out) == (0, "ok\n"), errors


@pytest.mark.slow
def test_two_processes_train_as_one_does_through_a_kill_9(alone, text, tmp_path):
    program = [sys.executable, str(PROGRAMS / "train_in_pairs.py")]
    options = [*OPTIONS, *EVERY, "--data", text, "--run-dir", str(tmp_path / "run")]
    compiled = {
        "JAX_COMPILATION_CACHE_DIR": str(tmp_path / "programs"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    # Two held-out batches, then one an update: killed before the seventh.
    killed, left = start_pair([*program, "8"], *options, **compiled)
    assert finish(killed)[0] == -9
    assert finish(left)[0] != 0  # it does not wait for ever
    assert (tmp_path / "run.incomplete/checkpoints/4").is_dir()

    again = start_pair([*program, "-1"], *options, "--resume", **compiled)
    outputs = []
    for process in again:
        code, out, errors = finish(process)
        assert code == 0, errors
        outputs.append(out.splitlines())
    first, second = outputs
    assert "resumed from the checkpoint of step 4" in first
    # Only the first one speaks, and both read the same record.
    spoken = [line for line in second if not line.startswith("[Gloo]")]
    assert len(spoken) == 1 and spoken[0].startswith("record") and spoken[0] in first
    assert_same_training(load_result(tmp_path / "run"), alone, tolerance=TOLERANCE)

    # Only the first one has seen that the run was finished.
    once_more = start_pair(TRAIN, *options, "--resume")
    (code, out, _), (second, silence, _) = map(finish, once_more)
    assert (code, second) == (0, 0)
    assert "nothing left to do" in out and "left" not in silence


@pytest.mark.slow
@pytest.mark.parametrize(
    ("own", "message"),
    [
        (
            (["--warmup-steps", "4"], ["--warmup-steps", "6"]),
            "different configurations: .*"
            "warmup_steps is 6 on process 1 and 4 on process 0",
        ),
        pytest.param(
            ([], ["--data", "no/such/text"]),
            "process 1: data='no/such/text' does not exist",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_two_processes_that_differ_stop_before_training(own, message, text, tmp_path):
    options = [*OPTIONS, "--data", text, "--run-dir", str(tmp_path / "run")]
    for process in start_pair(TRAIN, *options, own=own):
        code, _, errors = finish(process)
        assert code == 2, errors
        assert re.search(message, errors), errors
        assert "Traceback" not in errors
    assert not list(tmp_path.iterdir())


# Meshes and batches, without training.


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fsdp": 3}, "fsdp=3 does not divide the 1 device\\."),
        ({"fsdp": -1}, "fsdp=-1 .*0 or more"),
    ],
)
def test_a_mesh_that_cannot_be(changes, message):
    with pytest.raises(InputError, match=message):
        config = TINY.replace(**changes)
        sharding.make_mesh(config.batch_size, config.fsdp)


def test_each_process_makes_its_rows_of_the_batch():
    mesh = sharding.make_mesh(TINY.batch_size, TINY.fsdp)
    rows = sharding.local_rows(mesh, 4)
    assert rows.tolist() == [0, 1, 2, 3]
    tokens = np.arange(20, dtype=np.int32).reshape(4, 5)
    np.testing.assert_array_equal(sharding.put_batch(tokens, rows, mesh), tokens)


def test_outside_a_mesh_nothing_is_split():
    x = jnp.ones((3, 2))
    assert sharding.split_over_batch(x) is x
    assert sharding.gather({"w": x}, "bfloat16")["w"] is x
