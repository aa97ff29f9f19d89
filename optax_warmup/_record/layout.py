"""What a record's axes and numbers mean: its columns, its bins, its groups."""

import dataclasses
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from optax_warmup import _sample as sample
from optax_warmup._record import groups as grouping, slots
from optax_warmup._record.options import OWNER, Options
from optax_warmup._state.moments import Moments

# The columns of a row. A column that ends in _max is a maximum, all others are sums.
# These read one array in one pass, so they are taken of every coordinate.
OF_EVERY_COORDINATE = ("nu", "nu_max", "mu_squared")

# These are taken of a sample. The gradient is the one that entered the moments, the
# direction is Adam's update before any rate, the update is what left the optimizer.
OF_A_SAMPLE = (
    "direction_squared",
    "denominator",
    "eps_dominated",
    "sampled_nu",
    "gradient_squared",
    "normalized_gradient_squared",
    "gradient_times_previous",
    "previous_squared",
    "update_squared",
    "update_times_direction",
    "update_times_parameter",
    "parameter_squared",
    "parameter_times_direction",
)
COLUMNS = OF_EVERY_COORDINATE + OF_A_SAMPLE

# The histogram of log2(nu): 32 bins of two octaves, one octave of the gradient's size.
# The first holds all below (sqrt(nu) < 2**-27: under the usual eps), the last all above
# 2**8.
BINS = 32
LOWEST_EXPONENT = -56

# Bytes of the table of sums up to which each parameter is a group by default.
_TABLE_BYTES = 900_000


@dataclass(frozen=True)
class Layout:
    """What a record's axes and numbers mean.

    It travels in the optimizer's state as an array of bytes. So a record explains
    itself wherever it is restored, and the state stays a tree of arrays, which
    `optax.tree.map_params` and checkpoints ask for.

    Attributes:
        groups: the names of the parameter groups, in the order of the rows.
        sizes: the number of coordinates in each group that have a second moment.
        sampled: how many of them enter the sampled columns.
        dtypes: the dtype of each group's second moments, the least precise of them;
            "" where a group has none.
        leaf_groups: for each parameter leaf, the index of its group.
        columns: the names of the sums.
        b1, b2, eps: Adam's own; b1 is 0 for rmsprop.
        corrected: whether the optimizer corrects the bias of its moments.
        averaged: whether it has first moments; rmsprop has none, and puts eps under the
            root.
        direction: of which the updates are multiples, "adam" or "nesterov"; None if
            that is neither, "untried" if the optimizer could not be tried.
        recovered: whether the gradients can be recovered from the moments; not where
            these are rounded too much.
        bits, steps, also: which steps are recorded, see slots.py.
        samples: coordinates of each leaf that enter the sampled columns; None: all.
        histogram: whether there is one.
    """

    groups: Sequence[str]
    sizes: Sequence[int]
    sampled: Sequence[int]
    dtypes: Sequence[str]
    leaf_groups: Sequence[int]
    b1: float
    b2: float
    eps: float
    corrected: bool
    averaged: bool
    direction: str | None
    recovered: bool
    bits: int
    steps: tuple[int, ...] | None
    also: tuple[int, ...]
    samples: int | None
    histogram: bool
    columns: Sequence[str] = COLUMNS
    version: int = 4

    @classmethod
    def of(
        cls,
        options: Options,
        decays: tuple[float, float],
        direction: str | None,
        tree: Any,
        adam: Moments,
    ) -> "Layout":
        """The layout for parameters, or updates, of some tree."""
        b1, b2 = decays
        names, leaf_groups = grouping.groups_of(tree, options.groups, _most(options))
        _require_floats(tree, adam)
        _require_shapes(tree, adam)
        sizes, sampled = [0] * len(names), [0] * len(names)
        dtypes: list[list[Any]] = [[] for _ in names]
        for group, nu in zip(leaf_groups, adam.nu, strict=True):
            if nu is not None:
                sizes[group] += math.prod(nu.shape)
                dtypes[group].append(nu.dtype)
        for leaf in sampled_leaves(leaf_groups, adam.nu, options.samples):
            nu = adam.nu[leaf]
            if nu is not None:
                drawn = sample.count(math.prod(nu.shape), options.samples)
                sampled[leaf_groups[leaf]] += drawn
        first = [mu.dtype for mu in adam.mu if mu is not None]
        kept = first or [nu.dtype for nu in adam.nu if nu is not None]
        return cls(
            groups=names,
            sizes=tuple(sizes),
            sampled=tuple(sampled),
            dtypes=tuple(_least_precise(some) for some in dtypes),
            leaf_groups=leaf_groups,
            b1=b1 if first else 0.0,
            b2=b2,
            eps=options.eps,
            corrected=adam.corrected,
            averaged=bool(first),
            direction=direction,
            recovered=_recoverable(kept, b1 if first else b2),
            bits=options.bits,
            steps=options.steps,
            also=options.also,
            samples=options.samples,
            histogram=options.histogram,
        )

    @property
    def rows(self) -> int:
        """Rows of the tables, the scratch row among them."""
        return slots.slot_count(self.bits, self.steps, self.also) + 1

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


