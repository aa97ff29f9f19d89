"""What is measured of Adam's moments: raw sums on the device, one row a group.

The sums are turned into statistics on the host, in float64 (see _report/statistics.py).
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from optax_warmup import _sample as sample
from optax_warmup._record.layout import (
    BINS,
    LOWEST_EXPONENT,
    OF_EVERY_COORDINATE,
    Layout,
)

# Coordinates of a leaf in the histogram, unless all are to be: quantiles need no more,
# and to count one costs what twenty additions do.
COUNTED = 1024


def measure(
    layout: Layout,
    axis_name: str | None,
    zero: jax.Array,
    count: jax.Array,
    mu: Sequence[Any],
    nu: Sequence[Any],
    gradients: Sequence[Any] | None,
    parameters: Sequence[Any] | None,
) -> tuple[jax.Array, jax.Array]:
    """The sums, float32 (groups, columns), and the histogram, int32 (groups, BINS).

    Each leaf is reduced to scalars before anything is stacked, so that XLA combines the
    collectives of sharded leaves into one for the sums and one for the maxima.

    `zero` is a zero of which XLA does not know that it is one; see `_apart`.
    """
    scalars = _scalars(layout, count)
    measured = [leaf for leaf, v in enumerate(nu) if v is not None]
    groups = np.array([layout.leaf_groups[leaf] for leaf in measured])
    leaves: list[dict[str, jax.Array]] = []
    for leaf in measured:
        arrays = {"nu": nu[leaf]}
        if gradients is not None:  # of which rmsprop's direction is made, see below
            arrays |= {"gradient": gradients[leaf], "mu": gradients[leaf]}
        if parameters is not None:
            arrays["parameter"] = parameters[leaf]
        if mu[leaf] is not None:
            arrays["mu"] = mu[leaf]
        leaves.append(_columns(layout, scalars, arrays, zero, len(leaves)))
    sums = _by_group(layout, groups, leaves, axis_name)
    if not layout.histogram:
        return sums, jnp.zeros((len(layout.groups), 0), jnp.int32)
    counted = layout.samples and min(layout.samples, COUNTED)
    drawn = [_histogram(sample.draw(nu[leaf], counted)) for leaf in measured]
    counts = jnp.zeros((len(layout.groups), BINS)).at[groups].add(jnp.stack(drawn))
    counts = counts if axis_name is None else jax.lax.psum(counts, axis_name)
    return sums, counts.astype(jnp.int32)


class _Operands(NamedTuple):
    """What the columns of a leaf are made of, float32."""

    mu_correction: Any  # 1 - b1**count, and so on
    nu_correction: Any
    mu_correction_before: Any  # one update ago; 1 before the first
    nu_correction_before: Any
    later: Any  # 0 at the first update, 1 afterwards
    b1: Any
    b2: Any
    eps: Any  # added to the root of nu_hat,
    eps_inside: Any  # or under it, as rmsprop has it
    threshold: Any  # of the root, below which eps dominates
    nothing: Any  # 0
    mu: Any = None
    nu: Any = None
    gradient: Any = None
    parameter: Any = None


def _scalars(layout: Layout, count: jax.Array) -> _Operands:
    """The operands that all leaves share."""
    now, later = count.astype(jnp.float32), (count > 1).astype(jnp.float32)
    before = now - 1
    return _Operands(
        mu_correction=_correction(layout, layout.b1, now),
        nu_correction=_correction(layout, layout.b2, now),
        mu_correction_before=_correction(layout, layout.b1, before) * later + 1 - later,
        nu_correction_before=_correction(layout, layout.b2, before) * later + 1 - later,
        later=later,
        b1=jnp.float32(layout.b1),
        b2=jnp.float32(layout.b2),
        eps=jnp.float32(layout.eps if layout.averaged else 0),
        eps_inside=jnp.float32(0 if layout.averaged else layout.eps),
        threshold=jnp.float32(layout.eps if layout.averaged else layout.eps**0.5),
        nothing=jnp.float32(0),
    )


_SMALL = 2**14  # coordinates


def _apart(operands: _Operands, zero: jax.Array, *place: int) -> _Operands:
    """The same operands, which XLA cannot recognise as the same.

    What several reductions share, be it the broadcast of a constant, XLA:CPU computes
    once and keeps: a copy of the parameters for each such thing. A reduction with
    operands of its own reads them and keeps nothing, but is compiled by itself; so
    small leaves, whose copies are nothing, are not kept apart.
    """
    leaf, column = place
    own = zero * float(1 + leaf * 64 + column)
    return jax.tree.map(lambda x: x + own, operands)


def _columns(
    layout: Layout,
    scalars: _Operands,
    arrays: dict[str, jax.Array],
    zero: jax.Array,
    leaf: int,
) -> dict[str, jax.Array]:
    """The columns of one leaf, scalars; those of a sample stand for the whole."""
    some = {n: sample.draw(x, layout.samples) for n, x in arrays.items()}
    narrow = any(x.dtype != jnp.float32 for x in arrays.values())
    weight = arrays["nu"].size / some["nu"].size
    columns = {}
    for index, name in enumerate(layout.columns):
        whole = name in OF_EVERY_COORDINATE
        x = _with(scalars, arrays if whole else some)
        # What reads float32 as it is has nothing to share with other columns.
        if x.nu.size > _SMALL and (narrow or not whole):
            x = _apart(x, zero, leaf, index)
        columns[name] = _column(name, x) * (1 if whole else weight)
    return columns


def _with(scalars: _Operands, arrays: dict[str, jax.Array]) -> _Operands:
    wide = {name: x.astype(jnp.float32) for name, x in arrays.items()}
    return scalars._replace(**{"mu": jnp.float32(jnp.nan)} | wide)


def _column(name: str, x: _Operands) -> jax.Array:
    """One column of one leaf, a scalar."""
    if name == "nu_max":
        return jnp.max(x.nu, initial=0.0)
    return jnp.sum(_TERMS[name](x))


def _root(x: _Operands) -> jax.Array:
    return jnp.sqrt(x.nu / x.nu_correction)


def _denominator(x: _Operands) -> jax.Array:
    return jnp.sqrt(x.nu / x.nu_correction + x.eps_inside) + x.eps


def _direction(x: _Operands) -> jax.Array:
    return x.mu / x.mu_correction / _denominator(x)


def _previous_direction(x: _Operands) -> jax.Array:
    """Adam's direction before this gradient came, 0 at the first update.

    The moments of then are recovered from those of now: to keep the old ones would
    cost a copy of each at every step. (With b1 = 0 the last gradient is not known.)
    """
    b1, b2 = jnp.maximum(x.b1, _TINY), jnp.maximum(x.b2, _TINY)
    mu = (x.mu - (1 - b1) * x.gradient) / b1
    nu = jnp.maximum(x.nu - (1 - b2) * jnp.square(x.gradient), x.nothing) / b2
    root = jnp.sqrt(nu / x.nu_correction_before)
    return x.later * mu / x.mu_correction_before / (root + (x.eps + _TINY))


_TINY = float(np.finfo(np.float32).tiny)

_TERMS: dict[str, Callable[[_Operands], jax.Array]] = {
    "nu": lambda x: x.nu,
    "mu_squared": lambda x: jnp.square(x.mu),
    "direction_squared": lambda x: jnp.square(_direction(x)),
    "denominator": _denominator,
    # 1 where sqrt(nu_hat) < eps, else 0, without the comparison that XLA:CPU would not
    # fuse into the sum. The root is compared, since eps**2 would underflow.
    "eps_dominated": lambda x: jnp.sign(jnp.maximum(x.threshold - _root(x), x.nothing)),
    "gradient_squared": lambda x: jnp.square(x.gradient),
    "normalized_gradient_squared": lambda x: jnp.square(
        x.gradient / jnp.maximum(_root(x), x.threshold)
    ),
    "gradient_times_previous": lambda x: x.gradient * _previous_direction(x),
    "previous_squared": lambda x: jnp.square(_previous_direction(x)),
    "parameter_squared": lambda x: jnp.square(x.parameter),
    "parameter_times_direction": lambda x: x.parameter * _direction(x),
}


def _by_group(
    layout: Layout,
    groups: np.ndarray,
    leaves: Sequence[dict[str, jax.Array]],
    axis_name: str | None,
) -> jax.Array:
    """The columns of the leaves, added up (or their maximum taken) by group."""
    columns = []
    for name in layout.columns:
        values = jnp.stack([leaf[name] for leaf in leaves])
        column = jnp.zeros(len(layout.groups), jnp.float32)
        if name.endswith("_max"):
            column = column.at[groups].max(values)
            reduce = jax.lax.pmax
        else:
            column = column.at[groups].add(values)
            reduce = jax.lax.psum
        columns.append(column if axis_name is None else reduce(column, axis_name))
    return jnp.stack(columns, axis=-1)


def _histogram(nu: jax.Array) -> jax.Array:
    """Counts of the binary exponents of some coordinates, shape (BINS,).

    They are counted in float32, so that their collective joins that of the sums.
    """
    # The exponent is read off the bits: exact, and cheaper than a logarithm.
    bits = jax.lax.bitcast_convert_type(nu.astype(jnp.float32), jnp.int32)
    exponent = jnp.bitwise_and(jnp.right_shift(bits, 23), 0xFF) - 127
    index = jnp.clip((exponent - LOWEST_EXPONENT) // 2, 0, BINS - 1)
    return jnp.zeros(BINS, jnp.float32).at[index].add(1)


def _correction(layout: Layout, decay: float, count: jax.Array) -> jax.Array:
    """1 - decay**count, without the cancellation that a decay close to 1 brings."""
    if not layout.corrected:
        return jnp.float32(1)
    logarithm = math.log(decay) if decay > 0 else -math.inf
    return jnp.where(count > 0, -jnp.expm1(count * logarithm), 0.0)
