"""Values: what schedules and shapes are made of."""

from optax_warmup.values._value import Value as Value
