"""Two processes with other settings: run by tests/test_continue.py.

Arguments: the port of the coordinator and the index of this process.
"""

import sys

import jax

import optax_warmup as ow


def main(port, process):
    jax.distributed.initialize(
        f"127.0.0.1:{port}", 2, process, initialization_timeout=60
    )
    schedule = ow.warmup_cosine(1e-3, 10, 100)
    ow.runs.check_same(schedule=schedule, sizes=[1, 2], seed=0)
    print("the same")
    other = ow.warmup_cosine(1e-3, 10 + 10 * process, 100)
    try:
        ow.runs.check_same(seed=0, schedule=other, batch=256 + process)
    except ValueError as error:
        print(error)
    jax.distributed.shutdown()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
