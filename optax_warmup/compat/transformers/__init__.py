"""The schedules of Hugging Face transformers, by name."""

import typing as _typing

from optax_warmup import _elsewhere
from optax_warmup.compat.transformers._get_scheduler import (
    get_scheduler as get_scheduler,
)

if not _typing.TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        raise _elsewhere.missing(__name__, name)
