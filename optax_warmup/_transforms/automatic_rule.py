"""The rule of `automatic_warmup` as functions of numbers.

The docstring of the transform has the formula. Here too, g is the gradient, u the
update of the wrapped optimizer, p the parameters.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from optax_warmup._transforms.automatic_sample import Layout

# How far an update may exceed the start times sqrt(t + 1).
HEADROOM = 2.0
# Of the logarithm of the factor, in an update; and in all updates up to t = e.
LARGEST_GAIN = 0.1
GAIN = 8.0
# The factor never gets this small; only that it is not 0 matters.
SMALLEST = 1e-30
# A fall is this much smaller than a rise, so the factor settles where slightly more
# than half of all gradients disagree with the update before.
FALL = 0.9


class Known(NamedTuple):
    """What is remembered; `AutomaticWarmupState` says what each is."""

    count: jax.Array
    factor: jax.Array
    coherence: jax.Array
    momentum: jax.Array
    params: jax.Array


def after(
    known: Known, gradients: jax.Array, params: jax.Array, layout: Layout, start: float
) -> Known:
    """What is known from a gradient at parameters that an update has moved.

    It tells nothing if nothing moved, if no gradient came, or if they are not finite.
    """
    moved = jnp.where(known.count > 0, params - known.params, 0)
    cosine = agreement(gradients, moved, layout)
    size = relative_size(moved, params, moved != 0, layout) / known.factor
    size = size / (1 - known.momentum**known.count)
    factor = stepped(known.factor, cosine, known.count)
    factor = jnp.minimum(factor, limit(size, start, known.count))
    tells = jnp.isfinite(cosine) & jnp.isfinite(size) & (size > 0)
    return known._replace(
        count=jnp.where(tells, known.count + 1, known.count),
        factor=jnp.where(tells, jnp.clip(factor, SMALLEST, 1), known.factor),
        coherence=jnp.where(tells, cosine, known.coherence),
        params=jnp.where(jnp.isfinite(params), params, known.params),
    )


def started(known: Known, size: jax.Array, start: float) -> Known:
    """What is known with the relative size S of an update: the start, if it has one."""
    size = size / (1 - known.momentum)
    begins = (known.count == 0) & jnp.isfinite(size) & (size > 0)
    factor = jnp.clip(start / size, SMALLEST, 1)
    return known._replace(
        count=jnp.where(begins, 1, known.count),
        factor=jnp.where(begins, factor, known.factor),
    )


def relative_size(
    moved: jax.Array, params: jax.Array, moves: jax.Array, layout: Layout
) -> jax.Array:
    """S, the sum over leaves of RMS(moved) / RMS(params), of the coordinates that move.

    The RMS of parameters is at least that of a usual initialization, 1 / sqrt(fan-in)
    of a matrix and 1 of a vector, so that zeros can be left.
    """
    count = jnp.maximum(layout.sums(jnp.float32(moves)), 1)
    unit = jnp.max(jnp.abs(moved), initial=0)
    size = layout.sums(jnp.where(moves, jnp.square(moved / unit), 0))
    own = layout.sums(jnp.where(moves, jnp.square(params), 0))
    floor = np.array([leaf.fan_in**-0.5 for leaf in layout.leaves], np.float32)
    relative = jnp.sqrt(size / count) / jnp.maximum(jnp.sqrt(own / count), floor)
    return unit * jnp.sum(relative)


def agreement(gradients: jax.Array, moved: jax.Array, layout: Layout) -> jax.Array:
    """The cosine between the descent -g and the last move; NaN if one of them is zero.

    Each is divided by its largest number first: squares of small ones are zero.
    """
    gradients = jnp.where(moved != 0, gradients, 0)
    gradients = gradients / jnp.max(jnp.abs(gradients), initial=0)
    moved = moved / jnp.max(jnp.abs(moved), initial=0)
    squares = layout.total(jnp.square(gradients)) * layout.total(jnp.square(moved))
    cosine: jax.Array = -layout.total(gradients * moved) / jnp.sqrt(squares)
    return cosine


def gain(count: jax.Array) -> jax.Array:
    """How far the logarithm of the factor moves after `count` updates.

    It falls as 1 / t: what was learned in t updates is worth changing by so much in the
    next t, however long the run.
    """
    return jnp.minimum(LARGEST_GAIN, GAIN / (count + 1))


def stepped(factor: jax.Array, cosine: jax.Array, count: jax.Array) -> jax.Array:
    """The factor after a gradient that agrees with the last move or does not."""
    rise = gain(count)
    change = jnp.where(cosine > 0, rise, jnp.where(cosine < 0, -FALL * rise, 0))
    return factor * jnp.exp(change)


def limit(size: jax.Array, start: float, count: jax.Array) -> jax.Array:
    """The largest factor for an update of relative size S after `count` others."""
    largest: jax.Array = start * HEADROOM * jnp.sqrt(count + 1.0) / size
    return largest
