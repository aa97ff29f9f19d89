"""The rule of `automatic_warmup` as functions of numbers.

The docstring of the transform has the formula. Here too, m is the momentum, b its
decay, and n what |m|**2 would be if gradients were uncorrelated.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from optax_warmup import _sample as sample

# Coherence above the threshold at which the factor grows at full pace.
_WIDTH = 0.1
# Gradients explode where n grows by more than this in one update while they cancel each
# other. Where curvature is fixed, as in regression, nothing else would stop them.
_EXPLOSION = 2.0
# Updates after which n tells something about the one before, and a momentum without
# bias correction has come to most of its size.
SETTLED = 10
# Coordinates of a large leaf from which its norms are estimated, the same for m and n.
# Drawing one costs what reading sixteen in a row does, hence the size of a large leaf.
_SAMPLES = 2**12
_LARGE = 2**16
# Root mean square below which weights count as this large (Adafactor's lower bound): a
# model that starts at zero could never take a step of one per cent of itself.
SMALLEST_RMS = 1e-3


class Settings(NamedTuple):
    """The checked arguments of `automatic_warmup`.

    Attributes:
        start: the largest of the first updates, relative to the norm of the parameters.
        full_pace: the growth of the factor in an update at full pace.
        power: of the number of updates, as which the factor grows at most.
        threshold: coherence up to which the factor holds.
    """

    start: float
    full_pace: Any
    power: float
    threshold: float


class Powers(NamedTuple):
    """Squared norms of the leaves' momentum, float32, shape (leaves,).

    Attributes:
        momentum: |m|**2.
        noise: n, what it would be for uncorrelated gradients.
    """

    momentum: jax.Array
    noise: jax.Array


def factor_now(following: jax.Array, limit: jax.Array, count: jax.Array) -> jax.Array:
    """The factor of this update, 0 as long as there has been nothing to scale.

    Args:
        following: the factor planned in the last update, 0 before there was one.
        limit: the largest factor with which an early update is not too large; not
            finite where the update or the parameters are not, or the update is zero.
        count: updates since the first that was not zero.
    """
    factor = jnp.where(following > 0, following, limit)
    early = (count < SETTLED) & jnp.isfinite(limit)
    factor = jnp.where(early, jnp.minimum(factor, limit), factor)
    return jnp.minimum(1, jnp.where(jnp.isfinite(factor), factor, 0))


def growth(
    settings: Settings,
    coherence: jax.Array,
    powers: Powers,
    decay: jax.Array,
    count: jax.Array,
) -> jax.Array:
    """What the factor is multiplied by for the next update."""
    agreement = jnp.clip((coherence - settings.threshold) / _WIDTH, 0, 1)
    has_signal = jnp.sum(powers.momentum) > _total(powers.noise / (1 - decay))
    slow = jnp.minimum(settings.full_pace, settings.power / (count + 1))
    pace = jnp.where(has_signal, settings.full_pace, slow)
    grown: jax.Array = 1 + pace * agreement
    return grown


def has_exploded(
    powers: Powers, previous_noise: jax.Array, decay: jax.Array, count: jax.Array
) -> jax.Array:
    """Whether n more than doubled in one update while m turned round.

    Where m turns round and grows by `swing` each time, |m|**2 / n is
    (1 - b / swing) / (1 + b / swing); after one odd gradient of that size it is 1. The
    bound lies halfway.
    """
    swing = jnp.sqrt(jnp.sum(powers.noise) / jnp.sum(previous_noise))
    return (
        (count >= SETTLED)
        & (swing**2 > _EXPLOSION)
        & (jnp.sum(powers.momentum) < _total(powers.noise / (1 + decay / swing)))
    )


def powers_of(
    before: list[jax.Array | None],
    after: list[jax.Array | None],
    decay: jax.Array,
    noise: jax.Array,
) -> Powers:
    """|m|**2 of each leaf and its n, from the momentum before and after an update."""
    momentum, news = [], []
    for leaf, (old, new) in enumerate(zip(before, after, strict=True)):
        if old is None or new is None or not new.size:
            momentum.append(jnp.zeros((), jnp.float32))
            news.append(jnp.zeros((), jnp.float32))
            continue
        size, old, new = new.size, _drawn(old), _drawn(new)
        momentum.append(size * jnp.mean(_squares(new)))
        news.append(size * jnp.mean(_squares(new - decay[leaf] * old)))
    if not momentum:  # no parameters at all
        return Powers(noise, noise)
    remembered = jnp.nan_to_num(jnp.square(decay)) * noise
    return Powers(jnp.stack(momentum), remembered + jnp.stack(news))


def norm(tree: Any, smallest_rms: float = 0.0) -> jax.Array:
    """About the norm of all leaves together, at least that of a smallest RMS."""
    leaves = [leaf for leaf in jax.tree.leaves(tree) if jnp.size(leaf)]
    squares = sum(jnp.size(x) * jnp.mean(_squares(_drawn(x))) for x in leaves)
    smallest = sum(jnp.size(x) for x in leaves) * smallest_rms**2
    return jnp.sqrt(jnp.maximum(jnp.float32(squares), smallest))


def _total(of_leaves: jax.Array) -> jax.Array:
    """The sum over the leaves that have a momentum."""
    return jnp.sum(jnp.nan_to_num(of_leaves))


def _drawn(x: Any) -> jax.Array:
    """A leaf in single precision, or a sample of it if it is large."""
    x = jnp.asarray(x)
    samples = _SAMPLES if x.size > _LARGE else None
    dtype = jnp.complex64 if jnp.iscomplexobj(x) else jnp.float32
    return sample.draw(x, samples).astype(dtype)


def _squares(x: jax.Array) -> jax.Array:
    """|x|**2 of each coordinate."""
    if jnp.iscomplexobj(x):
        return jnp.square(jnp.real(x)) + jnp.square(jnp.imag(x))
    return jnp.square(x)
