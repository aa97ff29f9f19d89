"""What a record's axes and numbers mean: its columns, its bins, its groups."""

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass

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
    "normalized_gradient_squared",
    "gradient_times_previous",
    "previous_squared",
)
FROM_PARAMETERS = ("parameter_squared", "parameter_times_direction")

# These read one array and are as fast as memory is, so they are taken of every
# coordinate. The others take roots and divisions, and are taken of a sample.
OF_EVERY_COORDINATE = {
    "nu",
    "nu_max",
    "mu_squared",
    "gradient_squared",
    "parameter_squared",
}

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
        sampled: of those, the coordinates that enter the sampled columns.
        dtypes: the dtype of each group's second moments, the least precise of them;
            "" where a group has none.
        columns: the names of the sums.
        leaf_groups: for each parameter leaf, the index of its group.
        b1, b2, eps: Adam's own; b1 is 0 for rmsprop.
        corrected: whether the optimizer corrects the bias of its moments.
        averaged: whether it has first moments; rmsprop has none, and puts eps under the
            root.
        bits, steps, also: which steps are recorded, see slots.py.
        samples: coordinates of each leaf that enter the sampled columns; None: all.
        histogram: whether there is one.
    """

    groups: Sequence[str]
    sizes: Sequence[int]
    sampled: Sequence[int]
    dtypes: Sequence[str]
    columns: Sequence[str]
    leaf_groups: Sequence[int]
    b1: float
    b2: float
    eps: float
    corrected: bool
    averaged: bool
    bits: int
    steps: tuple[int, ...] | None
    also: tuple[int, ...]
    samples: int | None
    histogram: bool
    version: int = 2

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
