"""Prints the counts of budget.py as JSON. It is started with two devices."""

import json
import sys
from pathlib import Path

import jax

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))
import budget  # noqa: E402

mesh = jax.make_mesh((2,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
print(json.dumps(budget.measure(mesh)))
