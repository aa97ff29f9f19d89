"""Runs that go on: what a training loop asks on the host, between its updates."""

from optax_warmup._adopt.begin import begin_at as begin_at
from optax_warmup._state.set_rate import set_learning_rate as set_learning_rate
from optax_warmup._state.step import step_count as step_count
from optax_warmup.runs._change_batch import change_batch_size as change_batch_size
from optax_warmup.runs._check_same import check_same as check_same
from optax_warmup.runs._rollback import (
    Diverged as Diverged,
    Rollback as Rollback,
    RollbackEvent as RollbackEvent,
)