# Leaves that are sampled, if no group would go without; each takes time to compile.
_LEAVES = 256


def sampled_leaves(
    leaf_groups: Sequence[int], nu: Sequence[Any], samples: int | None
) -> list[int]:
    """The leaves that stand for all in the sampled columns, in order.

    All that have a second moment, or where there are too many the largest of each
    group.
    """
    by_group: dict[int, list[int]] = {}
    for leaf, (group, v) in enumerate(zip(leaf_groups, nu, strict=True)):
        if v is not None and math.prod(v.shape):
            by_group.setdefault(group, []).append(leaf)
    found = sorted(leaf for leaves in by_group.values() for leaf in leaves)
    if samples is None or len(found) <= _LEAVES:
        return found
    most = max(1, _LEAVES // len(by_group))
    return sorted(
        leaf
        for leaves in by_group.values()
        for leaf in sorted(leaves, key=lambda i: -math.prod(nu[i].shape))[:most]
    )


def _most(options: Options) -> int:
    """How many groups there may be by default."""
    rows = slots.slot_count(options.bits, options.steps, options.also) + 1
    return max(1, _TABLE_BYTES // (4 * len(COLUMNS) * rows))


def _require_floats(tree: Any, adam: Moments) -> None:
    """Refuses moments of integers: optax rounds them to whole numbers, 0 mostly."""
    for path, nu in zip(grouping.paths_of(tree), adam.nu, strict=True):
        if nu is not None and not jnp.issubdtype(nu.dtype, jnp.inexact):
            raise ValueError(
                f"{OWNER}: the parameter {path!r} has dtype {nu.dtype}, and so have "
                "its moments, which cannot hold an average. Leave it out of Adam, with "
                "optax.partition or optax.masked."
            )


def _require_shapes(tree: Any, adam: Moments) -> None:
    """Refuses moments of something else than the parameters: galore projects them."""
    leaves = zip(grouping.paths_of(tree), jax.tree.leaves(tree), adam.nu, strict=True)
    for path, leaf, nu in leaves:
        if nu is not None and nu.shape != jnp.shape(leaf):
            raise ValueError(
                f"{OWNER}: the moments of the parameter {path!r} have shape "
                f"{nu.shape} and not its own, {jnp.shape(leaf)}, so they cannot be set "
                "against its gradients and updates. If the state is that of a run "
                "with other shapes, make a new one by init; if a projection makes them "
                "(optax.contrib.galore), record the optimizer without it."
            )


def _epsilon(dtype: Any) -> float:
    """The spacing of a dtype at 1."""
    info = jnp.finfo(dtype)  # type: ignore[no-untyped-call]
    return float(info.eps)


def _least_precise(dtypes: list[Any]) -> str:
    return str(max(dtypes, key=_epsilon)) if dtypes else ""


def _recoverable(dtypes: list[Any], decay: float) -> bool:
    """Whether (m - b * m_before) / (1 - b) is more than rounding.

    m is rounded by eps / 2 of itself at most, which the division enlarges.
    """
    return all(_epsilon(dtype) < 0.25 * (1 - decay) for dtype in dtypes)
