"""Writes tests/support/budget.json: what each schedule and transform may cost.

Run `python tests/tools/write_budget.py` after a change that is worth its cost, and say
in the commit why.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).parents[1]


def measured():
    """The counts now, from a program with two devices."""
    environment = os.environ | {
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": "--xla_force_host_platform_device_count=2",
        "PYTHONPATH": str(TESTS.parent),
    }
    command = [sys.executable, TESTS / "programs" / "measure_budget.py"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


if __name__ == "__main__":
    import jax

    table = {"jax": jax.__version__, "counts": measured()}
    text = json.dumps(table, indent=1)
    (TESTS / "support" / "budget.json").write_text(text + "\n")
