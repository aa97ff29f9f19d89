"""Optax's own warmup schedules: the same arguments, without optax's edge cases."""

from optax_warmup.compat.optax._warmup import (
    warmup_constant_schedule as warmup_constant_schedule,
    warmup_cosine_decay_schedule as warmup_cosine_decay_schedule,
    warmup_exponential_decay_schedule as warmup_exponential_decay_schedule,
)
