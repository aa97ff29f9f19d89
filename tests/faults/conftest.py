"""Runs to damage: one that nothing interrupts, and one that was interrupted."""

import pytest
from fault_runs import interrupted, whole_run
from transformer_runs import kept_programs, written_text

programs = kept_programs(scope="session")
text = written_text(scope="session")
whole = whole_run(scope="session")


@pytest.fixture(scope="session")
def broken_off(programs, text, tmp_path_factory):
    """One that ended at update 9, with checkpoints of the steps 6 and 8."""
    return interrupted(tmp_path_factory.mktemp("broken_off") / "run", 9, data=text)
