"""Other libraries' schedules under their own names and argument orders.

`compat.optax` has optax's warmup schedules, `compat.transformers` the `get_scheduler`
of Hugging Face transformers.
"""

from optax_warmup.compat import (
    optax as optax,
    transformers as transformers,
)
