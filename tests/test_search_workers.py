"""Searches with several real workers on real storages, of which one is killed."""

import collections
import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import optuna
import postgres
import pytest

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tests" / "programs"))
import search_worker  # noqa: E402

pytestmark = pytest.mark.slow


@pytest.fixture
def workers(tmp_path):
    """Starts workers, and ends those that are left."""
    started = []

    def start(where, *arguments):
        program = ROOT / "tests" / "programs" / "search_worker.py"
        marker = tmp_path / f"marker-{len(started)}"
        log = tmp_path / f"log-{len(started)}"
        with log.open("w") as output:
            process = subprocess.Popen(
                [sys.executable, program, where, marker, *arguments],
                env=os.environ | {"PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"},
                stdout=output, stderr=subprocess.STDOUT,
            )  # fmt: skip
        process.marker, process.log = marker, log
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
            process.wait()


@pytest.fixture
def server():
    server = postgres.Server()
    yield server
    server.close()


def wait_for(condition, process, seconds=90):
    until = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.log.read_text()
        assert time.monotonic() < until, process.log.read_text()
        time.sleep(0.05)


def kill_one_of_three(where, workers):
    victim = workers(where, "hang")
    wait_for(victim.marker.exists, victim)
    victim.send_signal(signal.SIGKILL)
    victim.wait()
    others = [workers(where), workers(where)]
    for other in others:
        assert other.wait(120) == 0, other.log.read_text()
        assert f"settled {search_worker.TRIALS}" in other.log.read_text()
    return read(where)


@contextlib.contextmanager
def storage_at(where):
    storage = search_worker.storage_at(where)
    yield storage
    if "://" in where:
        storage.remove_session()
        storage.engine.dispose()


def read(where):
    with storage_at(where) as storage:
        return optuna.load_study(study_name="shared", storage=storage).trials


def check_each_counts_once(trials):
    """Each of the trials was trained to its value by one worker, and counts once."""
    lineages = collections.defaultdict(list)
    for trial in trials:
        surplus = trial.user_attrs.get("search_void") == "surplus"
        if "search_root" in trial.user_attrs or not surplus:
            lineages[trial.user_attrs.get("search_root", trial.number)].append(trial)
    assert len(lineages) == search_worker.TRIALS
    for lineage in lineages.values():
        done = [x for x in lineage if x.state.name in ("COMPLETE", "PRUNED")]
        assert len(done) == 1, lineage
        assert {x.state.name for x in lineage} - {"COMPLETE", "PRUNED"} <= {"FAIL"}
        (trial,) = done
        for other in lineage:
            assert other.params == trial.params
        for part, value in trial.intermediate_values.items():
            expected = 9 * (1 - trial.params["rate"]) ** (2 * part)
            assert value == pytest.approx(expected, rel=1e-4, abs=1e-9)
        if trial.state.name == "COMPLETE":
            assert trial.last_step == search_worker.RUNGS
    return lineages


def check_the_lost_were_taken_up(trials):
    lineages = check_each_counts_once(trials)
    lost = [x for x in lineages.values() if len(x) > 1]
    assert 1 <= len(lost) <= search_worker.CHUNK
    for lineage in lost:
        (done,) = (x for x in lineage if x.state.name != "FAIL")
        first = lineage[0].user_attrs["search"]["worker"]
        assert lineage[0] is not done and done.user_attrs["search"]["worker"] != first


def test_a_killed_worker_loses_nothing_on_a_journal_file(tmp_path, workers):
    trials = kill_one_of_three(str(tmp_path / "journal.log"), workers)
    check_the_lost_were_taken_up(trials)


def test_a_killed_worker_loses_nothing_on_postgresql(server, workers):
    trials = kill_one_of_three(server.url, workers)
    check_the_lost_were_taken_up(trials)


def test_several_workers_share_one_study_exactly(server, workers):
    with storage_at(server.url) as storage:
        # Before the workers: two that make the tables of a database collide.
        optuna.create_study(study_name="shared", storage=storage)
    started = [workers(server.url) for _ in range(3)]
    for worker in started:
        assert worker.wait(120) == 0, worker.log.read_text()
    check_each_counts_once(read(server.url))


def test_a_server_that_goes_away_is_said_and_the_same_call_goes_on(server, workers):
    worker = workers(server.url, "hang")
    wait_for(worker.marker.exists, worker)
    worker.kill()
    worker.wait()
    worker = workers(server.url)
    wait_for(lambda: "settled" in worker.log.read_text(), worker)
    server.stop()
    assert worker.wait(60) == 1
    said = worker.log.read_text()
    assert "RuntimeError: search: the storage of study 'shared' does not answer" in said
    server.start()
    again = workers(server.url)
    assert again.wait(120) == 0, again.log.read_text()
    check_the_lost_were_taken_up(read(server.url))


def test_a_server_that_is_soon_back_is_waited_for(server, workers):
    worker = workers(server.url)
    wait_for(lambda: "settled" in worker.log.read_text(), worker)
    server.stop()
    time.sleep(1)
    server.start()
    assert worker.wait(120) == 0, worker.log.read_text()
    check_each_counts_once(read(server.url))
