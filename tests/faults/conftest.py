"""Runs to damage: one that nothing interrupts, and one that was interrupted."""

import os

import pytest
from fault_runs import CONFIG, interrupted
from transformer_runs import compile_once, run, write_text


@pytest.fixture(scope="session")
def programs(tmp_path_factory):
    with compile_once(tmp_path_factory) as environment:
        # Flags as here, so that a process of its own has the same last bit.
        yield environment | {"XLA_FLAGS": os.environ.get("XLA_FLAGS", "")}


@pytest.fixture(scope="session")
def text(tmp_path_factory):
    return write_text(tmp_path_factory.mktemp("text"))


@pytest.fixture(scope="session")
def whole(programs, text, tmp_path_factory):
    """The run that nothing interrupts: 12 updates."""
    return run(CONFIG, tmp_path_factory.mktemp("whole") / "run", data=text)


@pytest.fixture(scope="session")
def broken_off(programs, text, tmp_path_factory):
    """One that ended at update 9, with checkpoints of the steps 6 and 8."""
    return interrupted(tmp_path_factory.mktemp("broken_off") / "run", 9, data=text)
