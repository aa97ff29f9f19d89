"""Diagnostics: a record of Adam's moments as advice, plots, a report and scalars.

`optax_warmup.record_moments` keeps the record in the optimizer's state, and
`optax_warmup.read_moments` fetches it as a `MomentHistory`.
"""

from optax_warmup.diagnostics._advice import Advice as Advice
from optax_warmup.diagnostics._advise import advise as advise
from optax_warmup.diagnostics._forecast import Forecast as Forecast
from optax_warmup.diagnostics._history import (
    MomentHistory as MomentHistory,
    load_moments as load_moments,
)
from optax_warmup.diagnostics._plot_moments import plot_moments as plot_moments
from optax_warmup.diagnostics._to_scalars import to_scalars as to_scalars
from optax_warmup.diagnostics._write_report import write_report as write_report
