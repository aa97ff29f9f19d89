"""The schedules of Hugging Face transformers, by name."""

from optax_warmup.compat.transformers._get_scheduler import (
    get_scheduler as get_scheduler,
)
