"""What is measured of Adam's moments: raw sums on the device, one row a group.

The sums are turned into statistics on the host, in float64 (see _report/statistics.py).
"""

import dataclasses
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

# The columns of a row. Those that end in _max are maxima, all others sums.
FROM_MOMENTS = (
    "nu",
    "nu_max",
    "mu_squared",
    "direction_squared",
    "denominator",
    "eps_dominated",
)
FROM_GRADIENTS = (
    "gradient_squared",
    "lag_squared",
    "gradient_times_previous",
    "previous_squared",
)
FROM_PARAMETERS = ("parameter_squared", "parameter_times_direction")

# The histogram of log2(nu): 32 bins of two octaves, one octave of the gradient's size.
# The first holds all below (sqrt(nu) < 2**-27: under the usual eps), the last all above
# 2**8.
BINS = 32
LOWEST_EXPONENT = -56


@dataclass(frozen=True)
class Layout:
    """What a record's axes and numbers mean.

    It travels in the optimizer's state as an array of bytes. So a record explains
    itself wherever it is restored, and the state stays a tree of arrays, which
    `optax.tree.map_params` and checkpoints ask for.

    Attributes:
        groups: the names of the parameter groups, in the order of the rows.
        sizes: the number of coordinates in each group that have a second moment.
        columns: the names of the sums.
        leaf_groups: for each parameter leaf, the index of its group.
        b1, b2, eps: Adam's own; b1 is 0 for rmsprop.
        corrected: whether the optimizer corrects the bias of its moments.
        bits, steps: which steps are recorded, see slots.py.
        samples: coordinates of each leaf that enter the histogram; 0: there is none.
    """

    groups: Sequence[str]
    sizes: Sequence[int]
    columns: Sequence[str]
    leaf_groups: Sequence[int]
    b1: float
    b2: float
    eps: float
    corrected: bool
    bits: int
    steps: tuple[int, ...] | None
    samples: int
    version: int = 1

    def encode(self) -> jax.Array:
        """Its JSON, uint8, shape (bytes,)."""
        text = json.dumps(dataclasses.asdict(self)).encode()
        return jnp.asarray(np.frombuffer(text, np.uint8))

    @classmethod
    def decode(cls, code: np.ndarray) -> "Layout":
        """The layout that `encode` wrote."""
        fields = json.loads(np.asarray(code, np.uint8).tobytes())
        if fields["version"] != cls.version:
            raise ValueError(
                f"read_moments: the record has version {fields['version']}, this is "
                f"{cls.version}. Read it with the optax_warmup that wrote it."
            )
        return cls(**fields)


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
    leaves: list[dict[str, jax.Array]] = []
    for leaf in measured:
        # rmsprop has no first moment: its direction is made of the gradient, if known
        first = _of(gradients, leaf) if mu[leaf] is None else mu[leaf]
        operands = scalars._replace(
            mu=jnp.float32(jnp.nan) if first is None else _wide(first),
            nu=_wide(nu[leaf]),
            gradient=_wide(_of(gradients, leaf)),
            parameter=_wide(_of(parameters, leaf)),
        )
        large = nu[leaf].size > _SMALL
        leaves.append(
            {
                name: _column(
                    name,
                    _apart(operands, zero, len(leaves), index) if large else operands,
                )
                for index, name in enumerate(layout.columns)
            }
        )
    groups = np.array([layout.leaf_groups[leaf] for leaf in measured])
    sums = _by_group(layout, groups, leaves, axis_name)
    if not layout.samples:
        return sums, jnp.zeros((len(layout.groups), 0), jnp.int32)
    counts = jnp.zeros((len(layout.groups), BINS), jnp.float32)
    sampled = [_histogram(nu[leaf], layout.samples) for leaf in measured]
    counts = counts.at[groups].add(jnp.stack(sampled))
    counts = counts if axis_name is None else jax.lax.psum(counts, axis_name)
    return sums, counts.astype(jnp.int32)


def _of(leaves: Sequence[Any] | None, index: int) -> Any:
    return None if leaves is None else leaves[index]


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
    now, before, later = _wide(count), _wide(count) - 1, _wide(count > 1)
    return _Operands(
        mu_correction=_correction(layout, layout.b1, now),
        nu_correction=_correction(layout, layout.b2, now),
        mu_correction_before=_correction(layout, layout.b1, before) * later + 1 - later,
        nu_correction_before=_correction(layout, layout.b2, before) * later + 1 - later,
        later=later,
        b1=jnp.float32(layout.b1),
        b2=jnp.float32(layout.b2),
        eps=jnp.float32(layout.eps if layout.corrected else 0),
        eps_inside=jnp.float32(0 if layout.corrected else layout.eps),
        threshold=jnp.float32(layout.eps if layout.corrected else layout.eps**0.5),
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
    "lag_squared": lambda x: jnp.square(
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


def _histogram(nu: jax.Array, samples: int) -> jax.Array:
    """Counts of the binary exponents of some of a leaf's coordinates, shape (BINS,).

    They are counted in float32, so that their collective joins that of the sums.
    """
    flat = _wide(nu).reshape(-1)[:: max(1, math.ceil(nu.size / samples))]
    # The exponent is read off the bits: exact, and cheaper than a logarithm.
    bits = jax.lax.bitcast_convert_type(flat, jnp.int32)
    exponent = jnp.bitwise_and(jnp.right_shift(bits, 23), 0xFF) - 127
    index = jnp.clip((exponent - LOWEST_EXPONENT) // 2, 0, BINS - 1)
    return jnp.zeros(BINS, jnp.float32).at[index].add(1)


def _wide(x: Any) -> Any:
    return None if x is None else jnp.asarray(x).astype(jnp.float32)


def _correction(layout: Layout, decay: float, count: jax.Array) -> jax.Array:
    """1 - decay**count, without the cancellation that a decay close to 1 brings."""
    if not layout.corrected:
        return jnp.float32(1)
    logarithm = math.log(decay) if decay > 0 else -math.inf
    return jnp.where(count > 0, -jnp.expm1(count * logarithm), 0.0)
