"""What is measured of Adam's moments: raw sums on the device, one row a group.

An update is measured in two halves. `before` runs first and takes a sample of what the
update will overwrite or never write at all: the old moments and parameters, and the
final updates, which it computes for the sampled coordinates alone. `after` runs on the
new moments. The sums become statistics on the host, in float64 (see
diagnostics/_statistics.py).
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from optax_warmup._record.blocks import Blocks
from optax_warmup._record.direction import NESTEROV
from optax_warmup._record.layout import (
    BINS,
    LOWEST_EXPONENT,
    OF_A_SAMPLE,
    OF_EVERY_COORDINATE,
    Layout,
)
from optax_warmup._state.moments import Moments

Sample = dict[str, jax.Array]
_MOMENTS = ("mu", "nu", "nu_max")


def before(blocks: Blocks, adam: Moments, updates: Any, params: Any) -> Sample:
    """Samples of the old moments and parameters and of the updates that will come."""
    drawn = {
        "nu": blocks.draw(_real(adam.nu)),
        "update": blocks.draw(jax.tree.leaves(updates)),
    }
    if _averaged(adam):
        drawn["mu"] = blocks.draw(_zeros_for_none(adam))
    if _by_largest(adam):
        drawn["nu_max"] = blocks.draw(_real(adam.nu_max))
    if params is not None:
        drawn["parameter"] = blocks.draw(jax.tree.leaves(params))
    return drawn


def after(
    layout: Layout,
    blocks: Blocks,
    axis_name: str | None,
    count: jax.Array,
    old: Sample,
    adam: Moments,
) -> tuple[jax.Array, jax.Array | None]:
    """The sums, float32 (groups, columns); the histogram, float32 (BINS,), or None."""
    new = {"nu": blocks.draw_complete(_real(adam.nu))}
    if _averaged(adam):
        new["mu"] = blocks.draw_complete(_zeros_for_none(adam))
    sums, largest = _whole_columns(layout, blocks, new, adam)
    of_sample = {name: x[: blocks.weights.size] for name, x in new.items()}
    if _by_largest(adam):
        of_sample["nu_max"] = blocks.draw(_real(adam.nu_max))
    columns = _sampled_columns(layout, _facts(layout, count, old, of_sample))
    ordered = [columns[name] for name in OF_A_SAMPLE]
    sampled = blocks.estimated(ordered, len(layout.groups))
    counts = _histogram(of_sample["nu"], blocks.weights) if layout.histogram else None
    if axis_name is not None:
        totals = jax.lax.psum((sums, sampled, counts), axis_name)  # type: ignore[no-untyped-call]
        sums, sampled, counts = totals
        largest = jax.lax.pmax(largest, axis_name)  # type: ignore[no-untyped-call]
    whole = {"nu": sums[:, 0], "nu_max": largest, "mu_squared": sums[:, 1]}
    table = jnp.stack([whole[name] for name in OF_EVERY_COORDINATE], axis=-1)
    return jnp.concatenate([table, sampled], axis=-1), counts


def _averaged(adam: Moments) -> bool:
    return any(mu is not None for mu in adam.mu)


def _by_largest(adam: Moments) -> bool:
    """Whether the optimizer divides by its largest nu, as amsgrad does."""
    return all(
        (v is None) == (m is None) for v, m in zip(adam.nu, adam.nu_max, strict=True)
    )


def _zeros_for_none(adam: Moments) -> list[Any]:
    """First moments; one part of a partition may keep none."""
    return [
        jnp.zeros_like(v) if m is None and v is not None else m
        for m, v in zip(adam.mu, adam.nu, strict=True)
    ]


def _real(nu: Sequence[Any]) -> list[Any]:
    """Second moments; optax keeps those of complex parameters as complex numbers."""
    return [v.real if v is not None and jnp.iscomplexobj(v) else v for v in nu]


def _whole_columns(
    layout: Layout, blocks: Blocks, new: Sample, adam: Moments
) -> tuple[jax.Array, jax.Array]:
    """Sums of nu and mu**2, (groups, 2), and the largest nu, (groups,).

    Small leaves are in the vector whole. Each large one is reduced to scalars before
    anything is stacked, so that XLA combines the collectives of sharded leaves into one
    for the sums and one for the maxima.
    """
    size = len(layout.groups)
    mu = new["mu"] if "mu" in new else jnp.zeros_like(new["nu"])
    sums = blocks.exact([new["nu"], _dot(mu, mu)], size)
    largest = blocks.largest(new["nu"], size)
    if not blocks.large:
        return sums, largest
    pairs, maxima = [], []
    for leaf in blocks.large:
        (nu,) = _real([adam.nu[leaf]])
        pairs += [jnp.sum(nu, dtype=jnp.float32), _sum_of_squares(adam.mu[leaf])]
        maxima.append(jnp.max(nu).astype(jnp.float32))
    groups = np.array([layout.leaf_groups[leaf] for leaf in blocks.large])
    sums = sums.at[groups].add(jnp.stack(pairs).reshape(-1, 2))
    return sums, largest.at[groups].max(jnp.stack(maxima))


def _sum_of_squares(x: jax.Array | None) -> jax.Array:
    if x is None:
        return jnp.zeros((), jnp.float32)
    if jnp.iscomplexobj(x):
        return _sum_of_squares(x.real) + _sum_of_squares(x.imag)
    total: jax.Array = jnp.sum(jnp.square(x.astype(jnp.float32)))
    return total


class _Facts(NamedTuple):
    """What the sampled columns are made of; arrays of shape (M,)."""

    nu: jax.Array
    gradient: jax.Array
    direction: jax.Array
    previous: jax.Array  # the direction before; 0 at the first update
    root: jax.Array  # sqrt(nu_hat)
    denominator: jax.Array
    threshold: float  # of the root, below which eps dominates
    update: jax.Array
    parameter: jax.Array | None


def _facts(layout: Layout, count: jax.Array, old: Sample, new: Sample) -> _Facts:
    now = count.astype(jnp.float32)
    if layout.corrected:  # moments of before a reset are not those it began with
        old = old | {n: jnp.where(now > 1, old[n], 0) for n in _MOMENTS if n in old}
    eps, inside = (layout.eps, 0.0) if layout.averaged else (0.0, layout.eps)
    nu_hat = new["nu"] / _correction(layout, layout.b2, now)
    denominator = jnp.sqrt(new.get("nu_max", nu_hat) + inside) + eps
    gradient = _gradient(layout, old, new)
    first = _first(layout, now, gradient, new["mu"]) if "mu" in new else gradient
    return _Facts(
        nu=new["nu"],
        gradient=gradient,
        direction=first / denominator,
        previous=_previous(layout, now, old),
        root=jnp.sqrt(nu_hat),
        denominator=denominator,
        threshold=layout.eps if layout.averaged else layout.eps**0.5,
        update=old["update"],
        parameter=old.get("parameter"),
    )


def _first(
    layout: Layout, now: jax.Array, gradient: jax.Array, mu: jax.Array
) -> jax.Array:
    """The first moment without its bias, and with nadam's look ahead."""
    if layout.direction != NESTEROV:
        return mu / _correction(layout, layout.b1, now)
    ahead = mu / _correction(layout, layout.b1, now + 1)
    latest = gradient / _correction(layout, layout.b1, now)
    return layout.b1 * ahead + (1 - layout.b1) * latest


