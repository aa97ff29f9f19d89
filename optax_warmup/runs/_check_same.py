"""All processes agree on their configuration before they train together."""

import json
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from optax_warmup._config import fingerprint, to_config
from optax_warmup._schedules.schedule import Schedule

_OWNER = "check_same"


def check_same(**facts: Any) -> None:
    """Raises on every process unless all of them were given the same facts.

    Two processes with different schedules train without an error, while their copies of
    the parameters drift apart. Call this before training, and after
    `jax.distributed.initialize`; all processes must call it, with the same names.

    Args:
        **facts: what must be the same, by name: numbers, texts, lists, dictionaries of
            these, arrays, and schedules.

    Returns:
        None if all agree. With one process there is nothing to compare.

    Raises:
        TypeError: a fact cannot be written as JSON.
        ValueError: processes differ; the message has the names, and the values of the
            first process that differs.

    Example:
        >>> import optax_warmup as ow
        >>> schedule = ow.warmup_cosine(1e-3, 100, 1000)
        >>> ow.runs.check_same(schedule=schedule, batch_size=256, seed=0)
    """
    ours = {name: _text(name, fact) for name, fact in facts.items()}
    everyone = _gathered(json.dumps(ours))
    first = json.loads(everyone[0])
    differences = []
    for index, text in enumerate(everyone):
        theirs = json.loads(text)
        differences += [
            f"{name} is {theirs.get(name, 'not given')} on process {index} and "
            f"{first.get(name, 'not given')} on process 0"
            for name in sorted(first.keys() | theirs.keys())
            if theirs.get(name) != first.get(name)
        ]
    if differences:
        raise ValueError(
            f"{_OWNER}: {'; '.join(differences)}. Start all processes with the same "
            "settings, code and data."
        )


def _text(name: str, fact: Any) -> str:
    """A fact as a text that is equal for equal facts, and says what it is."""
    if isinstance(fact, Schedule):
        try:
            return f"{fact!r} ({fingerprint(fact)})"
        except (TypeError, ValueError):
            return repr(fact)  # it holds functions without a name
    try:
        return json.dumps(fact, sort_keys=True, default=_plain)
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"{_OWNER}: {name} must be made of numbers, texts, lists, dictionaries, "
            f"arrays and schedules, got {fact!r} ({error})."
        ) from None


def _plain(thing: Any) -> Any:
    if isinstance(thing, Schedule):
        return to_config(thing)
    if isinstance(thing, np.ndarray | np.generic | jax.Array):
        return np.asarray(thing).tolist()
    raise TypeError(f"a {type(thing).__name__} is none of these")


def _gathered(text: str) -> list[str]:
    """The texts of all processes, in order."""
    if jax.process_count() == 1:
        return [text]
    content = np.frombuffer(text.encode(), np.uint8)
    sizes = np.asarray(multihost_utils.process_allgather(np.array([content.size])))
    padded = np.zeros(sizes.max(), np.uint8)
    padded[: content.size] = content
    rows = np.asarray(multihost_utils.process_allgather(padded))
    return [
        bytes(row[:size]).decode()
        for row, size in zip(rows, sizes.ravel(), strict=True)
    ]
