"""The rule of `automatic_warmup` as functions of numbers.

The docstring of the transform has the formula. Here too, g is the gradient, u the
update of the wrapped optimizer, p the parameters.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from optax_warmup._transforms.automatic_sample import Layout

# Of the logarithm of the factor, in an update; and in all updates up to t = e.
LARGEST_GAIN = 0.1
GAIN = 8.0
USUAL_MOMENTUM = 0.9
# Gradients explode where they point back and have grown by more than this.
REVERSAL, EXPLOSION = -0.5, 1.2
# The factor never gets this small; only that it is not 0 matters.
SMALLEST = 1e-30
# A fall is this much smaller than a rise. With equal ones the factor would settle at
# the rate that is best for the next update alone, which is too low for most runs.
FALL = 0.95


class Known(NamedTuple):
    """What is remembered; `AutomaticWarmupState` says what each is."""

    count: jax.Array  # type: ignore[assignment]  # tuple.count, as optax has it
    factor: jax.Array
    coherence: jax.Array
    momentum: jax.Array
    size: jax.Array
    gradient: jax.Array
    params: jax.Array


class Judged(NamedTuple):
    """What a gradient says of the update before it.

    Attributes:
        cosine: between the descent and that update; 0 if one of them is zero.
        norm: about the norm of the gradient.
    """

    cosine: jax.Array
    norm: jax.Array


def after(
    known: Known,
    size: jax.Array,
    params: jax.Array,
    start: float,
    gradients: Judged | None = None,
) -> Known:
    """What is known at parameters that an update has moved by the relative `size`.

    It tells nothing if nothing moved or, with gradients to judge it, if there are none,
    or if a number is not finite.
    """
    size = size / jnp.maximum(known.factor, SMALLEST)
    size = size / (1 - known.momentum ** jnp.maximum(known.count, 1))
    tells = (known.count > 0) & jnp.isfinite(size) & (size > 0)
    if gradients is not None:
        tells &= jnp.isfinite(gradients.cosine) & (gradients.cosine != 0)
    early = tells & (known.count < beginning(known.momentum))
    largest = jnp.where(early, jnp.maximum(known.size, size), known.size)
    factor = limit(largest, start, known.count)
    if gradients is None:
        zero = jnp.zeros((), jnp.float32)
        known = known._replace(coherence=zero, gradient=zero)
    else:
        cosine, norm = gradients
        exploding = has_exploded(norm, known.gradient, cosine)
        judged = stepped(known.factor, cosine, known.count, exploding)
        factor = jnp.minimum(factor, judged)
        known = known._replace(
            coherence=jnp.where(tells, cosine, known.coherence),
            gradient=jnp.where(tells, norm, known.gradient),
        )
    return known._replace(
        count=jnp.where(tells, known.count + 1, known.count),
        factor=jnp.where(tells, jnp.clip(factor, SMALLEST, 1), known.factor),
        size=largest,
        params=jnp.where(jnp.isfinite(params), params, known.params),
    )


def started(known: Known, size: jax.Array, start: float) -> Known:
    """What is known with the relative size S of the first update, if it has one."""
    size = size / (1 - known.momentum)
    begins = (known.count == 0) & jnp.isfinite(size) & (size > 0)
    return known._replace(
        count=jnp.where(begins, 1, known.count),
        factor=jnp.where(
            begins,
            jnp.clip(start / jnp.maximum(size, SMALLEST), SMALLEST, 1),
            known.factor,
        ),
        size=jnp.where(begins, size, known.size),
    )


def arrived(known: Known) -> jax.Array:
    """Whether the factor without feedback is 1 and stays 1, whatever comes."""
    return (known.count >= beginning(known.momentum)) & (known.factor >= 1)


def beginning(momentum: jax.Array) -> jax.Array:
    """The number of updates among which the largest is looked for.

    A momentum that adds gradients up takes so many to come to its full size.
    """
    return 2 / (1 - jnp.maximum(momentum, USUAL_MOMENTUM))


def relative_size(moved: jax.Array, params: jax.Array, layout: Layout) -> jax.Array:
    """S, the sum over leaves of RMS(moved) / RMS(params), of the coordinates that move.

    The RMS of parameters is at least that of a usual initialization, 1 / sqrt(fan-in)
    of a matrix and 1 of a vector, so that zeros can be left.
    """
    moves = moved != 0
    count = jnp.maximum(layout.sums(jnp.float32(moves)), 1)
    unit = largest_of(moved)
    size = layout.sums(jnp.square(moved / unit))
    own = layout.sums(jnp.where(moves, jnp.square(params), 0))
    floor = np.array([leaf.fan_in**-0.5 for leaf in layout.leaves], np.float32)
    relative = jnp.sqrt(size / count) / jnp.maximum(jnp.sqrt(own / count), floor)
    return unit * jnp.sum(relative)


def judged(
    gradients: jax.Array, params: jax.Array, known: Known, layout: Layout
) -> Judged:
    """What gradients say of the way that the parameters went; of none, nothing."""
    moved = jnp.where(known.count > 0, params - known.params, 0)
    cosine = agreement(gradients, moved, layout)
    return Judged(cosine, norm_of(gradients, layout))


def agreement(gradients: jax.Array, moved: jax.Array, layout: Layout) -> jax.Array:
    """The cosine between the descent -g and the last move; 0 if one of them is zero.

    Each is divided by its largest number first: squares of small ones are zero.
    """
    gradients = jnp.where(moved != 0, gradients, 0)
    gradients = gradients / largest_of(gradients)
    moved = moved / largest_of(moved)
    squares = layout.total(jnp.square(gradients)) * layout.total(jnp.square(moved))
    norms = jnp.sqrt(jnp.maximum(squares, SMALLEST))
    cosine: jax.Array = -layout.total(gradients * moved) / norms
    return cosine


def gain(count: jax.Array) -> jax.Array:
    """How far the logarithm of the factor moves after `count` updates.

    It falls as 1 / t: what was learned in t updates is worth changing by so much in the
    next t, however long the run.
    """
    return jnp.minimum(LARGEST_GAIN, GAIN / (count + 1))


def stepped(
    factor: jax.Array, cosine: jax.Array, count: jax.Array, exploding: jax.Array
) -> jax.Array:
    """The factor after a gradient that agrees with the last move or does not."""
    rise = gain(count)
    change = jnp.where(cosine > 0, rise, jnp.where(cosine < 0, -FALL * rise, 0))
    return factor * jnp.where(exploding, 0.5, jnp.exp(change))


def has_exploded(
    gradient: jax.Array, previous: jax.Array, cosine: jax.Array
) -> jax.Array:
    """Whether the last move went so far past a minimum that the gradient grew.

    Neural networks turn into flatter regions before that; a quadratic does not, and
    without momentum its gradients grow faster than the factor falls.
    """
    return (cosine < REVERSAL) & (gradient > EXPLOSION * previous) & (previous > 0)


def largest_of(values: jax.Array) -> jax.Array:
    """The largest of some numbers without their signs, above 0."""
    return jnp.maximum(jnp.max(jnp.abs(values), initial=0), SMALLEST)


def norm_of(values: jax.Array, layout: Layout) -> jax.Array:
    """About the norm of all leaves together."""
    unit = largest_of(values)
    norm: jax.Array = unit * jnp.sqrt(layout.total(jnp.square(values / unit)))
    return norm


def limit(size: jax.Array, start: float, count: jax.Array) -> jax.Array:
    """The largest factor after `count` updates, the first of relative size S."""
    largest: jax.Array = start * jnp.sqrt(count + 1.0) / jnp.maximum(size, SMALLEST)
    return largest
