"""Averages of the parameters, in place of a decay of the learning rate or beside it.

`average_params` wraps an optimizer and keeps one running average in its state; the
weights `exponential` and `polynomial` say which. `average_latest` averages the latest
of some snapshots, and `merge` saved checkpoints.
"""

from optax_warmup.averages._average_latest import average_latest as average_latest
from optax_warmup.averages._average_params import average_params as average_params
from optax_warmup.averages._averaged_params import averaged_params as averaged_params
from optax_warmup.averages._merge import (
    merge as merge,
    merge_weights as merge_weights,
)
from optax_warmup.averages._weights import (
    exponential as exponential,
    polynomial as polynomial,
)
