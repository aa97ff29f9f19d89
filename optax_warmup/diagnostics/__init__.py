"""Diagnostics: what a record of Adam's moments says, in words, pictures and scalars.

`record_moments` keeps the record, and `read_moments` fetches it as a `MomentHistory`.
"""

from optax_warmup.diagnostics._advise import advise as advise
from optax_warmup.diagnostics._evidence import Advice as Advice
from optax_warmup.diagnostics._history import (
    MomentHistory as MomentHistory,
    load_moments as load_moments,
)
from optax_warmup.diagnostics._page import write_report as write_report
from optax_warmup.diagnostics._plot_moments import plot_moments as plot_moments
from optax_warmup.diagnostics._scalars import to_scalars as to_scalars
