"""Schedules of sharded steps on a mesh: run by tests/test_modes.py.

The arguments are the names of the cases. Prints what goes wrong, a line each.
"""

import os
import sys
from pathlib import Path

os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=4"
sys.path.insert(0, str(Path(__file__).parent.parent / "support"))

import jax
import jax.numpy as jnp
import numpy as np
from cases import CASES, example

import optax_warmup as ow

STEPS = np.arange(16) * 7
SPEC = jax.P("d")


def programs(schedule, mesh):
    """The schedule in each way that it may meet sharded steps."""
    yield "jit", jax.jit(lambda step: schedule(step))
    yield "argument", lambda step: jax.jit(lambda s, k: s(k))(schedule, step)
    mapped = jax.shard_map(schedule, mesh=mesh, in_specs=SPEC, out_specs=SPEC)
    yield "shard_map", jax.jit(mapped)


def main(names):
    axis_types = jax.sharding.AxisType.Explicit, jax.sharding.AxisType.Auto
    for name in names:
        schedule = CASES[name].build(ow, example())
        wanted = np.asarray(schedule(STEPS))
        for axis_type in axis_types:
            mesh = jax.make_mesh((4,), ("d",), axis_types=(axis_type,))
            steps = jax.device_put(STEPS, jax.NamedSharding(mesh, SPEC))
            for way, program in programs(schedule, mesh):
                with jax.set_mesh(mesh):
                    try:
                        got = np.asarray(program(steps))
                        np.testing.assert_array_max_ulp(got, wanted, 1)
                    except Exception as error:
                        print(name, axis_type, way, type(error).__name__, error)
        assert jnp.shape(wanted) == STEPS.shape
    print("tried", len(names))


if __name__ == "__main__":
    main(sys.argv[1:] or list(CASES))