def _gradient(layout: Layout, old: Sample, new: Sample) -> jax.Array:
    """The gradient that entered the moments, whatever became of it on its way there.

    rmsprop keeps its square alone, and steps against it.
    """
    if "mu" in new:
        return (new["mu"] - layout.b1 * old["mu"]) / (1 - layout.b1)
    square = (new["nu"] - layout.b2 * old["nu"]) / (1 - layout.b2)
    return -jnp.sign(old["update"]) * jnp.sqrt(jnp.maximum(square, 0))


def _previous(layout: Layout, now: jax.Array, old: Sample) -> jax.Array:
    if "mu" not in old:
        return jnp.zeros_like(old["nu"])
    earlier = jnp.maximum(now - 1, 1)
    nu_hat = old.get("nu_max", old["nu"] / _correction(layout, layout.b2, earlier))
    mu_hat = old["mu"] / _correction(layout, layout.b1, earlier)
    return jnp.where(now > 1, mu_hat / (jnp.sqrt(nu_hat) + (layout.eps + _TINY)), 0)


_TINY = float(np.finfo(np.float32).tiny)


def _sampled_columns(layout: Layout, x: _Facts) -> Sample:
    dominated = (x.root < x.threshold).astype(jnp.float32)
    return {
        "direction_squared": _dot(x.direction, x.direction),
        "denominator": x.denominator,
        # NaN where nu is, as all others are
        "eps_dominated": jnp.where(jnp.isnan(x.root), x.root, dominated),
        "sampled_nu": x.nu,
        "gradient_squared": _dot(x.gradient, x.gradient),
        "normalized_gradient_squared": _dot(x.gradient, x.gradient)
        / jnp.square(jnp.maximum(x.root, x.threshold)),
        "gradient_times_previous": _dot(x.gradient, x.previous),
        "previous_squared": _dot(x.previous, x.previous),
        "update_squared": _dot(x.update, x.update),
        "update_times_direction": _dot(x.update, x.direction),
        **_with_parameters(x),
    }


def _with_parameters(x: _Facts) -> Sample:
    if x.parameter is None:
        # A square below 0 says that they are not known. NaN would say it too, but where
        # all is well a record has none, so that jax_debug_nans stops at others.
        none = jnp.zeros_like(x.root)
        products, square = (none, none), none - 1
    else:
        products = _dot(x.update, x.parameter), _dot(x.parameter, x.direction)
        square = _dot(x.parameter, x.parameter)
    return {
        "update_times_parameter": products[0],
        "parameter_squared": square,
        "parameter_times_direction": products[1],
    }


def _dot(a: jax.Array, b: jax.Array) -> jax.Array:
    """The product of numbers as vectors in the plane, if they are complex."""
    return (a * jnp.conj(b)).real


def _histogram(nu: jax.Array, weights: np.ndarray) -> jax.Array:
    """How many coordinates have which binary exponent, about, shape (BINS,)."""
    # The exponent is read off the bits: exact, and cheaper than a logarithm.
    bits = jax.lax.bitcast_convert_type(nu, jnp.int32)
    exponent = jnp.bitwise_and(jnp.right_shift(bits, 23), 0xFF) - 127
    index = jnp.clip((exponent - LOWEST_EXPONENT) // 2, 0, BINS - 1)
    bins = jnp.zeros(BINS, jnp.float32)
    return bins.at[index].add(weights)


def _correction(layout: Layout, decay: float, count: jax.Array) -> jax.Array:
    """1 - decay**count, without the cancellation that a decay close to 1 brings."""
    if not layout.corrected:
        return jnp.ones((), jnp.float32)
    logarithm = math.log(decay) if decay > 0 else -math.inf
    return jnp.where(count > 0, -jnp.expm1(count * logarithm), 0.0)
