"""Shapes: how a ramp goes from its start to its end."""

from optax_warmup.shapes._curves import (
    exponential as exponential,
    logarithmic as logarithmic,
    rex as rex,
    sigmoid as sigmoid,
    tanh as tanh,
)
from optax_warmup.shapes._powers import (
    cosine as cosine,
    linear as linear,
    polynomial as polynomial,
    power as power,
    reverse as reverse,
)
from optax_warmup.shapes._shape import Shape as Shape
from optax_warmup.shapes._warp import mirror_cosine as mirror_cosine, warp as warp
