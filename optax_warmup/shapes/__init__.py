"""Shapes: how a ramp goes from its start to its end."""

from optax_warmup.shapes._curves import exponential as exponential
from optax_warmup.shapes._curves import logarithmic as logarithmic
from optax_warmup.shapes._curves import rex as rex
from optax_warmup.shapes._curves import sigmoid as sigmoid
from optax_warmup.shapes._curves import tanh as tanh
from optax_warmup.shapes._powers import cosine as cosine
from optax_warmup.shapes._powers import linear as linear
from optax_warmup.shapes._powers import polynomial as polynomial
from optax_warmup.shapes._powers import power as power
from optax_warmup.shapes._powers import reverse as reverse
from optax_warmup.shapes._shape import Shape as Shape
from optax_warmup.shapes._warp import mirror_cosine as mirror_cosine
from optax_warmup.shapes._warp import warp as warp
