"""Warmup factors: schedules in [0, 1] to multiply a learning rate by.

Use them with `multiply`, or with the transform `scale_by_warmup`.
"""

from optax_warmup.factors._factors import (
    exponential as exponential,
    linear as linear,
    radam as radam,
    rectification as rectification,
    untuned_exponential as untuned_exponential,
    untuned_linear as untuned_linear,
)
