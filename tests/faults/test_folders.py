"""What a run and a sweep do to a folder: they delete what they wrote, follow no link,
and share it with nobody.
"""

import errno
import os
import subprocess
import sys
import threading
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from fault_runs import copy_of, resumed
from transformer_runs import ROOT, assert_same_training

import optax_warmup as ow
from examples.transformer.core import files
from examples.transformer.core.files import OutputError
from examples.transformer.core.settings import InputError
from examples.transformer.run import demo, train
from examples.transformer.run.config import Config
from examples.transformer.run.run_folder import RunFolder
from optax_warmup import _files

WRITTEN = ("config.json", "environment.json", "moments.npz", "summary.json")


def a_run(folder):
    """A folder as a run writes it, with other people's files in it."""
    for step in (4, 8):
        (folder / f"checkpoints/{step}/params").mkdir(parents=True)
    for name in (*WRITTEN, "metrics.jsonl", "checkpoints/8/params/array"):
        (folder / name).write_text("old")
    (folder / "events.out.tfevents.1.host").write_text("old")
    (folder / "checkpoints/9.orbax-checkpoint-tmp").mkdir()
    (folder / "plots").mkdir()
    for name in ("precious.txt", "plots/a.png", "checkpoints/precious.txt"):
        (folder / name).write_text("mine")
    return folder


def contents(folder):
    return {
        x.relative_to(folder).as_posix(): x.read_text()
        for x in folder.rglob("*")
        if x.is_file()
    }


MINE = {"precious.txt", "plots/a.png", "checkpoints/precious.txt"}


def test_overwrite_deletes_what_a_run_wrote_and_nothing_else(tmp_path):
    a_run(tmp_path / "run")
    with RunFolder(tmp_path / "run", overwrite=True) as folder:
        folder.write("summary.json", {"new": 1})
        assert (tmp_path / "run/summary.json").read_text() == "old"  # until it is done
    there = contents(tmp_path / "run")
    assert {name for name, text in there.items() if text == "mine"} == MINE
    assert there.keys() - MINE == {"metrics.jsonl", "summary.json"}
    assert "new" in there["summary.json"]
    assert not (tmp_path / "run.incomplete").exists()


def test_overwriting_an_interrupted_run_keeps_them_as_well(tmp_path):
    a_run(tmp_path / "run.incomplete")
    a_run(tmp_path / "run")
    (tmp_path / "run/precious.txt").write_text("mine, too")
    with RunFolder(tmp_path / "run", overwrite=True) as folder:
        assert contents(folder.incomplete).keys() == MINE | {"metrics.jsonl"}
    there = contents(tmp_path / "run")
    assert there["precious.txt"] == "mine"
    assert there["precious.txt.replaced-1"] == "mine, too"


@pytest.mark.parametrize("name", [*WRITTEN, "metrics.jsonl", "checkpoints"])
@pytest.mark.parametrize("options", [{"overwrite": True}, {"resume": True}])
def test_a_link_in_the_place_of_a_file_is_refused(name, options, tmp_path):
    (tmp_path / "run.incomplete").mkdir()
    (tmp_path / "run.incomplete/metrics.jsonl").touch()
    target = tmp_path / "elsewhere"
    target.mkdir() if name == "checkpoints" else target.write_text("mine")
    link = tmp_path / "run.incomplete" / name
    link.unlink(missing_ok=True)
    link.symlink_to(target)
    with pytest.raises(InputError, match=f"{name} is a symbolic link"):
        RunFolder(tmp_path / "run", **options)
    assert target.is_dir() or target.read_text() == "mine"


@pytest.mark.parametrize("name", ["checkpoints", "metrics.jsonl"])
def test_what_is_no_file_of_a_run_under_its_name_is_refused(name, tmp_path):
    folder = tmp_path / "run.incomplete"
    folder.mkdir()
    (folder / "config.json").touch()
    path = folder / name
    path.write_text("mine") if name == "checkpoints" else path.mkdir()
    with pytest.raises(InputError, match=f"{name} is not what a run writes"):
        RunFolder(tmp_path / "run", resume=True)


def test_the_folder_may_be_a_link(tmp_path):
    a_run(tmp_path / "run")
    (tmp_path / "latest").symlink_to(tmp_path / "run")
    with RunFolder(tmp_path / "latest", overwrite=True) as folder:
        assert folder.incomplete == tmp_path / "run.incomplete"
    assert (tmp_path / "latest").is_symlink()
    assert contents(tmp_path / "run")["precious.txt"] == "mine"


