"""Laws that predict the loss of a schedule, to rank schedules before a long run."""

from optax_warmup.loss_laws._choose import (
    Cooldown as Cooldown,
    RankedSchedule as RankedSchedule,
    best_cooldown as best_cooldown,
    rank as rank,
)
from optax_warmup.loss_laws._fit import fit_loss_law as fit_loss_law
from optax_warmup.loss_laws._law import (
    Fitted as Fitted,
    LossLaw as LossLaw,
)
