"""A damaged newest checkpoint is noticed; the run goes on from the one before, and is
the same, bit for bit.
"""

import io
import json
import shutil

import jax
import numpy as np
import pytest
from fault_runs import CONFIG, command, copy_of, resumed
from rich.console import Console
from selection import parametrize
from transformer_runs import assert_same_training, finish, start_pair

from examples.transformer.core import checksums
from examples.transformer.core.settings import InputError
from examples.transformer.run.checkpoint import Checkpoints
from examples.transformer.run.plan import make_plan
from examples.transformer.run.sample import load_sampler
from examples.transformer.run.start import find_start, restore

pytestmark = pytest.mark.train

NEWEST, BEFORE = 8, 6


@pytest.fixture(scope="module")
def plan(programs, text):
    return make_plan(CONFIG.replace(data=text))


@pytest.fixture(scope="module")
def states(plan, broken_off):
    """The states that were saved, by step."""
    with Checkpoints(f"{broken_off}.incomplete", read_only=True) as checkpoints:
        assert checkpoints.steps() == [BEFORE, NEWEST]
        return {
            step: jax.device_get(checkpoints.restore(step, plan.state))
            for step in (BEFORE, NEWEST)
        }


def restored(folder, plan):
    """The start of a resumed run, its state, and what it says."""
    with Checkpoints(f"{folder}.incomplete") as checkpoints:
        start = find_start(plan, checkpoints, accept_changes=False)
        start, state = restore(start, plan, checkpoints, accept_changes=False)
        said = start.describe(checkpoints.damaged)
        checkpoints.set_aside()
        assert NEWEST not in checkpoints.manager.all_steps()
    return start.step, state, said


def assert_goes_on_from_before(folder, plan, states):
    step, state, said = restored(folder, plan)
    assert step == BEFORE
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(state), states[BEFORE])
    assert said[0].startswith(f"the checkpoint of step {NEWEST} is damaged"), said
    assert said[1] == f"resumed from the checkpoint of step {BEFORE}"


def largest(folder):
    return max(
        (x for x in folder.rglob("*") if x.is_file()), key=lambda x: x.stat().st_size
    )


def remove(name):
    def damage(folder):
        path = folder / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()

    return damage


def rewrite(name, change):
    def damage(folder):
        path = largest(folder) if name == "largest" else folder / name
        path.write_bytes(change(path.read_bytes()))

    return damage


def empty(content):
    return b""


