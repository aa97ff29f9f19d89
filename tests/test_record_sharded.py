"""The record on several devices and in several processes, each in its own Python."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest
from devices import environment

pytestmark = pytest.mark.train

PROGRAMS = Path(__file__).parent / "programs"


def start(program, *arguments, devices=1):
    return subprocess.Popen(
        [sys.executable, PROGRAMS / program, *map(str, arguments)],
        env=environment(devices),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(process):
    output, _ = process.communicate(timeout=240)
    assert process.returncode == 0, output
    return output


@pytest.mark.slow
def test_four_devices_record_what_one_does_with_three_collectives_at_most():
    assert finish(start("record_sharded.py", devices=4)).endswith("ok\n")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.mark.slow
def test_two_processes_train_as_one():
    port, program = free_port(), "transforms_replicated.py"
    both = [start(program, "process", port, process) for process in (0, 1)]
    for process in both:
        assert finish(process).endswith("ok\n")


def test_two_processes_record_the_same():
    port = free_port()
    both = [start("record_two_processes.py", port, process) for process in (0, 1)]
    first, second = (
        [line for line in finish(process).splitlines() if line.startswith("nu_hat")]
        for process in both
    )
    assert first == second and len(first) == 2
    assert "nan" not in "".join(first)
