"""Training in several processes: how they agree.

Each process runs the same script on its own devices. An error in one of them must stop
all of them, with a message; otherwise the others wait for it in a collective forever.
"""

import json
from collections.abc import Callable
from typing import Any, TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils

import optax_warmup as ow

from .settings import InputError

T = TypeVar("T")


def is_first() -> bool:
    """Whether this is the process that writes files and prints."""
    return jax.process_index() == 0


def wait_for_all(name: str) -> None:
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(name)


def gather(text: str) -> list[str]:
    """The texts of all processes, in order; every process gets the same list."""
    if jax.process_count() == 1:
        return [text]
    content = np.frombuffer(text.encode(), np.uint8)
    sizes = multihost_utils.process_allgather(np.array([content.size]))[:, 0]
    padded = np.zeros(sizes.max(), np.uint8)
    padded[: content.size] = content
    rows = np.asarray(multihost_utils.process_allgather(padded))
    return [bytes(row[:n]).decode() for row, n in zip(rows, sizes, strict=True)]


def first_says(fact: Any) -> Any:
    """The fact (anything that JSON can hold) as the first process knows it."""
    return json.loads(gather(json.dumps(fact))[0])


def together(prepare: Callable[[], T], expected: type[Exception] = InputError) -> T:
    """Calls `prepare` on every process; if one raises the expected error, all do."""
    result, problem = None, ""
    try:
        result = prepare()
    except expected as error:
        problem = str(error) or type(error).__name__
    problems = gather(problem)
    for index, text in enumerate(problems):
        if text:
            where = f"process {index}: " if len(problems) > 1 else ""
            raise expected(where + text)
    return result  # type: ignore[return-value]


def agree(facts: dict[str, Any]) -> None:
    """Raises `InputError` on every process unless all have the same facts.

    Without this check two processes with different settings train without an error,
    while their copies of the parameters drift apart.
    """
    try:
        ow.runs.check_same(**facts)
    except ValueError as error:
        differences = str(error).removeprefix("check_same: ")
        raise InputError(
            f"the processes hold different configurations: {differences}"
        ) from None
