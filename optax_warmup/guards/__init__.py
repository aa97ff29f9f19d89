"""Guards of a run beside `skip_nonfinite`: against spikes, and a recipe against all."""

from optax_warmup._transforms.clip_update_norm import (
    clip_update_norm as clip_update_norm,
)
from optax_warmup._transforms.protect import protect as protect
from optax_warmup._transforms.skip_spikes import skip_spikes as skip_spikes
