"""The schedules of Hugging Face transformers, by their names."""

from optax_warmup.compat.transformers._get_scheduler import (
    get_scheduler as get_scheduler,
)
