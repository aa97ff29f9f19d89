"""What is measured of Adam's moments: raw sums on the device, one row a group.

The sums are turned into statistics on the host, in float64 (see _report/statistics.py).
"""

import dataclasses
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

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
    "nonfinite",
)
FROM_GRADIENTS = (
    "gradient_squared",
    "gradient_nonfinite",
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
        b1, b2, eps: Adam's own.
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
    steps: Sequence[int] | None
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
    count: jax.Array,
    mu: Sequence[Any],
    nu: Sequence[Any],
    gradients: Sequence[Any] | None,
    parameters: Sequence[Any] | None,
) -> tuple[jax.Array, jax.Array]:
    """The sums, float32 (groups, columns), and the histogram, int32 (groups, BINS).

    Each leaf is reduced to scalars before anything is stacked, so that XLA combines the
    collectives of sharded leaves into one for the sums and one for the maxima.
    """
    leaves = [
        _leaf(layout, count, mu[i], v, _of(gradients, i), _of(parameters, i))
        for i, v in enumerate(nu)
        if v is not None
    ]
    groups = [g for g, v in zip(layout.leaf_groups, nu, strict=True) if v is not None]
    sums = _by_group(layout, groups, leaves, axis_name)
    if not layout.samples:
        return sums, jnp.zeros((len(layout.groups), 0), jnp.int32)
    sampled = [_histogram(v, layout.samples) for v in nu if v is not None]
    counts = jnp.zeros((len(layout.groups), BINS), jnp.float32)
    counts = counts.at[np.array(groups)].add(jnp.stack(sampled))
    counts = counts if axis_name is None else jax.lax.psum(counts, axis_name)
    return sums, counts.astype(jnp.int32)


def _of(leaves: Sequence[Any] | None, index: int) -> Any:
    return None if leaves is None else leaves[index]


def _leaf(
    layout: Layout, count: jax.Array, mu: Any, nu: jax.Array, gradient: Any, param: Any
) -> dict[str, jax.Array]:
    """The columns of one leaf, scalars."""
    nu, eps = _wide(nu), layout.eps
    root = jnp.sqrt(nu / _correction(layout, layout.b2, count))
    if mu is not None:
        direction = _wide(mu) / _correction(layout, layout.b1, count) / (root + eps)
    elif gradient is not None:  # rmsprop has no first moment
        mu, direction = gradient, _wide(gradient) / (root + eps)
    else:
        mu = direction = jnp.float32(jnp.nan)
    terms = {
        "nu": nu,
        "mu_squared": jnp.square(_wide(mu)),
        "direction_squared": jnp.square(direction),
        "denominator": root + eps,
        "eps_dominated": root < eps,  # the root: eps**2 would underflow
        "nonfinite": ~jnp.isfinite(nu),
    }
    if gradient is not None:
        gradient = _wide(gradient)
        previous = _previous_direction(layout, count, mu, nu, gradient)
        terms |= {
            "gradient_squared": jnp.square(gradient),
            "gradient_nonfinite": ~jnp.isfinite(gradient),
            "lag_squared": jnp.square(gradient / jnp.maximum(root, eps)),
            "gradient_times_previous": gradient * previous,
            "previous_squared": jnp.square(previous),
        }
    if param is not None:
        terms["parameter_squared"] = jnp.square(_wide(param))
        terms["parameter_times_direction"] = _wide(param) * direction
    sums = {name: jnp.sum(_wide(terms[name])) for name in terms}
    return sums | {"nu_max": jnp.max(nu, initial=0.0)}


def _previous_direction(
    layout: Layout, count: jax.Array, mu: Any, nu: jax.Array, gradient: jax.Array
) -> jax.Array:
    """Adam's direction before this gradient came, 0 at the first update.

    The moments of then are recovered from those of now: to keep the old ones would
    cost a copy of each at every step.
    """
    b1, b2, before = layout.b1, layout.b2, count - 1
    first = before <= 0
    root = jnp.sqrt(jnp.maximum(nu - (1 - b2) * jnp.square(gradient), 0) / b2)
    root /= jnp.sqrt(jnp.where(first, 1.0, _correction(layout, b2, before)))
    old = (_wide(mu) - (1 - b1) * gradient) / b1 if b1 > 0 else jnp.zeros_like(gradient)
    old /= jnp.where(first, 1.0, _correction(layout, b1, before))
    return jnp.where(first, 0.0, old / jnp.maximum(root + layout.eps, _TINY))


_TINY = float(np.finfo(np.float32).tiny)


def _by_group(
    layout: Layout,
    groups: Sequence[int],
    leaves: Sequence[dict[str, jax.Array]],
    axis_name: str | None,
) -> jax.Array:
    """The columns of the leaves, added up (or their maximum taken) by group."""
    index = np.array(groups)
    columns = []
    for name in layout.columns:
        values = jnp.stack([leaf[name] for leaf in leaves])
        column = jnp.zeros(len(layout.groups), jnp.float32)
        if name.endswith("_max"):
            column = column.at[index].max(values)
            reduce = jax.lax.pmax
        else:
            column = column.at[index].add(values)
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


def _wide(x: Any) -> jax.Array:
    return jnp.asarray(x).astype(jnp.float32)


def _correction(layout: Layout, decay: float, count: jax.Array) -> jax.Array:
    """1 - decay**count, without the cancellation that a decay close to 1 brings."""
    if not layout.corrected:
        return jnp.float32(1)
    logarithm = math.log(decay) if decay > 0 else -math.inf
    return -jnp.expm1(_wide(count) * logarithm)
