"""Schedules by the names and arguments of Hugging Face transformers."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any, NamedTuple

import optax
from jax.typing import ArrayLike

from optax_warmup import _check, shapes
from optax_warmup._elsewhere import nearest
from optax_warmup._presets.cycles import warmup_cosine_restarts
from optax_warmup._presets.inverse_sqrt import warmup_inverse_sqrt
from optax_warmup._presets.linear_and_cosine import warmup_constant, warmup_linear
from optax_warmup._schedules.combine import join
from optax_warmup._schedules.delay import advance
from optax_warmup._schedules.piecewise import piecewise
from optax_warmup._schedules.retime import retime
from optax_warmup._schedules.schedule import Schedule, constant
from optax_warmup._schedules.transition import transition
from optax_warmup._schedules.warmup import warmup
from optax_warmup.values._checked import names_arguments

_OWNER = "get_scheduler"
_FINEST = 1000  # the largest denominator of num_cycles, in half waves


@names_arguments
def get_scheduler(
    name: str,
    peak_value: ArrayLike,
    num_warmup_steps: ArrayLike | None = None,
    num_training_steps: ArrayLike | None = None,
    scheduler_specific_kwargs: Mapping[str, Any] | None = None,
) -> Schedule:
    """Builds a schedule by its Hugging Face name, for trainers with a config file.

    The values are those of transformers up to `num_training_steps`. After that they are
    held, while the cosines of transformers rise again.

    Args:
        name: "linear", "cosine", "cosine_with_restarts", "polynomial", "constant",
            "constant_with_warmup", "inverse_sqrt", "cosine_with_min_lr",
            "cosine_warmup_with_min_lr" or "warmup_stable_decay".
        peak_value: the learning rate after the warmup, >= 0; may be traced. In
            transformers it is the optimizer's own.
        num_warmup_steps: length of the warmup in updates, >= 0.
        num_training_steps: length of the whole run in updates, warmup included.
        scheduler_specific_kwargs: further arguments that transformers takes for that
            name, such as num_cycles, power, lr_end, timescale, min_lr or min_lr_rate.

    Returns:
        A `Schedule`.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: the name or a key is unknown (the message lists those that exist),
            an argument that the name needs is missing, or a number is out of range.

    Example:
        >>> from optax_warmup.compat.transformers import get_scheduler
        >>> get_scheduler("constant_with_warmup", 1e-3, num_warmup_steps=100)
        warmup(constant(0.001), steps=100)
        >>> get_scheduler("cosin", 1e-3)
        Traceback (most recent call last):
        ValueError: get_scheduler: there is no name 'cosin'; did you mean 'cosine'? ...

    Source: transformers.get_scheduler, Hugging Face, version 5.
    """
    of_torch = hasattr(peak_value, "param_groups")
    if of_torch or isinstance(peak_value, optax.GradientTransformation):
        raise TypeError(
            f"{_OWNER}: peak_value must be the peak rate, got the optimizer "
            f"{peak_value!r:.60}; a schedule is made before the optimizer, which takes "
            f"it: optax.adamw(get_scheduler({name!r}, 1e-3, ...))."
        )
    if not isinstance(name, str):
        raise TypeError(f"{_OWNER}: name must be a string, got {name!r}.")
    if name in _NOT_OF_THE_STEP:
        raise ValueError(
            f"{_OWNER}: {name!r} is not a function of the step, it follows a metric. "
            "Use the transform optax_warmup.reduce_on_plateau."
        )
    build = _BUILDERS.get(name)
    if build is None:
        raise ValueError(_unknown("name", name, _BUILDERS))
    given = dict(scheduler_specific_kwargs or {})
    for key, value in (
        ("num_warmup_steps", num_warmup_steps),
        ("num_training_steps", num_training_steps),
    ):
        if value is not None and key in given:
            raise ValueError(
                f"{_OWNER}: {key} is given twice, as {value!r} and in "
                f"scheduler_specific_kwargs as {given[key]!r}; leave one of them out."
            )
        if value is not None:
            given[key] = value
    parameters = dict(list(inspect.signature(build).parameters.items())[1:])
    for key in given:
        # Like transformers, accept both lengths for every name, and ignore unused ones.
        if key not in parameters and key not in _LENGTHS:
            raise ValueError(_unknown(f"argument of {name!r}", key, parameters))
    for key, parameter in parameters.items():
        if parameter.default is parameter.empty and key not in given:
            raise ValueError(f"{_OWNER}: {name!r} needs {key}; pass {key}=....")
    for key in given.keys() & set(_LENGTHS):
        given[key] = _check.length(_OWNER, key, given[key])
    if given.keys() >= set(_LENGTHS):
        _decay(given["num_warmup_steps"], given["num_training_steps"])
    peak_value = _check.rate(_OWNER, "peak_value", peak_value)
    return build(peak_value, **{k: v for k, v in given.items() if k in parameters})


def _unknown(what: str, got: Any, known: Mapping[str, Any]) -> str:
    close = nearest(str(got), known)
    hint = f"; did you mean {close!r}?" if close else "."
    return f"{_OWNER}: there is no {what} {got!r}{hint} There are {', '.join(known)}."


def _constant(peak_value: Any) -> Schedule:
    return constant(peak_value)


def _constant_with_warmup(peak_value: Any, num_warmup_steps: Any) -> Schedule:
    return warmup_constant(peak_value, num_warmup_steps)


def _linear(
    peak_value: Any, num_warmup_steps: Any, num_training_steps: Any
) -> Schedule:
    return warmup_linear(peak_value, num_warmup_steps, num_training_steps)


def _cosine(
    peak_value: Any,
    num_warmup_steps: Any,
    num_training_steps: Any,
    num_cycles: Any = 0.5,
) -> Schedule:
    steps = _decay(num_warmup_steps, num_training_steps)
    decay = _waves(peak_value, 0.0, steps, num_cycles)
    return warmup(decay, num_warmup_steps)


def _cosine_with_restarts(
    peak_value: Any,
    num_warmup_steps: Any,
    num_training_steps: Any,
    num_cycles: Any = 1,
) -> Schedule:
    return warmup_cosine_restarts(
        peak_value, num_warmup_steps, num_training_steps, num_cycles
    )


def _polynomial(
    peak_value: Any,
    num_warmup_steps: Any,
    num_training_steps: Any,
    lr_end: Any = 1e-7,
    power: Any = 1.0,
) -> Schedule:
    steps = _decay(num_warmup_steps, num_training_steps)
    _check.ordered(_OWNER, "lr_end", lr_end, "peak_value", peak_value)
    decay = transition(peak_value, lr_end, steps, shapes.polynomial(power))
    return warmup(decay, num_warmup_steps)


def _inverse_sqrt(
    peak_value: Any, num_warmup_steps: Any, timescale: Any = None
) -> Schedule:
    if timescale is None and isinstance(num_warmup_steps, int):
        timescale = num_warmup_steps or 10_000
    return warmup_inverse_sqrt(peak_value, num_warmup_steps, timescale=timescale)


def _cosine_with_min_lr(
    peak_value: Any,
    num_warmup_steps: Any,
    num_training_steps: Any,
    num_cycles: Any = 0.5,
    min_lr: Any = None,
    min_lr_rate: Any = None,
) -> Schedule:
    end_value = _floor(peak_value, min_lr, min_lr_rate)
    steps = _decay(num_warmup_steps, num_training_steps)
    decay = _waves(peak_value, end_value, steps, num_cycles)
    return warmup(decay, num_warmup_steps)


def _cosine_warmup_with_min_lr(
    peak_value: Any,
    num_warmup_steps: Any,
    num_training_steps: Any,
    num_cycles: Any = 0.5,
    min_lr: Any = None,
    min_lr_rate: Any = None,
    warmup_lr_rate: Any = None,
) -> Schedule:
    end_value = _floor(peak_value, min_lr, min_lr_rate)
    steps = _decay(num_warmup_steps, num_training_steps)
    decay = _waves(peak_value, end_value, steps, num_cycles)
    # Unlike the others it is one update ahead: the ramp ends one update early.
    if warmup_lr_rate is None:
        return advance(warmup(decay, num_warmup_steps), 1)
    rate = _check.rate(_OWNER, "warmup_lr_rate", warmup_lr_rate)
    if isinstance(num_warmup_steps, int) and num_warmup_steps == 0:
        return advance(decay, 1)
    return warmup(decay, num_warmup_steps - 1, init_value=peak_value * rate)


def _warmup_stable_decay(
    peak_value: Any,
    num_warmup_steps: Any,
    num_decay_steps: Any,
    num_training_steps: Any = None,
    num_stable_steps: Any = None,
    warmup_type: str = "linear",
    decay_type: str = "linear",
    min_lr_ratio: Any = 0.0,
) -> Schedule:
    for key, kind in (("warmup_type", warmup_type), ("decay_type", decay_type)):
        if kind not in _SHAPES:
            raise ValueError(_unknown(key, kind, _SHAPES))
    if (num_stable_steps is None) == (num_training_steps is None):
        raise ValueError(
            f"{_OWNER}: 'warmup_stable_decay' needs either num_training_steps "
            "or num_stable_steps."
        )
    decay_steps = _check.length(_OWNER, "num_decay_steps", num_decay_steps)
    if num_stable_steps is None:
        rest = _decay(num_warmup_steps, num_training_steps)
        stable = _check.difference(
            _OWNER,
            "num_training_steps - num_warmup_steps",
            rest,
            "num_decay_steps",
            decay_steps,
        )
    else:
        stable = _check.length(_OWNER, "num_stable_steps", num_stable_steps)
    low = peak_value * _check.rate(_OWNER, "min_lr_ratio", min_lr_ratio)
    stages = [
        (stable, peak_value),
        (decay_steps, low, _SHAPES[decay_type].falling),
    ]
    return warmup(
        piecewise(peak_value, stages),
        num_warmup_steps,
        init_value=low,
        shape=_SHAPES[warmup_type].rising,
    )


def _decay(num_warmup_steps: Any, num_training_steps: Any) -> Any:
    """The number of updates after the warmup."""
    return _check.difference(
        _OWNER,
        "num_training_steps",
        _check.length(_OWNER, "num_training_steps", num_training_steps, minimum=1),
        "num_warmup_steps",
        _check.length(_OWNER, "num_warmup_steps", num_warmup_steps),
    )


def _floor(peak_value: Any, min_lr: Any, min_lr_rate: Any) -> Any:
    """The end value, given directly or as a fraction of the peak."""
    if (min_lr is None) == (min_lr_rate is None):
        raise ValueError(
            f"{_OWNER}: pass either min_lr or min_lr_rate, got "
            f"min_lr={min_lr!r} and min_lr_rate={min_lr_rate!r}."
        )
    if min_lr is None:
        return peak_value * _check.rate(_OWNER, "min_lr_rate", min_lr_rate)
    return _check.rate(_OWNER, "min_lr", min_lr)


def _waves(peak_value: Any, end_value: Any, steps: Any, num_cycles: Any) -> Schedule:
    """`num_cycles` waves of the cosine over `steps`, then held.

    Half a wave lasts for steps / (2 num_cycles) updates. That need not be whole, so it
    is counted in fractions of an update.
    """
    count = _check.number(_OWNER, "num_cycles", num_cycles, above=0, maximum=_FINEST)
    if not isinstance(count, float):
        raise TypeError(
            f"{_OWNER}: num_cycles must be one known number, got {count!r}."
        )
    halves = Fraction(2 * count).limit_denominator(_FINEST)
    if abs(halves - Fraction(2 * count)) > 1e-9:
        raise ValueError(
            f"{_OWNER}: num_cycles must be a fraction of whole numbers up to "
            f"{_FINEST // 2}, got {num_cycles!r}; the nearest is {float(halves / 2)!r}."
        )
    if halves == 1:
        return transition(peak_value, end_value, steps, shapes.cosine)
    parts, length = halves.numerator, steps * halves.denominator
    ends = [(peak_value, end_value)[(i + 1) % 2] for i in range(math.ceil(halves))]
    segments = [(length, end, shapes.cosine) for end in ends]
    waves = retime(piecewise(peak_value, segments), parts)
    if halves.denominator == 1:
        return waves
    weight = (1 + math.cos(math.pi * float(halves))) / 2
    return join([(steps, waves)], last=end_value + (peak_value - end_value) * weight)


class _Shapes(NamedTuple):
    rising: shapes.Shape
    falling: shapes.Shape


_SHAPES = {
    "linear": _Shapes(shapes.linear, shapes.linear),
    "cosine": _Shapes(shapes.cosine, shapes.cosine),
    "1-sqrt": _Shapes(shapes.polynomial(0.5), shapes.power(0.5)),
}
_LENGTHS = ("num_warmup_steps", "num_training_steps")
_NOT_OF_THE_STEP = ("reduce_lr_on_plateau", "greedy")
_BUILDERS: dict[str, Callable[..., Schedule]] = {
    "linear": _linear,
    "cosine": _cosine,
    "cosine_with_restarts": _cosine_with_restarts,
    "polynomial": _polynomial,
    "constant": _constant,
    "constant_with_warmup": _constant_with_warmup,
    "inverse_sqrt": _inverse_sqrt,
    "cosine_with_min_lr": _cosine_with_min_lr,
    "cosine_warmup_with_min_lr": _cosine_warmup_with_min_lr,
    "warmup_stable_decay": _warmup_stable_decay,
}
