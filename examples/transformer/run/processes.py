"""How several processes find each other; how they agree is in core/processes.py."""

import argparse

import jax

from ..core.processes import (
    agree as agree,
    first_says as first_says,
    gather as gather,
    is_first as is_first,
    together as together,
    wait_for_all as wait_for_all,
)
from ..core.settings import InputError


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options for connecting to the other processes."""
    group = parser.add_argument_group("several processes")
    group.add_argument(
        "--distributed",
        action="store_true",
        help="this is one of several processes; on SLURM, Open MPI, TPU pods and "
        "Kubernetes this is enough, elsewhere also give the next three options",
    )
    group.add_argument(
        "--coordinator", metavar="HOST:PORT", help="address of process 0"
    )
    group.add_argument("--processes", type=int, metavar="N", help="number of processes")
    group.add_argument(
        "--process", type=int, metavar="I", help="index of this process, from 0"
    )


def start(options: argparse.Namespace) -> None:
    """Connects to the other processes. Must come before any other use of JAX."""
    given = (options.coordinator, options.processes, options.process)
    by_hand = any(x is not None for x in given)
    if by_hand and None in given:
        raise InputError(
            "--coordinator, --processes and --process belong together: give all three, "
            "or only --distributed where the cluster provides them."
        )
    if not (by_hand or options.distributed):
        return
    try:
        jax.distributed.initialize(*given)
    except (ValueError, RuntimeError) as error:
        raise InputError(
            f"the processes cannot connect: {error} Give all of --coordinator "
            f"HOST:PORT, --processes and --process."
        ) from None
