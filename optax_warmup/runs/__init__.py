"""Runs that go on: what a training loop asks on the host, between its updates."""

from optax_warmup.runs._rollback import (
    Diverged as Diverged,
    Rollback as Rollback,
    RollbackEvent as RollbackEvent,
)
