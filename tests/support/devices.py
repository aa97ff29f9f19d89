"""Several virtual devices for the programs that tests start."""

import os


def environment(devices):
    """The environment of a program that sees so many devices."""
    return os.environ | {
        "JAX_PLATFORMS": "cpu",
        # XLA's concurrent scheduler for CPUs can let two devices wait for each other,
        # each in another of two collectives that do not depend on one another.
        "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}"
        " --xla_cpu_enable_concurrency_optimized_scheduler=false",
    }
