"""Converts durations in epochs, examples, tokens or fractions of a run to steps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import jax
import numpy as np
from jax.typing import ArrayLike

from optax_warmup import _check
from optax_warmup._schedules.batch_size import sizes_of
from optax_warmup._schedules.epochs import Epochs, LastWindow
from optax_warmup._schedules.schedule import Schedule

_OWNER = "steps_from"


def steps_from(
    *,
    steps: ArrayLike | None = None,
    epochs: ArrayLike | None = None,
    examples: ArrayLike | None = None,
    tokens: ArrayLike | None = None,
    fraction: ArrayLike | None = None,
    batch_size: ArrayLike | Schedule | None = None,
    dataset_size: ArrayLike | None = None,
    sequence_length: ArrayLike | None = None,
    total_steps: ArrayLike | None = None,
    drop_last: bool | None = None,
    accumulation_steps: int = 1,
    last_window: LastWindow = "continue",
) -> int:
    """Converts a duration in any unit to a number of steps.

    steps = floor(exact + 1/2), but at least 1 unless the duration is 0, where exact is
    `epochs * dataset_size / batch_size`, `examples / batch_size`,
    `tokens / (sequence_length * batch_size)` or `fraction * total_steps`.

    So epochs run into each other, in batches of equal size. Most data loaders end each
    epoch with an incomplete batch, which they keep or drop; with `drop_last` epochs are
    counted as they are then. In an epoch,

        microbatches = ceil(dataset_size / microbatch), or floor if drop_last
        updates = ceil(microbatches / accumulation_steps), floor if last_window="drop"

    with microbatch = batch_size / accumulation_steps; the number of processes does not
    matter. With last_window="continue" the microbatches of all epochs are counted
    together, and only complete windows are updates, at least one.

    The arithmetic is exact, on decimals as they are written: 0.3 is 3/10, so
    fraction=0.3 of 5 steps is exactly 1.5, which rounds to 2.

    Give exactly one of the first five arguments. Sizes that it does not need
    (`batch_size`, `dataset_size`, `sequence_length`, `total_steps`) are ignored, so
    that a program can pass all that it knows in every call. `drop_last`,
    `accumulation_steps` and `last_window` are not: they are for `epochs` only.

    Args:
        steps: the duration in updates, >= 0.
        epochs: the duration in passes over the data, >= 0; needs `dataset_size` and
            `batch_size`.
        examples: the duration in examples, >= 0; needs `batch_size`.
        tokens: the duration in tokens, >= 0; needs `sequence_length` and `batch_size`.
        fraction: the duration as a fraction of `total_steps`, from 0 to 1.
        batch_size: examples per update, over all devices and accumulation steps, a
            whole number; or, if it grows from step 0 on, a `join` of such.
        dataset_size: examples in the data, a whole number.
        sequence_length: tokens per example, > 0; may be a mean.
        total_steps: length of the whole run in updates.
        drop_last: for `epochs`, whether the loader drops the last batch of an epoch
            where it is incomplete; None where batches run across epochs. An error with
            another duration, which has no epochs.
        accumulation_steps: microbatches per update, a divisor of `batch_size`. More
            than 1 needs `drop_last`: without it they do not change the number.
        last_window: what becomes of the microbatches at the end of an epoch if they are
            fewer: they "continue" in the next one (`optax.MultiSteps`), make an
            "update" (transformers' Trainer, Lightning), or are lost ("drop").

    Returns:
        An int from 0 to 2**31 - 1.

    Raises:
        TypeError: not exactly one duration is given, what it needs is missing,
            `drop_last` or `accumulation_steps` would have no effect, or an argument is
            not a number or is traced.
        ValueError: a number is out of its range, there would be more than 2**31 - 1
            steps, `accumulation_steps` does not divide `batch_size`, or nothing is left
            of an epoch.

    Example:
        >>> import optax_warmup as ow
        >>> ow.steps_from(epochs=5, dataset_size=50_000, batch_size=128)
        1953
        >>> run = {"dataset_size": 1000, "batch_size": 600}
        >>> [ow.steps_from(epochs=10, drop_last=x, **run) for x in (None, False, True)]
        [17, 20, 10]
        >>> ow.steps_from(tokens=2e9, sequence_length=4096, batch_size=512)
        954
        >>> ow.steps_from(fraction=0.01, total_steps=90)
        1
        >>> batch_size = ow.join([(1000, 256)], last=512)
        >>> ow.steps_from(examples=1_024_000, batch_size=batch_size)
        2500
    """
    durations = {
        "steps": steps,
        "epochs": epochs,
        "examples": examples,
        "tokens": tokens,
        "fraction": fraction,
    }
    given = [name for name, x in durations.items() if x is not None]
    if len(given) != 1:
        raise TypeError(
            f"{_OWNER}: give exactly one of {', '.join(durations)}, got "
            f"{' and '.join(given) or 'none'}."
        )
    ends = Epochs.of(_OWNER, drop_last, accumulation_steps, last_window)
    if epochs is None and drop_last is not None:
        raise TypeError(
            f"{_OWNER}: drop_last={drop_last} is for epochs only, got {given[0]}; "
            "leave it out, or give the duration in epochs."
        )
    if steps is not None:
        return int(_exact("steps", _check.length(_OWNER, "steps", steps)))
    if fraction is not None:
        share = _exact("fraction", fraction, maximum=1)
        return _rounded(share * _needed("fraction", "total_steps", total_steps), given)
    if epochs is not None:
        size = _needed("epochs", "dataset_size", dataset_size, whole=True)
        amount = _exact("epochs", epochs) * size
    elif tokens is not None:
        length = _needed("tokens", "sequence_length", sequence_length)
        amount = _exact("tokens", tokens) / length
    else:
        amount = _exact("examples", examples)
    if batch_size is None:
        raise _missing(given[0], "batch_size")
    phases, last = sizes_of(_OWNER, batch_size)
    if epochs is not None and drop_last is not None:
        if phases:
            raise TypeError(
                f"{_OWNER}: drop_last needs one batch_size, got {batch_size!r}; count "
                "the epochs of each size on their own."
            )
        number, whole = _exact("epochs", epochs), _whole(last)
        return _rounded(ends.updates(_OWNER, number, int(size), whole), given)
    known = [(_whole(steps), _whole(size)) for steps, size in phases]
    return _rounded(_updates(amount, known, _whole(last)), given)


def _updates(
    examples: Fraction, phases: Sequence[tuple[int, int]], last: int
) -> Fraction:
    """The number of updates that use so many examples, with a fraction of the last."""
    done = 0
    for steps, size in phases:
        if examples <= steps * size:
            return done + examples / size
        done, examples = done + steps, examples - steps * size
    return done + examples / last


def _rounded(exact: Fraction, given: Sequence[str]) -> int:
    steps = math.floor(exact + Fraction(1, 2))
    if steps > _check.MAX_STEP:
        raise ValueError(
            f"{_OWNER}: {given[0]} must be at most 2**31 - 1 steps, got {steps:,} "
            "steps (optax counts them in int32)."
        )
    return max(steps, 1) if exact > 0 else 0


def _whole(x: ArrayLike) -> int:
    return int(_exact("batch_size", x))


def _needed(
    unit: str, name: str, value: ArrayLike | None, *, whole: bool = False
) -> Fraction:
    if value is None:
        raise _missing(unit, name)
    number = _exact(name, value, above=0)
    if whole and number.denominator != 1:
        raise ValueError(f"{_OWNER}: {name} must be a whole number, got {value!r}.")
    return number


def _missing(unit: str, name: str) -> TypeError:
    return TypeError(f"{_OWNER}: {unit} needs {name} as well; pass {name}=....")


def _exact(
    name: str, value: Any, *, above: float = -math.inf, maximum: float = math.inf
) -> Fraction:
    """Converts a known number >= 0 to a fraction, as its decimal is written."""
    many = isinstance(value, list | tuple) or getattr(value, "ndim", 0) > 0
    if many or _check.is_traced(value):
        raise TypeError(
            f"{_OWNER}: {name} must be one known number, got {value!r}; compute "
            "durations outside of jit and vmap."
        )
    _check.number(_OWNER, name, value, minimum=0, above=above, maximum=maximum)
    if isinstance(value, jax.Array | np.ndarray):
        value = np.asarray(value)[()]
    return Fraction(str(value))
