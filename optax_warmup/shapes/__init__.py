"""Shapes: how a ramp gets from its start to its end.

A shape is a function f of progress in [0, 1] with f(0) = 0 and f(1) = 1: one of these,
any callable, or a subclass of `Shape`.
"""

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
from optax_warmup.shapes._shape import (
    Shape as Shape,
    ShapeLike as ShapeLike,
)
from optax_warmup.shapes._warp import (
    mirror_cosine as mirror_cosine,
    warp as warp,
)
