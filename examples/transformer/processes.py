"""Several processes that train one model: how they find each other, and agree.

Each runs the same script on its own devices. What one of them alone gets wrong must
stop all of them, with a message: the others would wait for it in a collective for ever.
"""

import argparse
import json
from collections.abc import Callable
from typing import Any, TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils

from .option import InputError

T = TypeVar("T")


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options that say where the other processes are."""
    group = parser.add_argument_group("several processes")
    group.add_argument(
        "--distributed",
        action="store_true",
        help="one of several processes: SLURM, Open MPI, a TPU pod or Kubernetes says "
        "which; elsewhere give the next three, too",
    )
    group.add_argument(
        "--coordinator", metavar="HOST:PORT", help="address of process 0"
    )
    group.add_argument("--processes", type=int, metavar="N", help="how many there are")
    group.add_argument("--process", type=int, metavar="I", help="which this is, from 0")


def start(options: argparse.Namespace) -> None:
    """Joins the others; the first thing that a script does with JAX."""
    given = (options.coordinator, options.processes, options.process)
    by_hand = any(x is not None for x in given)
    if by_hand and None in given:
        raise InputError(
            "--coordinator, --processes and --process belong together: give all three, "
            "or --distributed alone where a cluster says them."
        )
    if not (by_hand or options.distributed):
        return
    try:
        jax.distributed.initialize(*given)
    except (ValueError, RuntimeError) as error:
        raise InputError(
            f"the processes do not find each other: {error} Give all of --coordinator "
            f"HOST:PORT, --processes and --process."
        ) from None


def is_first() -> bool:
    """Whether this is the process that writes and speaks."""
    return jax.process_index() == 0


def wait_for_all(name: str) -> None:
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(name)


def gather(text: str) -> list[str]:
    """The texts of all processes, in their order; every process gets the same list."""
    if jax.process_count() == 1:
        return [text]
    content = np.frombuffer(text.encode(), np.uint8)
    sizes = multihost_utils.process_allgather(np.array([content.size]))[:, 0]
    padded = np.zeros(sizes.max(), np.uint8)
    padded[: content.size] = content
    rows = np.asarray(multihost_utils.process_allgather(padded))
    return [bytes(row[:n]).decode() for row, n in zip(rows, sizes, strict=True)]


def first_says(fact: bool) -> bool:
    """What the first process knows."""
    return gather("yes" if fact else "")[0] == "yes"


def together(prepare: Callable[[], T]) -> T:
    """Calls it on every process; where one raises `InputError`, all do."""
    result, problem = None, ""
    try:
        result = prepare()
    except InputError as error:
        problem = str(error)
    problems = gather(problem)
    for index, text in enumerate(problems):
        if text:
            where = f"process {index}: " if len(problems) > 1 else ""
            raise InputError(where + text)
    return result  # type: ignore[return-value]


def agree(facts: dict[str, Any]) -> None:
    """Raises `InputError` on every process unless all were given the same facts.

    Two processes with different settings train happily: each applies its own update to
    what should be the same parameters, and nothing ever says so.
    """
    everyone = [json.loads(text) for text in gather(json.dumps(facts))]
    ours, *others = everyone
    differences = [
        f"{name} is {facts.get(name)!r} on process {index} "
        f"and {ours.get(name)!r} on process 0"
        for index, facts in enumerate(others, start=1)
        for name in sorted(ours.keys() | facts.keys())
        if facts.get(name) != ours.get(name)
    ]
    if differences:
        raise InputError(
            "the processes hold different configurations: "
            + "; ".join(differences)
            + ". Start all of them with the same command, code and data."
        )
