"""Curvature of the loss: the sharpness, and the learning rate that it allows."""

from optax_warmup.curvature._critical import (
    CriticalRate as CriticalRate,
    critical_learning_rate as critical_learning_rate,
    stability_threshold as stability_threshold,
)
from optax_warmup.curvature._sharpness import (
    Sharpness as Sharpness,
    sharpness as sharpness,
)