def test_an_empty_folder_that_a_killed_start_left_is_used(tmp_path):
    (tmp_path / "run.incomplete").mkdir()
    with RunFolder(tmp_path / "run", resume=True):
        pass


@pytest.mark.parametrize(
    "name",
    ["", " ", ".", "./", "/", "//", "..", "runs/..", "../..", "a\0b", "a.incomplete"],
)
def test_a_name_of_no_folder_of_its_own_is_refused(name, capsys):
    with pytest.raises(InputError, match="run_dir="):
        Config(run_dir=name)
    for main in (train.main, demo.main):
        assert main(["--run-dir", name, "--overwrite"]) == 2
        assert "error: run_dir=" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["a" * 300, "~no-such-user-here/a"])
def test_a_name_that_the_system_refuses_is_named(name, tmp_path):
    if not name.startswith("~"):
        name = str(tmp_path / name)
    with pytest.raises(InputError, match="run_dir"):
        RunFolder(name)


# Partial files.


def write_with_the_library(path, content):
    with _files.write_atomically(path) as file:
        file.write(content)


@pytest.mark.parametrize("write", [files.write_atomically, write_with_the_library])
def test_a_partial_file_does_not_follow_a_link(write, tmp_path):
    (tmp_path / "precious").write_text("mine")
    (tmp_path / "a.json.partial").symlink_to(tmp_path / "precious")
    write(tmp_path / "a.json", b"new")
    assert contents(tmp_path) == {"a.json": "new", "precious": "mine"}


def test_a_partial_file_of_a_killed_run_is_replaced(tmp_path):
    (tmp_path / "a.json.partial").write_text("half")
    files.write_atomically(tmp_path / "a.json", b"whole")
    assert contents(tmp_path) == {"a.json": "whole"}


# A full disk.


def full(*args, **kwargs):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_disk_that_others_fill_names_the_file_and_the_way_out(tmp_path):
    way_out = "could not be written: No space left on device. Make room.*--resume"
    with pytest.raises(OutputError), RunFolder(tmp_path / "run") as folder:
        with (
            mock.patch.object(files.os, "fsync", full),
            pytest.raises(OutputError, match=f"environment.json {way_out}"),
        ):
            folder.write("environment.json", {})
        folder.append_metrics({"step": 0, "loss": 1.0})
        folder.metrics.close()
        with (
            Path("/dev/full").open("ab", buffering=0) as folder.metrics,
            pytest.raises(OutputError, match=f"metrics.jsonl {way_out}"),
        ):
            folder.append_metrics({"step": 1, "loss": 1.0})
        raise OutputError
    assert not list((tmp_path / "run.incomplete").glob("*.partial"))


def test_a_full_disk_is_named_by_a_sweep_and_a_record(tmp_path):
    points = ow.sweeps.grid(seed=range(4))

    def fill(done, count):
        if done == 2:
            disk.start()

    disk = mock.patch.object(_files.os, "fsync", full)
    try:
        with pytest.raises(OSError, match=r"from_000002.npz could not be .*Make room"):
            ow.sweeps.sweep(
                double, points, chunk=2, folder=tmp_path / "a", progress=fill
            )
        with (
            pytest.raises(OSError, match=r"No space left on device: '.*b.json'"),
            _files.write_atomically(tmp_path / "b.json"),
        ):
            pass
    finally:
        disk.stop()
    assert not list(tmp_path.rglob("*.partial"))
    found = ow.sweeps.sweep(double, points, chunk=2, folder=tmp_path / "a")
    assert found.tolist() == [0, 2, 4, 6]


@pytest.mark.slow
@pytest.mark.train
@pytest.mark.parametrize("part", ["moments.npz", "metrics.jsonl", "summary.json"])
def test_a_disk_full_at_the_end_loses_nothing(
    part, broken_off, whole, text, tmp_path, programs
):
    folder = copy_of(broken_off, tmp_path / "run")
    name = {
        "moments.npz": "optax_warmup.diagnostics.MomentHistory.save",
        "metrics.jsonl": "examples.transformer.core.files.write_atomically",
        "summary.json": "examples.transformer.run.train.write_summary",
    }[part]
    with mock.patch(name, full), pytest.raises((OutputError, OSError)) as raised:
        resumed(folder, data=text)
    assert part == "summary.json" or isinstance(raised.value, OutputError)
    assert_same_training(resumed(folder, data=text), whole)


# Two at once.


