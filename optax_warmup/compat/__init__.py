"""Drop-in schedules with the names and argument orders of other libraries.

`compat.optax` has optax's warmup schedules, and `compat.transformers` the
`get_scheduler` of Hugging Face transformers.
"""

from optax_warmup.compat import (
    optax as optax,
    transformers as transformers,
)
