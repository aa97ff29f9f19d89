"""Gradient descent on a schedule, and families of schedules to compare it with."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

import optax_warmup as ow

from .problem import Task, risk


class Size(NamedTuple):
    """The size of the problem and of the search.

    Attributes:
        dimension, steps: coordinates, and updates of SGD.
        knots: rates of the schedule that are free; between them it is linear.
        largest: the largest rate that is allowed.
        updates: of the search.
    """

    dimension: int = 500
    steps: int = 1500
    knots: int = 31
    largest: float = 0.3
    updates: int = 300


class Found(NamedTuple):
    """What was found for a task.

    Attributes:
        schedule, risk: the optimised schedule and its excess risk.
        families: for each family its schedule at the best peak, and its excess risk.
    """

    schedule: ow.Schedule
    risk: float
    families: dict[str, tuple[ow.Schedule, float]]


def build(free: jax.Array, size: Size) -> ow.Schedule:
    """A schedule from any numbers, one for each knot."""
    rates = size.largest * jax.nn.sigmoid(free)
    ends = np.linspace(0, size.steps, size.knots).round().astype(int)
    lengths = np.diff(ends).tolist()
    return ow.piecewise(rates[0], list(zip(lengths, rates[1:], strict=True)))


@partial(jax.jit, static_argnames="size")
def descend(task: Task, size: Size) -> jax.Array:
    """The free numbers of the best schedule, by gradient descent on the risk."""
    warmup_steps = size.updates // 30
    optimizer = optax.adam(ow.warmup_cosine(0.3, warmup_steps, size.updates))

    def loss(free: jax.Array) -> jax.Array:
        rates = build(free, size)(jnp.arange(size.steps))
        return jnp.log(risk(task, rates, size.dimension))

    def update(carry: tuple, _: None) -> tuple[tuple, None]:
        free, state = carry
        updates, state = optimizer.update(jax.grad(loss)(free), state)
        return (optax.apply_updates(free, updates), state), None

    free = jnp.zeros(size.knots)
    start = (free, optimizer.init(free))
    (free, _), _ = jax.lax.scan(update, start, length=size.updates)
    return free


@partial(jax.jit, static_argnames="dimension")
def risks(task: Task, schedules: jax.Array, dimension: int) -> jax.Array:
    """The excess risk of each row of rates."""
    return jax.vmap(lambda rates: risk(task, rates, dimension))(schedules)


def optimise(task: Task, size: Size) -> Found:
    """Finds the best schedule, and the best peak of each family."""
    best = build(descend(task, size), size)
    rates = best(jnp.arange(size.steps))[None]
    return Found(
        best,
        float(risks(task, rates, size.dimension)[0]),
        {name: tuned(task, f, size) for name, f in families(task, size.steps).items()},
    )


Family = Callable[[Any], ow.Schedule]


def families(task: Task, steps: int) -> dict[str, Family]:
    """Schedules of a peak rate, by name; the power is that of theory for easy tasks."""
    power = ow.shapes.polynomial(task.power)
    return {
        "constant": ow.constant,
        "linear": lambda peak: ow.transition(peak, 0.0, steps),
        "cosine": lambda peak: ow.transition(peak, 0.0, steps, ow.shapes.cosine),
        "WSD, 20 %": lambda peak: ow.wsd(peak, 0, steps, steps // 5),
        "WSD, 50 %": lambda peak: ow.wsd(peak, 0, steps, steps // 2),
        "power decay": lambda peak: ow.transition(peak, 0.0, steps, power),
    }


def tuned(task: Task, family: Family, size: Size) -> tuple[ow.Schedule, float]:
    """A family at its best peak, of 25 up to the largest."""
    peaks = size.largest * np.logspace(-2, 0, 25)
    step = jnp.arange(size.steps)
    rates = jnp.stack([family(float(peak))(step) for peak in peaks])
    found = np.asarray(risks(task, rates, size.dimension))
    best = int(np.nanargmin(found))
    return family(float(peaks[best])), float(found[best])


def stable_share(schedule: ow.Schedule, steps: int) -> float:
    """The share of the run until the rate is below 90 % of its maximum for good."""
    rates = np.asarray(schedule(np.arange(steps)))
    return float(np.flatnonzero(rates >= 0.9 * rates.max())[-1] + 1) / steps


def fitted_power(schedule: ow.Schedule, steps: int) -> float:
    """The exponent k of the (1 - step / steps)**k that fits best, by least squares."""
    step = np.arange(steps // 4, 19 * steps // 20)
    rates = np.asarray(schedule(step))
    return float(np.polyfit(np.log(1 - step / steps), np.log(rates), 1)[0])