def test_two_runs_started_at_once_into_one_folder(tmp_path):
    """One has it; the others are refused with a message."""
    barrier, results = threading.Barrier(8), []

    def start():
        barrier.wait()
        try:
            results.append(RunFolder(tmp_path / "run", overwrite=True))
        except InputError as error:
            results.append(str(error))

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    refused = [x for x in results if isinstance(x, str)]
    assert len(refused) == 7
    assert all("a run is still going" in x for x in refused)
    (folder,) = (x for x in results if not isinstance(x, str))
    with folder:
        pass


def test_a_folder_that_was_refused_is_not_locked(tmp_path):
    (tmp_path / "run.incomplete").mkdir()
    (tmp_path / "run.incomplete/metrics.jsonl").touch()
    with pytest.raises(InputError, match="was interrupted or is still going"):
        RunFolder(tmp_path / "run")
    with RunFolder(tmp_path / "run", overwrite=True):
        pass


SWEEP = """
import sys, time, optax_warmup as ow
def wait(done, count):
    open(sys.argv[2], "w").close()
    time.sleep(3)
points = ow.sweeps.grid(seed=range(4))
print(ow.sweeps.sweep(lambda seed: 2 * seed, points, folder=sys.argv[1],
                      progress=wait if len(sys.argv) > 2 else None).tolist())
"""


@pytest.mark.slow
def test_two_sweeps_in_one_folder(tmp_path):
    """The second is refused by name; afterwards it reads what the first one wrote."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
    program = [sys.executable, "-c", SWEEP, str(tmp_path / "sweep")]
    first = subprocess.Popen(
        [*program, str(tmp_path / "started")], stdout=subprocess.PIPE, env=environment
    )
    while not (tmp_path / "started").exists() and first.poll() is None:
        pass
    second = subprocess.run(program, capture_output=True, text=True, env=environment)
    assert "is in use: another sweep writes to it. Wait until" in second.stderr
    assert first.communicate()[0].strip() == b"[0, 2, 4, 6]"
    third = subprocess.run(program, capture_output=True, text=True, env=environment)
    assert third.stdout.strip() == "[0, 2, 4, 6]", third.stderr


def double(seed):
    return 2 * seed


def test_a_sweep_that_was_killed_at_its_very_start(tmp_path):
    points = ow.sweeps.grid(seed=range(2))
    folder = tmp_path / "sweep"
    folder.mkdir()
    (folder / "sweep.json.partial").write_text("{")  # killed at its start
    assert ow.sweeps.sweep(double, points, folder=folder).tolist() == [0, 2]


def test_threads_do_not_share_a_folder_either(tmp_path):
    points = ow.sweeps.grid(seed=range(2))
    errors = []

    def again(done, count):
        with pytest.raises(ValueError, match="is in use") as raised:
            ow.sweeps.sweep(double, points, folder=tmp_path / "a")
        errors.append(raised)

    ow.sweeps.sweep(double, points, folder=tmp_path / "a", progress=again)
    assert len(errors) == 2
    assert ow.sweeps.sweep(double, points, folder=tmp_path / "a").tolist() == [0, 2]


@pytest.mark.parametrize("content", [b"", b"PK", b"\0" * 1000, b"garbled" * 100])
def test_a_damaged_chunk_is_named(content, tmp_path):
    points = ow.sweeps.grid(seed=range(2))
    ow.sweeps.sweep(double, points, folder=tmp_path / "a")
    (chunk,) = (tmp_path / "a").glob("from_*.npz")
    chunk.write_bytes(content)
    with pytest.raises(ValueError, match=f"{chunk.name} cannot be read.*Delete it"):
        ow.sweeps.sweep(double, points, folder=tmp_path / "a")


@pytest.mark.parametrize("seed", range(10))
def test_no_flipped_bit_of_a_chunk_is_silent(seed, tmp_path):
    points = ow.sweeps.grid(seed=range(2))
    expected = ow.sweeps.sweep(double, points, folder=tmp_path / "a")
    (chunk,) = (tmp_path / "a").glob("from_*.npz")
    content, rng = bytearray(chunk.read_bytes()), np.random.default_rng(seed)
    content[rng.integers(len(content))] ^= 1 << rng.integers(8)
    chunk.write_bytes(content)
    try:
        found = ow.sweeps.sweep(double, points, folder=tmp_path / "a")
    except ValueError as error:
        assert "cannot be read" in str(error)
    else:
        np.testing.assert_array_equal(found, expected)