def half(content):
    return content[: len(content) // 2]


def garble(content):
    return np.random.default_rng(0).bytes(len(content))


def one_byte_more(content):
    return content + b"\0"


def empty_folder(folder):
    shutil.rmtree(folder)
    folder.mkdir()


def a_file_instead(folder):
    shutil.rmtree(folder)
    folder.write_text("a file")


def a_dangling_link(folder):
    shutil.rmtree(folder)
    folder.symlink_to(folder.with_name("nowhere"))


def another_step(folder):
    shutil.rmtree(folder)
    shutil.copytree(folder.with_name(str(BEFORE)), folder)


def an_item_of_another_step(folder):
    shutil.rmtree(folder / "params")
    shutil.copytree(folder.with_name(str(BEFORE)) / "params", folder / "params")


def other_text(content):
    about = json.loads(content)
    return json.dumps(about | {"step": 7}).encode()


DAMAGES = {
    "empty folder": empty_folder,
    "a file instead": a_file_instead,
    "a dangling link": a_dangling_link,
    "another step's folder": another_step,
    "another step's params": an_item_of_another_step,
    "no params": remove("params"),
    "no opt_state": remove("opt_state"),
    "no about": remove("about"),
    "no text about it": remove("about/metadata"),
    "empty text about it": rewrite("about/metadata", empty),
    "half the text about it": rewrite("about/metadata", half),
    "a list about it": rewrite("about/metadata", lambda _: b"[]"),
    "other text about it": rewrite("about/metadata", other_text),
    "no manifest": remove("params/manifest.ocdbt"),
    "empty manifest": rewrite("params/manifest.ocdbt", empty),
    "half a manifest": rewrite("opt_state/manifest.ocdbt", half),
    "no tree": remove("params/_METADATA"),
    "garbled tree": rewrite("opt_state/_METADATA", garble),
    "half a tree": rewrite("opt_state/_METADATA", half),
    "no index": remove("params/d"),
    "no arrays": remove("opt_state/ocdbt.process_0"),
    "empty arrays": rewrite("largest", empty),
    "half the arrays": rewrite("largest", half),
    "garbled arrays": rewrite("largest", garble),
    "zeros for arrays": rewrite("largest", lambda content: bytes(len(content))),
    "a byte more": rewrite("largest", one_byte_more),
    "no checksums": remove(checksums.NAME),
    "half the checksums": rewrite(checksums.NAME, half),
    "other checksums": rewrite(checksums.NAME, lambda _: b'{"a": "b"}'),
    "nested checksums": rewrite(checksums.NAME, lambda _: b"[" * 100_000),
    "no description of Orbax": remove("_CHECKPOINT_METADATA"),
    "a garbled description of Orbax": rewrite("_CHECKPOINT_METADATA", garble),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_the_one_before_is_taken(damage, broken_off, plan, states, tmp_path):
    folder = copy_of(broken_off, tmp_path / "run")
    damage(tmp_path / f"run.incomplete/checkpoints/{NEWEST}")
    assert_goes_on_from_before(folder, plan, states)


@parametrize("name", DAMAGES, quick=["garbled arrays"])
def test_the_run_is_the_same_bit_for_bit(
    name, broken_off, whole, text, states, tmp_path
):
    folder = copy_of(broken_off, tmp_path / "run")
    DAMAGES[name](tmp_path / f"run.incomplete/checkpoints/{NEWEST}")
    console = Console(file=io.StringIO(), width=200)
    assert_same_training(resumed(folder, console, data=text), whole)
    said = console.file.getvalue()
    assert f"the checkpoint of step {NEWEST} is damaged and was set aside" in said
    assert f"resumed from the checkpoint of step {BEFORE}" in said


def flip(path, rng):
    content = bytearray(path.read_bytes())
    content[rng.integers(len(content))] ^= 1 << rng.integers(8)
    path.write_bytes(content)


@parametrize("seed", range(60), quick=6)
def test_no_flipped_bit_is_silent(seed, broken_off, plan, states, tmp_path):
    """Half of them anywhere in any file, half anywhere in all bytes."""
    rng = np.random.default_rng(seed)
    folder = copy_of(broken_off, tmp_path / "run")
    newest = tmp_path / f"run.incomplete/checkpoints/{NEWEST}"
    files = sorted(x for x in newest.rglob("*") if x.is_file())
    sizes = np.array([x.stat().st_size for x in files])
    weights = np.ones(len(files)) if seed % 2 else sizes
    flip(files[rng.choice(len(files), p=weights / weights.sum())], rng)
    assert_goes_on_from_before(folder, plan, states)


@parametrize("seed", range(30), quick=10)
def test_a_flipped_bit_of_an_array_is_noticed_without_the_checksums_of_the_files(
    seed, broken_off, plan, states, tmp_path, monkeypatch
):
    """What is restored is what was saved, whatever happened in between."""
    monkeypatch.setattr(checksums, "damage", lambda folder: "")
    folder = copy_of(broken_off, tmp_path / "run")
    newest = tmp_path / f"run.incomplete/checkpoints/{NEWEST}"
    arrays = sorted(x for x in newest.glob("*/ocdbt.process_0/d/*") if x.is_file())
    rng = np.random.default_rng(seed)
    flip(arrays[rng.integers(len(arrays))], rng)
    step, state, _ = restored_anyhow(folder, plan)
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(state), states[step])


def restored_anyhow(folder, plan):
    with Checkpoints(f"{folder}.incomplete", read_only=True) as checkpoints:
        start = find_start(plan, checkpoints, accept_changes=False)
        start, state = restore(start, plan, checkpoints, accept_changes=False)
        return start.step, state, checkpoints.damaged


@pytest.mark.slow
def test_two_processes_take_the_one_before_together(
    programs, broken_off, text, tmp_path
):
    """Also the checksums of arrays that one process saved, and two restore."""
    folder = copy_of(broken_off, tmp_path / "run")
    rewrite("largest", garble)(tmp_path / f"run.incomplete/checkpoints/{NEWEST}")
    pair = start_pair([*command(text, folder), "--resume"], **programs)
    ended = [finish(each) for each in pair]
    assert [code for code, _, _ in ended] == [0, 0], ended
    assert f"step {NEWEST} is damaged and was set aside" in ended[0][1]
    assert f"resumed from the checkpoint of step {BEFORE}\n" in ended[0][1]
    with Checkpoints(folder, read_only=True) as checkpoints:
        assert checkpoints.whole_steps() == [10, 12]


def test_if_none_is_whole_it_says_so_and_what_to_do(broken_off, text, tmp_path):
    folder = copy_of(broken_off, tmp_path / "run")
    for step in (BEFORE, NEWEST):
        rewrite("largest", garble)(tmp_path / f"run.incomplete/checkpoints/{step}")
    with pytest.raises(InputError, match="no checkpoint .* is whole .*--overwrite"):
        resumed(folder, data=text)
    there = tmp_path / "run.incomplete/checkpoints"
    assert {x.name for x in there.iterdir()} == {str(BEFORE), str(NEWEST)}


def test_a_damaged_checkpoint_is_set_aside_not_deleted(broken_off, text, tmp_path):
    folder = copy_of(broken_off, tmp_path / "run")
    newest = tmp_path / f"run.incomplete/checkpoints/{NEWEST}"
    rewrite("largest", garble)(newest)
    garbled = largest(newest).read_bytes()
    resumed(folder, data=text)
    aside = tmp_path / f"run/checkpoints/{NEWEST}.damaged-1"
    assert largest(aside).read_bytes() == garbled


def test_text_is_generated_from_the_one_before(broken_off, tmp_path, capsys):
    copy_of(broken_off, tmp_path / "run")
    rewrite("largest", garble)(tmp_path / f"run.incomplete/checkpoints/{NEWEST}")
    load_sampler(tmp_path / "run.incomplete")("a", 3)
    assert "step 8 is damaged" in capsys.readouterr().err


def test_a_checkpoint_of_before_there_were_checksums_is_taken(
    broken_off, plan, states, tmp_path
):
    folder = copy_of(broken_off, tmp_path / "run")
    newest = tmp_path / f"run.incomplete/checkpoints/{NEWEST}"
    (newest / checksums.NAME).unlink()
    about = json.loads((newest / "about/metadata").read_text())
    for name in ("checksums", "step", "metrics", "rollbacks"):
        del about[name]
    (newest / "about/metadata").write_text(json.dumps(about))
    with Checkpoints(f"{folder}.incomplete") as checkpoints:
        start = find_start(plan, checkpoints, accept_changes=False)
        assert start.describe({}) == [
            f"resumed from the checkpoint of step {NEWEST} (which has no checksums)"
        ]
        _, state = restore(start, plan, checkpoints, accept_changes=False)
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(state), states[NEWEST])


@pytest.mark.parametrize(
    "dtype", ["float32", "bfloat16", "float16", "int32", "uint8", "int4", "bool"]
)
def test_the_checksum_of_arrays_sees_each_bit_and_each_place(dtype):
    x = jax.numpy.arange(12).reshape(3, 4).astype(dtype)
    same = checksums.checksum({"a": x})
    assert checksums.checksum({"a": x + 0 if dtype != "bool" else x | False}) == same
    others = [{"a": x.at[2, 3].set(x[2, 3] == 0)}, {"b": x}, {"a": x.reshape(4, 3)}]
    others.append({"a": x[::-1]})
    for other in others:
        assert checksums.checksum(other) != same, other
